"""The engine of the figures: what a figure leaves, when it is made again, and how errors are reported."""

import json
import math
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
from PIL import Image
import pytest

from core import files
from core.errors import UserError
from experiments.figures import __main__ as command
from experiments.figures import engine, gallery
from experiments.figures.engine import Criterion, at_least, at_most, load, make, near, state

QUICK = "weight_sharing"


@pytest.fixture
def broken(monkeypatch):
    """A figure whose run breaks its claim."""
    module = load(QUICK)
    unbroken = module.run
    monkeypatch.setattr(module, "run", lambda seed: unbroken(seed, padding="SAME"))


def run(*arguments: str) -> int:
    """The exit code of the command."""
    try:
        command.main(list(arguments))
    except SystemExit as stop:
        assert isinstance(stop.code, int)
        return stop.code
    return 0


def test_a_criterion_is_met_at_its_bounds_and_never_by_nan():
    assert at_most("x", 0.5, 0.5).passed and not at_most("x", 0.51, 0.5).passed
    assert at_least("x", 0.5, 0.5).passed and not at_least("x", 0.49, 0.5).passed
    assert near("x", 1.25, 1.0, 0.25).passed and not near("x", 0.74, 1.0, 0.25).passed
    assert not any(c.passed for c in (at_most("x", math.nan, 1), at_least("x", math.nan, 1), Criterion("x", math.nan)))
    assert str(near("a sum", 2, 1.0, 0.25)) == "a sum: measured 2, expected 0.75 to 1.25"
    assert str(at_most("x", 0.5, 1e-6)) == "x: measured 0.5, expected at most 1e-06"


def test_what_a_figure_leaves(tmp_path):
    record = make(QUICK, tmp_path, seed=3)
    assert {p.name for p in tmp_path.iterdir()} == {
        f"{QUICK}{ending}" for ending in (".json", ".png", ".svg", "_dark.png", "_dark.svg")
    }
    assert json.loads((tmp_path / f"{QUICK}.json").read_text()) == record
    assert record["passed"] and record["seed"] == 3 and record["error"] is None
    assert [(c["measured"], c["passed"]) for c in record["criteria"]] == [(36, True), (16, True), (4, True)]
    assert "jax" in record["environment"]["packages"]
    light, dark = (np.asarray(Image.open(tmp_path / f"{QUICK}{suffix}.png").convert("L")) for suffix in ("", "_dark"))
    assert light.shape == dark.shape == (900, 1600)
    assert light[5, 5] == 255 and dark[5, 5] < 40
    before = (tmp_path / f"{QUICK}.svg").read_bytes()
    assert ElementTree.fromstring(before).tag.endswith("svg")
    make(QUICK, tmp_path, seed=3)
    assert (tmp_path / f"{QUICK}.svg").read_bytes() == before


def test_when_a_figure_is_out_of_date(tmp_path, monkeypatch):
    assert state(QUICK, tmp_path)[0] == "not made"
    make(QUICK, tmp_path)
    assert state(QUICK, tmp_path)[0] == state(QUICK, tmp_path, 0)[0] == "passed"
    assert state(QUICK, tmp_path, 1)[0] == "out of date"
    monkeypatch.setattr(engine, "digest", lambda name, seed: "the digest of other code")
    assert state(QUICK, tmp_path)[0] == "out of date"


@pytest.mark.parametrize("text", ["", '{"digest": ', "[]", "{}"])
def test_a_figure_with_a_damaged_record_is_made_again(text, tmp_path):
    (tmp_path / f"{QUICK}.json").write_text(text)
    assert state(QUICK, tmp_path) == ("out of date", {})


def test_a_criterion_that_fails_is_named(broken, tmp_path, capsys):
    assert run(QUICK, f"--out={tmp_path}") == 1
    out, err = capsys.readouterr()
    assert "FAILED" in out
    assert f"{QUICK}: parameters, dense: measured 81, expected 36 to 36" in err and "Traceback" not in err
    assert state(QUICK, tmp_path)[0] == "failed"


def test_a_figure_that_breaks_off_leaves_no_old_result(tmp_path, monkeypatch, capsys):
    make(QUICK, tmp_path)
    monkeypatch.setattr(load(QUICK), "plot", lambda figure, results: results["absent"])
    assert run(QUICK, f"--out={tmp_path}") == 1
    error = capsys.readouterr().err
    assert "Traceback" in error and f"{QUICK}: KeyError: 'absent'" in error
    assert state(QUICK, tmp_path)[0] == "failed"


def test_an_error_that_a_user_can_mend_has_no_trace(tmp_path, monkeypatch, capsys):
    def run_without_data(seed):
        raise UserError("the set is damaged: prepare it again")

    monkeypatch.setattr(load(QUICK), "run", run_without_data)
    assert run(QUICK, f"--out={tmp_path}") == 1
    error = capsys.readouterr().err
    assert f"{QUICK}: the set is damaged: prepare it again\n" in error and "Traceback" not in error


@pytest.mark.medium
def test_several_are_made_in_processes(tmp_path):
    line = [sys.executable, "-m", "experiments.figures", "sinusoid_positions", QUICK, "--jobs=2"]
    process = subprocess.run(
        [*line, f"--out={tmp_path}"], cwd=files.ROOT, capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stderr
    assert "2/2  passed" in process.stdout and process.stdout.endswith("index.html\n")
    assert {state(name, tmp_path)[0] for name in ("sinusoid_positions", QUICK)} == {"passed"}


def test_all_makes_what_is_missing_and_skips_what_is_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "names", lambda: ["sinusoid_positions", QUICK])
    make(QUICK, tmp_path)
    (tmp_path / "sinusoid_positions.png").touch()  # without a record, as after a run that was stopped
    assert run("--all", f"--out={tmp_path}") == 0
    out = capsys.readouterr().out
    assert "1 of 2 figures are up to date" in out and "1/1  passed  sinusoid_positions" in out
    assert run("--all", f"--out={tmp_path}") == 0
    assert "2 of 2 figures are up to date" in capsys.readouterr().out


def test_the_page_shows_what_was_measured_and_what_is_missing(broken, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "names", lambda: ["krr", QUICK])
    make(QUICK, tmp_path)
    text = gallery.write_page(tmp_path).read_text()
    krr, quick = text.split("<article")[1:]
    assert "1 not made, 1 failed" in text
    assert "<td>parameters, dense</td><td>81</td><td>36 to 36</td>" in quick and "seed 0" in quick
    assert f'src="{QUICK}.svg"' in quick and f'srcset="{QUICK}_dark.svg"' in quick
    assert "<img" not in krr and "python -m experiments.figures krr" in krr and "softargmax_i(-(x - x_i)^2" in krr


def test_the_list_says_the_state_of_each(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "names", lambda: ["krr", QUICK])
    monkeypatch.setenv("COLUMNS", "200")
    make(QUICK, tmp_path, seed=2)
    command.main([f"--out={tmp_path}"])
    _, krr, quick = capsys.readouterr().out.splitlines()
    assert krr.split()[:3] == ["krr", "not", "made"] and krr.endswith("observed values.")
    assert quick.split()[:3] == [QUICK, "passed", "2"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["kr"], "there is no figure kr: expected some of"),
        (["krr", "--jobs=0"], "--jobs=0: expected at least 1"),
        (["krr", "--all"], "figures and --all exclude each other"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys):
    assert run(*arguments) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
