"""The runner: trials that end, fail, are killed, or are held by another runner.

A stand-in counts in place of train.py. The slow test at the end trains.
"""

from collections.abc import Callable
import csv
from itertools import count
import json
import os
from pathlib import Path
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from core.errors import UserError
from experiments.measure import preflight
from experiments.sweep import __main__ as sweep
from experiments.sweep import engine, runner
from experiments.sweep.options import Options
from experiments.sweep.sweep_file import Sweep
from experiments.sweep.trials import Trial, claim_folder
from tests import tiny
from tests.experiments.sweep import stand_in
from train import Run

ROOT = Path(__file__).parents[3]
FILE = """
from experiments.sweep.space import *
CONFIG = "tests/tiny.py:vit"
METRIC = "test/loss"
BASE = {"steps": STEPS, "data.evaluation": "test"}
def sweep():
    return repeat({"optimizer.learning_rate": RATES}, seeds=2)
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(runner, "command", stand_in.command)

    def write(rates: list, steps: int = 10) -> Path:
        path = tmp_path / "file.py"
        path.write_text(FILE.replace("RATES", str(rates)).replace("STEPS", str(steps)))
        return path

    return write


def run(file: Path, *flags: str) -> int:
    """The exit code of the command, in this process."""
    try:
        sweep.main([str(file), f"--workdir={file.parent / 'runs'}", "--population=off", *flags])
    except SystemExit as end:
        assert isinstance(end.code, int)
        return end.code
    return 0


def start(file: Path, *flags: str) -> subprocess.Popen:
    """The command in a process of its own."""
    command = [sys.executable, stand_in.__file__, str(file), f"--workdir={file.parent / 'runs'}", "--population=off"]
    return subprocess.Popen([*command, *flags], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def histories(file: Path) -> dict[str, list[str]]:
    """The history of each trial: a line for each start."""
    return {path.parent.name: path.read_text().splitlines() for path in file.parent.glob("runs/trials/*/history")}


def rows(file: Path) -> list[dict]:
    with (file.parent / "runs" / "results.csv").open(newline="") as table:
        return list(csv.DictReader(table))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.medium
def test_all_trials_run_once_and_their_results_are_in_the_table(file, capsys):
    path = file([0.01, 0.1])
    assert run(path, "--jobs=3") == 0
    assert run(path) == 0
    assert histories(path) == {
        f"optimizer.learning_rate={rate},seed={seed}": ["from 0"] for rate in (0.01, 0.1) for seed in (0, 1)
    }
    table = rows(path)
    assert [row["state"] for row in table] == ["done"] * 4
    assert float(table[3]["test/loss"]) == pytest.approx(0.1 + 0.001 + 0.1)
    assert re.search(r"0\.01 +0\.1105 +0\.00071 +2", capsys.readouterr().out)  # mean, deviation, seeds


@pytest.mark.medium
def test_a_trial_that_fails_is_marked_and_shown_and_the_others_go_on(file, capsys):
    path = file([100.0, 1000.0, 0.1])
    assert run(path, "--jobs=2") == 1
    output = capsys.readouterr().out
    assert "exit code 1\n    error: step 1: loss nan" in output and "killed by SIGABRT" in output
    assert [row["state"] for row in rows(path)] == ["failed"] * 4 + ["done"] * 2
    assert run(path) == 1  # they are not tried again
    assert len(histories(path)["optimizer.learning_rate=100.0,seed=0"]) == 1
    assert run(path, "--retry_failed", "--only", "rate=100.0,seed=0") == 1
    assert histories(path)["optimizer.learning_rate=100.0,seed=0"] == ["from 0", "from 1"]
    assert len(histories(path)["optimizer.learning_rate=100.0,seed=1"]) == 1


def test_a_dry_run_lists_the_trials_and_changes_nothing(file, capsys):
    path = file([0.01, 0.1])
    assert run(path, "--dry_run", "--only", "seed=1") == 0
    output = capsys.readouterr().out.splitlines()
    assert output[0] == "would begin    optimizer.learning_rate=0.01,seed=1" and len(output) == 3
    assert re.fullmatch(r"2 trials, 20 steps, 320 examples, [1-9].*e\+\d+ FLOPs", output[2])
    assert not (path.parent / "runs").exists()


@pytest.mark.medium
def test_a_dry_run_says_how_long_the_trials_take_on_an_accelerator_at_the_least(file, capsys):
    """Two learning rates are one program: the steps of all trials take as many times the step of the first one."""
    path = file([0.01, 0.1])
    assert run(path, "--dry_run", "--topology", "h100:1") == 0
    line = capsys.readouterr().out.splitlines()[-1]
    seconds, held = re.findall(r"(?:at least|largest takes) ([\d.e-]+) (?:s|kB) ", line)
    assert line.startswith("on h100:1: ") and line.endswith(" of 85.9 GB on each device")
    trial = preflight.estimate(Run.of(tiny.get_config("vit")), "h100:1")
    assert float(seconds) == pytest.approx(4 * 10 * trial.step_seconds, rel=0.05)
    assert float(held) * 1e3 == pytest.approx(sum(trial.memory.values()), rel=0.01)


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--topology", "h100:1"], "--topology is for --dry_run"),
        (["--dry_run", "--topology", "h1000:1"], "--topology=h1000:1: expected v5e:4x4, h100:8 or the like"),
    ],
)
def test_a_topology_that_says_nothing_is_refused(file, capsys, flags, message):
    assert run(file([0.1]), *flags) == 1
    assert message in capsys.readouterr().err


def test_more_steps_continue_what_is_complete(file):
    assert run(file([0.1], steps=10)) == 0
    path = file([0.1], steps=15)
    assert run(path) == 0
    assert set(map(tuple, histories(path).values())) == {("from 0", "from 10 although complete")}


def test_a_sweep_runs_from_python_with_keyword_arguments(file, tmp_path, capsys):
    path, workdirs = file([0.1, 0.2]), []
    options = Options(workdir=tmp_path / "runs", jobs=2, population=1, only=["seed=1"])
    assert engine.run(Sweep.read(path), options, show=workdirs.append)
    assert set(histories(path)) == {f"optimizer.learning_rate={rate},seed=1" for rate in (0.1, 0.2)}
    assert workdirs == [tmp_path / "runs"] and "results" not in capsys.readouterr().out
    with pytest.raises(UserError, match="--jobs=0: expected at least 1"):
        Options(workdir=tmp_path, jobs=0)


def test_with_traceback_an_error_of_the_sweep_is_raised_and_that_of_a_trial_is_logged_with_its_trace(file, monkeypatch):
    with pytest.raises(UserError, match="--only=none matches no trial"):
        run(file([0.1]), "--only=none", "--traceback")
    code = "from core.command import command; from core.errors import UserError\n@command\ndef main(arguments): "
    code += "raise UserError('the oven is cold')\nmain()"
    monkeypatch.setattr(runner, "command", lambda trials: [sys.executable, "-c", code])
    path, name = file([0.1]), "optimizer.learning_rate=0.1,seed="
    failed = [path.parent / "runs" / "trials" / f"{name}{seed}" / "failed.txt" for seed in (0, 1)]
    assert run(path, "--only", "seed=0") == 1
    assert failed[0].read_text() == "exit code 1\nerror: the oven is cold\n"
    assert run(path, "--only", "seed=1", "--traceback") == 1
    assert "in main" in failed[1].read_text() and failed[1].read_text().endswith("UserError: the oven is cold\n")


@pytest.mark.parametrize("flag", ["--only=none", "--jobs=0", "--workdir=/dev/null/x", "--workdir=README.md"])
def test_a_mistake_is_one_line(file, flag, capsys):
    assert run(file([0.1]), flag) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.medium
def test_ctrl_c_saves_and_the_same_command_continues(file):
    path = file([0.1, 0.2], steps=100)
    first = start(path, "--jobs=2")
    until(lambda: len(histories(path)) == 2)
    first.send_signal(signal.SIGINT)
    out, err = first.communicate(timeout=60)
    assert first.returncode == 130 and "To go on, run the same command again" in err and "Traceback" not in err
    assert "4: 2 stopped, 2 waiting" in out
    assert run(path, "--jobs=4") == 0
    assert sorted(map(len, histories(path).values())) == [1, 1, 2, 2]


@pytest.mark.parametrize("kills", [1, pytest.param(12, marks=pytest.mark.slow)])
def test_the_trials_of_a_killed_runner_end_with_it_and_are_neither_lost_nor_repeated(file, kills):
    path = file([0.1, 0.2, 0.3], steps=60)
    random.seed(kills)
    for _ in range(kills):
        process = start(path, "--jobs=3")
        before = sum(map(len, histories(path).values()))
        until(lambda: sum(map(len, histories(path).values())) > before or process.poll() is not None)  # noqa: B023
        time.sleep(random.random() * 0.6)
        process.kill()
        process.communicate()
        until(lambda: not any(map(_users, path.parent.glob("runs/trials/*"))))
    assert run(path, "--jobs=3") == 0
    assert [row["state"] for row in rows(path)] == ["done"] * 6
    for trial, lines in histories(path).items():
        places = [int(line.split()[1]) for line in lines]
        assert places == sorted(places), trial  # each start goes on where the one before had saved
        assert not any("although complete" in line for line in lines), trial
        steps = [json.loads(line)["step"] for line in (path.parent / f"runs/trials/{trial}/metrics.jsonl").open()]
        assert set(steps) == set(range(1, 61)) and len(steps) <= 60 + len(lines), trial


@pytest.mark.medium
def test_a_trial_that_is_killed_has_not_failed_and_is_continued_next_time(file):
    path = file([0.1], steps=100)
    process = start(path, "--jobs=2")
    until(lambda: len(histories(path)) == 2)
    folder = path.parent / "runs/trials/optimizer.learning_rate=0.1,seed=1"
    until(lambda: (folder / "checkpoints").exists())
    (user,) = _users(folder) - {process.pid}
    os.kill(user, signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "1 done, 1 stopped" in out
    assert run(path) == 0
    first, second = histories(path)[folder.name]
    assert first == "from 0" and int(second.split()[1]) > 0


def test_a_trial_that_the_system_kills_for_lack_of_memory_has_failed(file, monkeypatch, capsys):
    starts = count()
    monkeypatch.setattr(runner, "_out_of_memory_kills", lambda: next(starts))
    monkeypatch.setattr(runner, "command", lambda trials: ["/bin/sh", "-c", "kill -9 $$"])
    assert run(file([0.1])) == 1
    out = capsys.readouterr().out
    assert "killed by the system: out of memory" in out and "2 failed" in out


@pytest.mark.medium
def test_two_runners_divide_the_trials_and_one_takes_over_what_the_other_leaves(file):
    path = file([0.1, 0.2, 0.3], steps=40)
    first, second = start(path), start(path)
    until(lambda: len(histories(path)) >= 3)
    first.kill()
    out, err = second.communicate(timeout=60)
    first.communicate()
    assert second.returncode == 0, out + err
    assert "6 done" in out
    assert not any("although complete" in line for lines in histories(path).values() for line in lines)


def test_an_empty_list_of_gpus_means_none(monkeypatch):
    """As it does to CUDA, which also ignores all that follow an invalid one."""
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(runner.glob, "glob", lambda pattern: ["/dev/nvidia0", "/dev/nvidia1"])
    for none in ("", "-1", " ", "NoDevFiles", "-1,0"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        assert runner.environments(2) == 2 * [{"LECTERN_SHARE": "0.500"}]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,-1,0")
    assert runner.environments(1) == [{}] and runner.environments(2)[0]["CUDA_VISIBLE_DEVICES"] == "1"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert [each["CUDA_VISIBLE_DEVICES"] for each in runner.environments(2)] == ["0", "1"]
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert runner.environments(2) == 2 * [{"LECTERN_SHARE": "0.500"}]


def test_a_runner_that_lacks_the_claim_writes_no_file_of_a_trial(tmp_path):
    trial = Trial(tmp_path / "trials" / "seed=3", f"{tiny.ROOT}/tests/tiny.py", {}, {"seed": 3})
    trial.begin()
    (trial.folder / "trial.json").write_text("as another runner left it")
    claim = claim_folder(trial.folder)
    assert claim is not None
    engine._begin_again([trial])
    assert (trial.folder / "trial.json").read_text() == "as another runner left it"
    os.close(claim)
    engine._begin_again([trial])
    assert json.loads((trial.folder / "trial.json").read_text())["overrides"] == {"seed": 3}


def test_jobs_get_a_gpu_each_and_share_when_there_are_too_few(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert runner.environments(2) == [{"CUDA_VISIBLE_DEVICES": "2"}, {"CUDA_VISIBLE_DEVICES": "5"}]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(runner.glob, "glob", lambda pattern: [])
    assert runner.environments(1) == [{}] and runner.environments(2) == 2 * [{"LECTERN_SHARE": "0.500"}]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    share = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.450"}
    assert runner.environments(3) == [{"CUDA_VISIBLE_DEVICES": gpu} | share for gpu in ("2", "5", "2")]


@pytest.mark.parametrize(
    "population, jobs, sizes",
    [
        ("auto", 1, [6, 6]),
        ("auto", 4, [3, 3, 3, 3]),
        ("auto", 5, 2 * [2, 2, 2]),
        ("4", 1, [3, 3, 3, 3]),
        ("1", 1, 12 * [1]),
        ("off", 1, 12 * [1]),
    ],
)
def test_trials_that_differ_in_numbers_only_run_together(tmp_path, monkeypatch, population, jobs, sizes):
    monkeypatch.chdir(ROOT)
    path = tmp_path / "file.py"
    space = 'product({"model.width": [8, 12], "optimizer.learning_rate": [0.1, 0.01, 0.001]})'
    path.write_text(FILE.replace('{"optimizer.learning_rate": RATES}', space).replace("STEPS", "10"))
    trials = Sweep.read(str(path)).trials(str(tmp_path / "runs"))
    flags = [str(path), "--workdir=runs", f"--population={population}", f"--jobs={jobs}"]
    groups = engine._groups(trials, Options.of(sweep.parser().parse_args(flags), "runs"))
    assert [len(group) for group in groups] == sizes
    assert sorted(trial.name for group in groups for trial in group) == sorted(trial.name for trial in trials)
    assert all(len({trial.overrides["model.width"] for trial in group}) == 1 for group in groups)


@pytest.mark.slow
def test_a_sweep_of_runs_that_train(tmp_path, monkeypatch):
    """A sweep that is killed while it trains ends with the same parameters as one that is not."""
    monkeypatch.chdir(ROOT)
    path = tmp_path / "file.py"
    path.write_text(FILE.replace("RATES", "[0.01]").replace("STEPS", "16"))
    command = [sys.executable, "-m", "experiments.sweep", str(path), "--jobs=2", "--population=off"]
    subprocess.run([*command, f"--workdir={tmp_path / 'undisturbed'}"], check=True)
    process = subprocess.Popen([*command, f"--workdir={tmp_path / 'killed'}"])
    until(lambda: list(tmp_path.glob("killed/trials/*/checkpoints/5")))
    process.kill()
    process.wait()
    subprocess.run([*command, f"--workdir={tmp_path / 'killed'}"], check=True)
    for folder in (tmp_path / "undisturbed" / "trials").iterdir():
        one, other = (json.loads((tmp_path / workdir / "trials" / folder.name / "summary.json").read_text())
                      for workdir in ("undisturbed", "killed"))  # fmt: skip
        assert one["state_digest"] == other["state_digest"]


def _users(folder: Path) -> set[int]:
    """The processes that hold a trial's claim."""
    users = set()
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(entry) == str(folder / ".claim"):
                users.add(int(entry.parts[2]))
        except OSError:
            continue
    return users
