"""Sweep files and their trials: mistakes that are refused before anything runs, and states read from folders."""

import os
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from experiments.sweep import population
from experiments.sweep.options import Options
from experiments.sweep.runner import request
from experiments.sweep.sweep_file import Sweep, check
from experiments.sweep.trials import claim_folder
from tests.data.planetoid_files import planetoid_files

ROOT = Path(__file__).parents[3]
FILE = """
from experiments.sweep.space import product
CONFIG = "tests/tiny.py:vit"
METRIC = "test[:25%]/loss"
BASE = {"steps": 10}
def sweep():
    return product({"model.width": [8, 16], "optimizer.learning_rate": [0.01, 0.1]})
"""


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)

    def read(old: str = "", new: str = "") -> Sweep:
        assert old in FILE
        (tmp_path / "file.py").write_text(FILE.replace(old, new) if old else FILE)
        return Sweep.read(tmp_path / "file.py")

    return read


@pytest.fixture
def checked(read, tmp_path):
    def checked(old: str = "", new: str = ""):
        sweep = read(old, new)
        trials = sweep.trials(tmp_path / "runs")
        check(trials, sweep.metric)
        return trials

    return checked


def test_trials_are_named_after_the_fields_that_they_set(checked):
    trials = checked()
    assert [trial.name for trial in trials] == [
        f"model.width={w},optimizer.learning_rate={r}" for w in (8, 16) for r in (0.01, 0.1)
    ]
    assert trials[-1].flags() == [
        "--config=tests/tiny.py:vit", f"--workdir={trials[-1].folder}", "--config.steps=10", "--config.model.width=16",
        "--config.optimizer.learning_rate=0.1",
    ]  # fmt: skip


@pytest.mark.medium
@pytest.mark.parametrize("name", [path.name for path in (ROOT / "experiments" / "sweeps").glob("*.py")])
def test_every_sweep_of_the_project_can_run(name, tmp_path, monkeypatch):
    for folder in ("configs", "experiments"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    planetoid_files(tmp_path / "planetoid" / "cora", np.eye(507, 5, dtype=np.float32))  # stands in for the user's files
    monkeypatch.chdir(tmp_path)
    path = Path("experiments/sweeps") / name
    sweep = Sweep.read(path)
    check(sweep.trials(tmp_path / "runs"), sweep.metric)
    assert f"python -m experiments.sweep {path} --workdir=" in path.read_text()


def test_a_name_that_no_folder_can_have_is_changed_and_stays_unique(read, tmp_path):
    sweep = read()
    names = [sweep.trial(tmp_path, {"init_from": text}).name for text in ("runs/a b", "runs/a_b", "x" * 300)]
    assert len(set(names)) == 3 and all("/" not in name and len(name) <= 255 for name in names)


def test_a_trial_with_another_data_set_leaves_out_the_fields_of_the_first_one(read, tmp_path, capsys):
    config = tmp_path / "config.py"
    config.write_text(
        "from tests import tiny\n"
        "def get_config():\n"
        "    config = tiny.get_config('vit')\n"
        "    config.data = {'name': 'textures', 'side': 8, 'evaluation': 'test'}\n"
        "    return config\n"
    )
    path = tmp_path / "file.py"
    path.write_text(
        f"CONFIG, METRIC, BASE = {str(config)!r}, 'test/loss', {{'steps': 10}}\n"
        "def sweep():\n"
        "    return [{'data.name': name, 'seed': seed} for name in ('textures', 'digits') for seed in (0, 1)]\n"
    )
    trials = Sweep.read(path).trials(tmp_path / "runs")
    check(trials, "test/loss")
    first, _, third, _ = (trial.read_config()["data"] for trial in trials)
    assert first == {"name": "textures", "side": 8, "evaluation": "test"}
    assert third == {"name": "digits"}
    says = "data.name = 'digits': left out what the config file says for 'textures': "
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line)  # once, not for each trial
    assert line.startswith(says) and sorted(line.removeprefix(says).split(", ")) == ["evaluation = 'test'", "side = 8"]
    assert third == population.read(request(trials[2])).to_dict()["data"]  # several trials as one program agree


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("model.width", "model.widht", "model.widht is not a field. Did you mean 'width'?"),
        ("model.width", "modle.width", "no section"),
        ("[8, 16]", "[8, 8]", "twice: model.width=8,optimizer.learning_rate=0.01"),
        ("[8, 16]", "[8, '16']", "trial model.width=16.*'16' would be read as 16"),
        ("[0.01, 0.1]", "[0.01, 'fast']", "trial model.width=8,optimizer.learning_rate=fast: .*expected a number"),
        (
            '"optimizer.learning_rate": [0.01, 0.1]',
            '"model.dropout": [0.1, 1.5]',
            "trial model.width=8,model.dropout=1.5",
        ),
        ('"model.width": [8, 16]', '"model": {"width": 8}', "write its fields as 'model.<field>'"),
        ("test[:25%]/loss", "validation/loss", "expected test.:25%./<name>, or train/<name>"),
        ("return product", "return 1 / 0 or product", "file.py, line 7: ZeroDivisionError"),
        ("return product(", "return [", "SyntaxError"),
        ("    return", "    [", "SyntaxError"),
        ("METRIC", "METRICS", "does not set METRIC, such as METRIC = "),
        ("def sweep", "def sweeps", "expected either sweep.. or search.trial."),
        ("tests/tiny.py", "tests/none.py", "none.py"),
        ("[8, 16]", "[8, 3j]", "file.py: model.width = 3j: expected a finite number, a text"),
        ("[0.01, 0.1]", "[0.01, float('nan')]", "file.py: optimizer.learning_rate = nan: expected a finite number"),
        ('"steps": 10', '"steps": {10}', "file.py: steps = .10.: expected a finite number"),
        ('"steps": 10', '"freeze": ("a", __import__("numpy").ones(2))', "file.py: freeze = .* or a list of these"),
        ("    return product", "    raise SystemExit(0)\n    product", "file.py, line 7: SystemExit: 0"),
        ("def sweep", "exit(0)\ndef sweep", "file.py, line 6: SystemExit"),
        ("    return product", "    product", "file.py: sweep.. returned None: expected a list"),
        ("    return product(", "    return (", "file.py: sweep.. returned {'model.width'.*: expected a list"),
        ("def sweep", "sweep = []\ndef other", "file.py: expected a function sweep.. or search.trial."),
    ],
)
def test_a_sweep_that_cannot_run_is_refused(checked, old, new, message):
    with pytest.raises(ValueError, match=message):
        checked(old, new)


def test_a_field_that_is_wrong_only_in_combination_with_another_is_refused(checked):
    with pytest.raises(ValueError, match="trial model.width=9,.*heads"):
        checked("[8, 16]", "[8, 9, 16]")


def test_another_config_for_a_trial_that_has_begun_is_refused_but_more_steps_are_not(checked):
    trial = checked()[0]
    trial.begin()
    (trial.folder / "config.json").write_text("{}")
    checked("10", "20")
    with pytest.raises(ValueError, match="batch_size: 16 in the workdir, 8 now"):
        checked('"steps": 10', '"steps": 10, "batch_size": 8')


def test_the_state_of_a_trial_follows_from_its_folder(checked):
    trial = checked()[0]
    assert trial.state() == "waiting"
    trial.begin()
    claim = claim_folder(trial.folder)
    assert claim is not None and claim_folder(trial.folder) is None
    assert trial.state() == "running"
    os.close(claim)
    assert trial.state() == "waiting"
    (trial.folder / "config.json").write_text("{}")
    assert trial.state() == "stopped"
    trial.mark("failed", "exit code 1\nwhy")
    assert trial.state() == "failed" and trial.reason() == "exit code 1\nwhy"
    trial.forget("failed")
    (trial.folder / "summary.json").write_text('{"steps": 9, "seconds": 1.0}')
    assert trial.state() == "stopped"  # the sweep wants ten steps
    (trial.folder / "summary.json").write_text('{"steps": 10, "seconds": 1.0}')
    assert trial.state() == "done"


@pytest.mark.parametrize("workdir", ["", "  "])
def test_an_empty_workdir_is_refused_instead_of_filling_the_current_folder(workdir):
    with pytest.raises(UserError, match="--workdir is empty"):
        Options(workdir=workdir)
