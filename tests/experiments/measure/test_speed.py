"""The benchmarks run and print what they promise; how fast things are is not tested."""

import re
import shutil
import sys

import pytest

from experiments.measure import speed
from experiments.measure.population_speed import measure_population
from experiments.measure.speed import measure_attention, measure_input, measure_start, measure_sweep, show

CONFIG = """
from ml_collections import ConfigDict

def get_config():
    return ConfigDict({
        "seed": 0, "steps": 3, "batch_size": 5, "eval_every": 3, "checkpoint_every": 3,
        "model": {"name": "vit", "patch": 4, "width": 8, "depth": 1, "heads": 2},
        "objective": {"name": "classification"},
        "data": {"name": "%s"},
        "optimizer": {"name": "adamw", "learning_rate": 1e-3, "schedule": "constant"},
    })
"""


@pytest.fixture
def config(tmp_path):
    def write(data: str) -> str:
        path = tmp_path / f"{data}.py"
        path.write_text(CONFIG % data)
        return str(path)

    return write


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")


def test_attention_prints_a_row_a_size(capsys):
    show(measure_attention(((2, 7, 3, 5, True), (1, 11, 2, 3, False)), repeats=1))
    rows = capsys.readouterr().out.splitlines()
    number = r"\d+\.\d\d"
    for row, name in zip(rows[-2:], ("2 x 7 x 3 x 5 +yes", "1 x 11 x 2 x 3 +no"), strict=True):
        assert re.fullmatch(rf" *{name} +{number} ms +{number} ms +{number} *", row)


def test_input_prints_both_rates_and_skips_what_is_not_on_disk(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    show(measure_input([config("digits"), config("mnist")], seconds=0.01))
    digits, mnist = capsys.readouterr().out.splitlines()[-2:]
    assert re.search(r"digits\.py +[\d,]+ +[\d,]+\.\d +\d+\.\d +(yes|NO)", digits)
    assert re.search(r"mnist\.py +skipped: The set mnist is not on disk", mnist)


def test_configs_that_cannot_run_here_are_named_and_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speed, "ROOT", tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    (tmp_path / "configs").mkdir()
    for name, needs in (("a", ""), ("b", "Needs: mnist")):
        docstring = (
            f"Command: python train.py --config={name} --workdir=w\nTime: 2 s on paper\n{needs}\nReaches: x >= 1"
        )
        (tmp_path / "configs" / f"{name}.py").write_text(f'"""{docstring}"""')
    assert speed._runnable() == [str(tmp_path / "configs" / "a.py")]
    assert capsys.readouterr().out == "skipped configs/b.py: no mnist\n"


@pytest.mark.slow
def test_start_prints_the_first_and_the_second(config, capsys):
    show(measure_start([config("digits")], repeats=1))
    assert re.search(r"digits\.py +\d+\.\d s +\d+\.\d s", capsys.readouterr().out)


def test_a_start_that_fails_shows_what_was_printed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("echo"))
    with pytest.raises(RuntimeError, match="did not come to its first step:\n.*--config=x.py"):
        speed._start("x.py", str(tmp_path / "run"), {})


def test_sweep_prints_what_the_runner_took(capsys):
    show(measure_sweep(trials=4, jobs=2, seconds=0.01))
    row = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r" *4 +[\d.]+ s +[\d.]+% +(yes|NO) +[\d.]+ s +[\d.]+ s +(yes|NO) *", row)


@pytest.mark.slow
def test_population_prints_a_row_for_a_group_and_one_for_a_single_run(capsys):
    show(measure_population(steps=110, members=2, alone=2))
    out = capsys.readouterr().out
    for name in ("vit", "vae"):
        for count, target in ((2, "2"), (1, "0.95")):
            row = rf"{count} x {name}, 110 steps +\d+\.\d s +\d+\.\d s +\d+\.\d\d +at least {target}: (yes|NO)"
            assert re.search(row, out), out
    assert "2 of 2 runs were measured" in out
