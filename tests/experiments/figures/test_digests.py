"""The digests of figures: everything that a figure is made of changes its digest, and nothing else does."""

import json
import os
from pathlib import Path
import shutil
import subprocess
import sys

import pytest

from core import files, provenance
from experiments.figures import engine

# Loads train.py, the engine, and each figure as if it were the only one. Prints the files of the modules that are new.
LOAD_EACH = """
import json, sys
import train

def loaded():
    return {name: module.__file__ for name, module in list(sys.modules.items()) if getattr(module, "__file__", None)}

new = {"train": list(loaded().values())}
from experiments.figures import engine
before = loaded()
new["engine"] = list(before.values())
for name in engine.names():
    engine.load(name)
    own = {module: path for module, path in loaded().items() if module not in before}
    new[name] = list(own.values())
    for module in own:
        if module.partition(".")[0] in ("core", "experiments", "models", "objectives", "data", "training", "configs"):
            del sys.modules[module]
print(json.dumps(new))
"""


@pytest.mark.medium
def test_a_closure_has_every_module_that_python_loads_for_the_figure():
    line = [sys.executable, "-c", LOAD_EACH]
    process = subprocess.run(line, cwd=files.ROOT, capture_output=True, text=True, check=True)
    imported_modules = json.loads(process.stdout.splitlines()[-1])
    entries = {"train": ["train.py"]} | {name: engine.entries(name) for name in engine.names()}
    for name, files_of in entries.items():
        modules = map(Path, imported_modules[name] + (imported_modules["engine"] if name != "train" else []))
        ours = {path for path in modules if path.is_relative_to(files.ROOT) and ".venv" not in path.parts}
        assert files.ROOT / files_of[0] in ours and ours <= set(provenance.closure(*files_of)), name


@pytest.mark.parametrize(
    "name, path",
    [
        ("vae_manifold", "experiments/figures/latent/vae_beta.py"),
        ("vae_manifold", "configs/vae.py"),
        ("vit_positions", "experiments/figures/vision/vit_data.py"),
        *((name, "experiments/inside/attention_maps.py")
          for name in ("induction", "attn_distance", "transformer_reverse", "vit_positions")),
        ("krr", "experiments/figures/style.py"),
        ("krr", "experiments/figures/trained.py"),
        ("krr", "models/scores.py"),
        ("induction", "experiments/sweep/population.py"),
    ],
)  # fmt: skip
def test_a_figure_depends_on(name, path):
    assert files.ROOT / path in provenance.closure(*engine.entries(name))


def test_the_page_the_command_other_figures_and_the_other_wings_do_not_count():
    paths = {str(path.relative_to(files.ROOT)) for path in provenance.closure(*engine.entries("krr"))}
    assert not paths & {"experiments/figures/gallery.py", "experiments/figures/__main__.py"}
    assert not [p for p in paths if p.startswith(("configs/", "tests/", "experiments/benchmark/", "experiments/use/"))]
    assert [p for p in paths if p.startswith("experiments/figures/attention/")] == [engine.entries("krr")[0]]


@pytest.fixture
def copy(tmp_path):
    """A copy of the project's Python files."""
    for path in files.ROOT.rglob("*.py"):
        relative = path.relative_to(files.ROOT)
        if not relative.parts[0].startswith(".") and relative.parts[0] != "runs":
            (tmp_path / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, tmp_path / relative)
    return tmp_path


@pytest.mark.medium
def test_touching_a_file_changes_the_digests_of_those_figures_that_depend_on_it(copy, monkeypatch):
    entries = {name: engine.entries(name) for name in engine.names()}
    without_data = [name for name in entries if not hasattr(engine.load(name), "NEEDS")]
    real = {name: engine.digest(name, 0) for name in without_data}
    monkeypatch.setattr(files, "ROOT", copy)
    digests = lambda: {name: provenance.digest(files_of, "0") for name, files_of in entries.items()}
    before = digests()
    assert {name: before[name] for name in without_data} == real  # the copy is as good as the project
    users: dict[Path, set[str]] = {}
    for name, files_of in entries.items():
        for path in provenance.closure(*files_of):
            users.setdefault(path, set()).add(name)
    assert len(users) > 100
    for path, names in users.items():
        with touched(path):
            assert {name for name, digest in digests().items() if digest != before[name]} == names, path
    others = set(copy.rglob("*.py")) - set(users)
    assert len(others) > 50
    for path in others:
        path.write_text("# touched")
    (copy / "configs" / "new.py").write_text("")
    assert digests() == before


class touched:
    """A file with one more comment, while the block runs."""

    def __init__(self, path: Path):
        self.path, self.content, self.status = path, path.read_bytes(), path.stat()

    def __enter__(self):
        self.path.write_bytes(self.content + b"\n# touched\n")

    def __exit__(self, *error):
        self.path.write_bytes(self.content)
        os.utime(self.path, ns=(self.status.st_atime_ns, self.status.st_mtime_ns))
