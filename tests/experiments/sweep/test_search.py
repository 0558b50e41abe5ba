"""Adaptive search: the study and the folders agree, whichever trials are pruned, fail or are killed."""

from collections.abc import Callable
from pathlib import Path
import signal
import subprocess
import sys
import time

import optuna
import pytest

from experiments.sweep import __main__ as sweep
from experiments.sweep import runner
from experiments.sweep.search import Search
from experiments.sweep.sweep_file import Sweep
from tests.experiments.sweep import stand_in

ROOT = Path(__file__).parents[3]
FILE = """
import optuna
CONFIG = "tests/tiny.py:vit"
METRIC = "test/loss"
BASE = {"steps": 10, "data.evaluation": "test"}
TRIALS = 6
def search(trial):
    seed = trial.suggest_int("seed", 0, 0)
    return {"optimizer.learning_rate": [0.1, 0.2, 0.3, 0.4, 100.0, 1000.0][trial.number], "seed": seed}
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(runner, "command", stand_in.command)

    def write(old: str = "", new: str = "") -> Path:
        assert old in FILE
        (tmp_path / "file.py").write_text(FILE.replace(old, new) if old else FILE)
        return tmp_path / "file.py"

    return write


def run(file: Path, *flags: str) -> int:
    """The exit code of the command, in this process."""
    try:
        sweep.main([str(file), f"--workdir={file.parent / 'runs'}", *flags])
    except SystemExit as end:
        assert isinstance(end.code, int)
        return end.code
    return 0


def start(file: Path, *flags: str) -> subprocess.Popen:
    command = [sys.executable, stand_in.__file__, str(file), f"--workdir={file.parent / 'runs'}", *flags]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def study(file: Path, storage: str = "sqlite") -> optuna.Study:
    search = Search(Sweep.read(file), file.parent / "runs", storage)
    search.open()
    return search._study


def begun(file: Path) -> int:
    return len(list(file.parent.glob("runs/trials/*/history")))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.medium
@pytest.mark.parametrize("storage", ["sqlite", "journal"])
def test_the_study_is_told_how_each_trial_ended(file, storage, capsys):
    path = file()
    assert run(path, "--jobs=3", f"--storage={storage}") == 1
    trials = study(path, storage).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4 + ["FAIL"] * 2
    assert study(path, storage).best_value == pytest.approx(0.1 + 0.1)
    assert "trials   6: 4 done, 2 failed\n" in capsys.readouterr().out
    assert run(path, f"--storage={storage}") == 1  # nothing is left to do
    assert len(study(path, storage).trials) == 6


SEEDS = """
import optuna
CONFIG = "tests/tiny.py:vit"
METRIC = "test/loss"
BASE = {"steps": 10, "data.evaluation": "test"}
TRIALS, SEEDS = 3, 2
def search(trial):
    return {"optimizer.learning_rate": [0.1, 0.2, 100.0][trial.number]}
"""


def test_a_trial_of_several_seeds_is_scored_by_their_mean(file, monkeypatch):
    monkeypatch.setattr(runner, "LOOK_AGAIN", 0.01)
    path = file()
    path.write_text(SEEDS)
    assert run(path, "--jobs=1") == 1
    trials = study(path).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE", "FAIL"]
    # The loss of the stand-in is rate + seed / 1000 + 1 / steps.
    assert [trial.value for trial in trials[:2]] == pytest.approx([0.1 + 0.0005 + 0.1, 0.2 + 0.0005 + 0.1])
    for step, value in trials[0].intermediate_values.items():
        assert value == pytest.approx(0.1 + 0.0005 + 1 / step)
    assert trials[0].intermediate_values
    folders = sorted(folder.name for folder in path.parent.glob("runs/trials/*"))
    assert folders == [f"{trial:04},seed={seed}" for trial in range(3) for seed in range(2)]


@pytest.mark.medium
def test_a_run_that_ended_before_its_runner_was_killed_counts(file):
    """As after a kill between the ends of the two runs of a trial: the first is not repeated, and in the mean."""
    path = file()
    path.write_text(SEEDS)
    assert run(path, "--jobs=1") == 1
    (path.parent / "runs/study.db").unlink()
    (path.parent / "runs/trials/0001,seed=1/summary.json").unlink()
    assert run(path, "--jobs=1") == 1
    assert study(path).trials[1].value == pytest.approx(0.2 + 0.0005 + 0.1)
    assert (path.parent / "runs/trials/0000,seed=0/history").read_text() == "from 0\n"


@pytest.mark.medium
def test_results_that_were_lost_behind_the_study_are_made_again(file, monkeypatch):
    """A summary by running again, with the value that the study has; the mark of a pruned trial from the study."""
    path = file()
    path.write_text(SEEDS)
    assert run(path, "--jobs=1") == 1
    values = [trial.value for trial in study(path).trials]
    lost = path.parent / "runs/trials/0001,seed=1/summary.json"
    content = lost.read_bytes()
    lost.unlink()
    assert run(path, "--jobs=1") == 1  # the third trial fails as before
    assert lost.read_bytes() == content
    assert [trial.value for trial in study(path).trials] == values
    assert (path.parent / "runs/trials/0000,seed=0/history").read_text() == "from 0\n"


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("SEEDS = 3, 2", "SEEDS = 3, 0", "SEEDS = 0: expected a whole number from 1 to 1000"),
        ("return {", 'return {"seed": 1, ', "search(trial) sets the seed, which SEEDS = 2 does too"),
        ('{"steps"', '{"patience": 2, "steps"', "SEEDS = 2: runs that may stop early (patience) share no program"),
    ],
)
def test_seeds_that_do_not_fit_are_one_line(file, old, new, message, capsys):
    path = file()
    path.write_text(SEEDS.replace(old, new))
    assert run(path) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.medium
def test_a_poor_trial_is_pruned_while_it_trains(file, monkeypatch):
    monkeypatch.setattr(runner, "LOOK_AGAIN", 0.01)
    monkeypatch.setenv("STAND_IN_WAITS", "0.3")
    path = file('"steps": 10', '"steps": 40')
    path.write_text(path.read_text() + "PRUNER = optuna.pruners.ThresholdPruner(upper=0.295, n_warmup_steps=12)\n")
    assert run(path, "--jobs=3") == 1
    trials = study(path).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 2 + ["PRUNED"] * 2 + ["FAIL"] * 2
    for trial in trials[2:4]:
        assert trial.last_step is not None and 12 <= trial.last_step < 400
        reason = (path.parent / f"runs/trials/{trial.number:04}/pruned.txt").read_text()
        assert reason.startswith(f"at step {trial.last_step:,}, with test/loss 0.")
    mark = path.parent / "runs/trials/0002/pruned.txt"
    mark.unlink()
    assert run(path, "--jobs=3") == 1
    assert mark.read_text() == "the study says so\n"


@pytest.mark.slow
def test_killed_runners_of_one_study_lose_no_trial_and_repeat_none(file):
    path = file('"steps": 10', '"steps": 80')
    one, two = start(path), start(path, "--jobs=2")
    until(lambda: begun(path) >= 3)
    one.kill()
    two.kill()
    one.communicate(), two.communicate()
    assert run(path, "--jobs=3") == 1
    trials = study(path).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4 + ["FAIL"] * 2
    for history in path.parent.glob("runs/trials/*/history"):
        lines = history.read_text()
        assert "although complete" not in lines and lines.count("from 0") <= 2


@pytest.mark.medium
def test_a_search_that_was_stopped_is_continued(file, monkeypatch):
    path = file('"steps": 10', '"steps": 80')
    with monkeypatch.context() as patch:
        patch.setenv("STAND_IN_WAITS", "0")
        process = start(path, "--jobs=2")
    until(lambda: begun(path) == 2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and "Traceback" not in err
    assert sum(trial.state.name == "RUNNING" for trial in study(path).trials) >= 1
    assert run(path, "--jobs=3") == 1
    assert len(study(path).trials) == 6 and all(trial.state.is_finished() for trial in study(path).trials)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("TRIALS = 6", "", "does not set TRIALS"),
        ("optimizer.learning_rate", "optimizer.learning_rat", "Did you mean 'learning_rate'?"),
        ('"seed", 0, 0)', '"seed", 1, 0)', "file.py, line 8: ValueError"),
        ("TRIALS = 6", "TRIALS = 6; SAMPLER = optuna.samplers.GridSampler({})", "write a sweep()"),
        ("TRIALS = 6", "TRIALS = 6; SAMPLER = 'tpe'", "SAMPLER = 'tpe': expected one of Optuna's"),
        ("TRIALS = 6", "TRIALS = 6; PRUNER = optuna.pruners.MedianPruner", "such as optuna.pruners.MedianPruner()"),
    ],
)
def test_a_mistake_is_one_line(file, old, new, message, capsys):
    assert run(file(old, new)) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_flags_that_do_not_fit_a_search_are_refused(file, capsys):
    assert run(file(), "--only", "0001") == 1
    assert run(file(), "--storage=mongo") == 1
    assert capsys.readouterr().err.count("error:") == 2


@pytest.mark.medium
def test_a_folder_is_used_only_for_the_parameters_that_stand_in_it(file, capsys):
    """Without its study a search would tell a new one the values of trials with other parameters."""
    path = file('"seed", 0, 0)', '"seed", 0, 10**6)')
    run(path, "--jobs=3")
    before = (path.parent / "runs/trials/0000/trial.json").read_bytes()
    (path.parent / "runs/study.db").unlink()
    capsys.readouterr()
    assert run(path) == 1
    error = capsys.readouterr().err
    assert "runs/trials/0000 " in error and "seed" in error
    assert [trial.value for trial in study(path).trials] == [None]
    assert (path.parent / "runs/trials/0000/trial.json").read_bytes() == before


@pytest.mark.parametrize(
    "storage, name, damage",
    [
        ("sqlite", "study.db", lambda content: content[:1000]),
        ("sqlite", "study.db", lambda content: b"\xff" + content[1:]),
        ("journal", "study.journal", lambda content: b"\xff" + content[1:]),
    ],
)
def test_a_damaged_study_is_named_in_one_line(file, storage, name, damage, capsys):
    path = file()
    place = path.parent / "runs" / name
    place.parent.mkdir()
    study(path, storage).ask()
    place.write_bytes(damage(place.read_bytes()))
    assert run(path, f"--storage={storage}") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {place} is damaged") and error.count("\n") == 1
