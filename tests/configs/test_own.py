"""The configs for data of one's own train as they stand on the samples that `experiments.sample` makes."""

from contextlib import redirect_stdout
import io
import json
from pathlib import Path

import pytest

from experiments.use import sample
import train

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("kind", sample.SAMPLES)
def test_a_config_trains_on_its_sample(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    overrides = {"steps": 2, "eval_every": 2, "checkpoint_every": 2, "optimizer.warmup": 1, "model.depth": 1}
    flags = [f"--config.{name}={value}" for name, value in overrides.items()]
    out = io.StringIO()
    with redirect_stdout(out):
        sample.main([kind])
        train.main([f"--config={ROOT}/configs/own_{kind}.py", "--workdir=run", *flags])
    assert f"--config=configs/own_{kind}.py --workdir=runs/own_{kind}\n" in out.getvalue()
    assert json.loads(Path("run/summary.json").read_text())["steps"] == 2


def test_a_sample_elsewhere_is_named_and_nothing_is_replaced(tmp_path, capsys):
    sample.main(["text", f"--out={tmp_path}/mine"])
    assert f"--config.data.path={tmp_path}/mine/text.txt" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        sample.main(["text", f"--out={tmp_path}/mine"])
    assert "exists already: name a new or an empty folder" in capsys.readouterr().err
