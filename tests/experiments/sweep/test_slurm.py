"""Sweeps on a real Slurm with one node: `make test-slurm`, or slurm.sh start FOLDER."""

from collections.abc import Callable
import json
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

ROOT = Path(__file__).parents[3]
FILE = """
from experiments.sweep.space import repeat
CONFIG = "tests/tiny.py:vit"
METRIC = "test/loss"
BASE = {"steps": 40, "data.evaluation": "test", "eval_every": 40}
def sweep():
    return repeat({"model.width": [8]}, seeds=SEEDS)
"""
pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module", autouse=True)
def slurm():
    assert subprocess.run(["sinfo"]).returncode == 0, "no Slurm answers: see tests/experiments/sweep/slurm.sh"


@pytest.fixture
def start(tmp_path):
    """Starts the sweep on two workers, in a process of its own. Its jobs are cancelled after the test."""
    runs = tmp_path / "runs"

    def start(seeds: int, *resources: str) -> subprocess.Popen:
        (tmp_path / "file.py").write_text(FILE.replace("SEEDS", str(seeds)))
        command = [sys.executable, "-m", "experiments.sweep", str(tmp_path / "file.py"), f"--workdir={runs}"]
        command += ["--launcher=slurm", "--jobs=2", "--population=off", "--slurm", "time=30", "cpus_per_task=1"]
        return subprocess.Popen(
            [*command, *resources], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    yield start
    if (runs / "slurm" / "jobs").exists():
        subprocess.run(["scancel", *(runs / "slurm" / "jobs").read_text().split()], check=True)


def finish(process: subprocess.Popen, code: int = 0) -> str:
    out, err = process.communicate(timeout=400)
    assert process.returncode == code, out + err
    assert "Traceback" not in err, err
    return out + err


def until(condition: Callable[[], object], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_after_a_kill_of_the_command_nothing_is_submitted_or_trained_twice(start, tmp_path):
    process = start(4)
    until((tmp_path / "runs" / "slurm" / "jobs").exists, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    output = finish(start(4))
    assert "trials   4: 4 done" in output
    assert len((tmp_path / "runs" / "slurm" / "jobs").read_text().split()) == 1
    for log in tmp_path.glob("runs/trials/*/log.txt"):
        assert log.read_text().count("one step ") == 1  # of the report that a start prints


@pytest.mark.parametrize("how", [["scontrol", "requeue"], ["scancel", "--signal=USR2"]], ids=["preempted", "time"])
def test_a_requeued_job_resumes_its_trial(start, tmp_path, how):
    process = start(1)
    until(lambda: list(tmp_path.glob("runs/trials/*/checkpoints/5")), process)
    (job,) = (tmp_path / "runs" / "slurm" / "jobs").read_text().split()
    subprocess.run([*how, job], check=True)
    assert "trials   1: 1 done" in finish(process)
    (trial,) = (tmp_path / "runs" / "trials").iterdir()
    assert "continued after step" in (trial / "log.txt").read_text()
    assert json.loads((trial / "summary.json").read_text())["steps"] == 40


def test_an_unknown_resource_gives_one_line(start):
    assert "invalid partition specified: none" in finish(start(1, "partition=none"), code=1).splitlines()[-1]
    assert "gpu_count" in (error := finish(start(1, "gpu_count=3"), code=1)) and error.count("\n") == 1
