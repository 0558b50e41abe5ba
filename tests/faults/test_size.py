"""A log of a million lines, and a sweep of 2,000 trials: shown in under 10 s and 1 GiB."""

import json
from pathlib import Path
import subprocess
import sys

import pytest

from core.files import ROOT

LINES, TRIALS = 1_000_000, 2_000
# Prints the seconds of the processor and the largest memory in MiB of the command that it runs.
MEASURED = """
import resource, subprocess, sys
code = subprocess.run([sys.executable, "-m", *sys.argv[1:]], stdout=subprocess.DEVNULL).returncode
use = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, use.ru_utime + use.ru_stime, use.ru_maxrss / 1024)
"""


def line(step: int, split: str = "train") -> str:
    numbers = {"loss": 2.5 + (step * 7919 % 1000) / 1000, "accuracy": 0.5, "grad_norm": 1.25, "learning_rate": 0.001}
    return json.dumps({"step": step, "split": split, "time": step / 100} | numbers) + "\n"


def write_log(path: Path, lines: int) -> None:
    with path.open("w") as file:
        file.writelines(line(step, "train" if step % 10 else "test") for step in range(1, lines + 1))


def write_trial(folder: Path, number: int, log_lines: int = 20) -> None:
    folder.mkdir(parents=True)
    overrides = {"optimizer.learning_rate": 1e-5 * (number + 1), "model.dropout": (number * 7919 % 2000) / 4000}
    config = {"steps": log_lines, "seed": 0, "model": {"name": "vit"}, "objective": {"name": "classification"}}
    config |= {"data": {"name": "digits"}}
    trial = {"file": "tests/tiny.py:vit", "base": {}, "overrides": overrides, "config": config}
    summary = {"metrics": {"test/loss": 2.5}, "steps": log_lines, "seconds": 1.0}
    for name, content in (("trial", trial), ("config", config), ("summary", summary)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    write_log(folder / "metrics.jsonl", log_lines)


def assert_quick(*command: str) -> None:
    """Runs a command; it may use 10 s of the processor, and 1 GiB."""
    line = [sys.executable, "-c", MEASURED, *command]
    process = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    code, seconds, memory = map(float, process.stdout.split())
    assert code == 0, process.stderr
    print(f"{command[0]}: {seconds:.1f} s, {memory:.0f} MiB")
    assert seconds < 10 and memory < 1024


@pytest.mark.slow
def test_the_log_of_a_million_lines(tmp_path):
    """As the curve of a run, and as that of a trial."""
    write_trial(tmp_path / "trials" / "one", 1, LINES)
    record = {"file": "x.py", "metric": "test/loss", "better": "min", "trials": {}}
    (tmp_path / "sweep.json").write_text(json.dumps(record))
    assert_quick("experiments.plot", f"--workdir={tmp_path / 'trials' / 'one'}")
    assert_quick("experiments.results", f"--workdir={tmp_path}")


@pytest.mark.slow
def test_a_sweep_of_two_thousand_trials(tmp_path):
    for number in range(TRIALS):
        write_trial(tmp_path / "trials" / f"{number:04}", number)
    record = {"file": "x.py", "metric": "test/loss", "better": "min", "trials": {}}
    (tmp_path / "sweep.json").write_text(json.dumps(record))
    assert_quick("experiments.results", f"--workdir={tmp_path}")
    assert_quick("experiments.plot", "--workdir", *(str(path) for path in sorted((tmp_path / "trials").iterdir())))
