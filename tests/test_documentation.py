"""The code of the documentation does what it says: the page on Python, and the lines in the README, as they stand."""

from contextlib import redirect_stdout
import io
import json
from pathlib import Path
import re

import pytest

from experiments.use import sample
import train

ROOT = Path(__file__).parents[1]


def blocks(page: str) -> list[str]:
    """The blocks of Python of a page."""
    return re.findall(r"(?ms)^```python\n(.*?)^```", (ROOT / page).read_text())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LECTERN_DATA", str(tmp_path / "kept"))
    return tmp_path


@pytest.mark.slow
def test_the_page_on_python_runs_from_top_to_bottom(folder):
    with redirect_stdout(io.StringIO()):
        sample.main(["images"])
        overrides = {"steps": 2, "eval_every": 2, "checkpoint_every": 2, "model.depth": 1, "optimizer.warmup": 1}
        arguments = [f"--config.{name}={value}" for name, value in overrides.items()]
        train.main([f"--config={ROOT}/configs/own_images.py", "--workdir=runs/own_images", *arguments])
    out, names = io.StringIO(), {}
    with redirect_stdout(out):
        for block in blocks("docs/python.md"):
            exec(compile(block, "docs/python.md", "exec"), names)
    assert "samples/images/3/0.png" in out.getvalue() and (folder / "attention.png").stat().st_size > 1000
    assert json.loads((folder / "published" / "config.json").read_text())["id2label"]["3"] == "3"
    assert (folder / "published" / "README.md").read_text().startswith("---")
    loss = float(out.getvalue().split("loss ")[1].split()[0])
    assert loss < 2.5


def test_the_lines_of_the_readme_draw_an_attention(folder):
    for block in blocks("README.md"):
        exec(compile(block, "README.md", "exec"), {})
    assert (folder / "attention.png").stat().st_size > 1000
