"""Models trained for figures: once, shared, told apart by config and code; data sets on disk; what a stop leaves."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest

from core import files
from experiments.figures import __main__ as command
from experiments.figures import engine, trained
from experiments.figures.engine import digest, load, make, missing
from experiments.figures.trained import Trainer
import train
from training.loop import Interrupted

pytestmark = pytest.mark.medium

CONFIG = "tests/tiny.py"
SOURCES = [files.ROOT / CONFIG]
SHORT = {"steps": 2, "eval_every": 2, "accumulate": 1, "optimizer.warmup": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("figures")


@pytest.fixture(scope="module")
def runs(folder):
    both = {"low": SHORT | {"optimizer.learning_rate": 0.001}, "high": SHORT | {"optimizer.learning_rate": 0.01}}
    return Trainer(folder, 5, SOURCES)(CONFIG, both)


def test_runs_that_differ_in_numbers_are_one_program_and_have_a_folder_each(runs, folder, capsys):
    assert list(runs) == ["low", "high"]
    assert runs["low"].metrics["test[:25%]/loss"] != runs["high"].metrics["test[:25%]/loss"]
    assert [part.run.config["optimizer"]["learning_rate"] for part in runs.values()] == [0.001, 0.01]
    assert {part.run.config["seed"] for part in runs.values()} == {5}
    assert len(list((folder / "trained").glob("tiny-*"))) == 2
    assert "2 runs" in (folder / "trained" / "tiny.log").read_text() and capsys.readouterr().out == ""


def test_a_run_is_trained_once(runs, folder, monkeypatch):
    monkeypatch.setattr(train, "fit", None)
    low = SHORT | {"optimizer.learning_rate": 0.001}
    again = Trainer(folder, 5, SOURCES)(CONFIG, {"another name": low, "and one more": low})
    assert again["another name"].metrics == again["and one more"].metrics == runs["low"].metrics


def test_other_code_starts_anew(runs, folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    before = set((tmp_path / "trained").glob("tiny-*"))
    monkeypatch.setattr(trained, "machinery", lambda: "0123456789")
    monkeypatch.setattr(trained, "_train", lambda group: None)
    monkeypatch.setattr(trained, "_load", lambda workdir: workdir)
    workdirs: dict = Trainer(tmp_path, 5, SOURCES)(CONFIG, {"x": SHORT})
    assert "tiny-01234567-" in workdirs["x"] and before and not set((tmp_path / "trained").glob("tiny-*"))


def test_a_run_that_fails_says_why(tmp_path):
    short = SHORT | {"steps": 6, "eval_every": 6, "optimizer.weight_decay": 1e6}
    too_fast = {name: short | {"optimizer.learning_rate": rate} for name, rate in (("a", 987.0), ("b", 1e-7))}
    with pytest.raises(ValueError, match=r"the run with .*987.* failed: step \d: "):
        Trainer(tmp_path, 0, SOURCES)(CONFIG, too_fast)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stop_saves_ends_all_processes_and_the_same_command_goes_on(tmp_path, number):
    line = [sys.executable, "-m", "experiments.figures", "texture_bag", "weight_sharing", "--jobs=2"]
    line += [f"--out={tmp_path}"]
    log = tmp_path / "trained" / "texture_bag.log"
    first = subprocess.Popen(line, cwd=files.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until(lambda: log.exists() and "step 100/" in log.read_text())
    first.send_signal(number)
    output, _ = first.communicate(timeout=100)  # the pipe closes when the last process that holds it ends
    assert first.returncode == (130 if number == signal.SIGTERM else -signal.SIGKILL), output
    assert not (tmp_path / "texture_bag.json").exists() and (tmp_path / "weight_sharing.json").exists()
    second = subprocess.run(line, cwd=files.ROOT, capture_output=True, text=True, timeout=300)
    assert second.returncode == 0, second.stderr
    assert "continued after step" in " ".join(log.read_text().split())


def until(condition, seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.fixture
def needy(monkeypatch, tmp_path):
    """A figure that needs a data set, on a machine without any."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "sets"))
    monkeypatch.setattr(load("weight_sharing"), "NEEDS", ("mnist",), raising=False)
    monkeypatch.setattr(command, "names", lambda: ["weight_sharing"])
    return "weight_sharing"


def test_a_figure_whose_data_set_is_missing_is_skipped_by_all_and_refused_by_name(needy, tmp_path, capsys):
    command.main(["--all", f"--out={tmp_path}"])
    out = capsys.readouterr().out
    assert out.startswith(f"skipped: {needy}\nThe set mnist is not on disk.")
    assert "download_and_prepare" in out and not (tmp_path / f"{needy}.json").exists()
    command.main([f"--out={tmp_path}"])
    assert "not made (needs mnist)" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit, match="1"):
        command.main([needy, f"--out={tmp_path}"])
    assert "error: The set mnist is not on disk." in capsys.readouterr().err


def test_a_data_set_counts(needy, monkeypatch):
    absent = digest(needy, 0)
    monkeypatch.setattr(engine, "_identity", lambda data_set: f"{data_set}/3.0.1")
    assert digest(needy, 0) != absent and "mnist" in (missing(needy) or "") and missing("krr") is None


def test_a_figure_that_is_stopped_while_it_trains_counts_as_not_made(tmp_path, monkeypatch, capsys):
    def stopped(seed):
        raise Interrupted(7, 143)

    monkeypatch.setattr(load("weight_sharing"), "run", stopped)
    with pytest.raises(Interrupted):
        make("weight_sharing", tmp_path)
    assert not (tmp_path / "weight_sharing.json").exists()
    with pytest.raises(SystemExit) as stop:
        command.main(["weight_sharing", f"--out={tmp_path}"])
    assert stop.value.code == 130 and "stopped; to go on, give --all again" in capsys.readouterr().err


def test_a_trained_figure_is_given_a_trainer(tmp_path, monkeypatch):
    calls = []
    module = load("vae_beta")
    monkeypatch.setattr(module, "run", lambda seed, train, *, beta_weighs="kl": calls.append((seed, train)) or {})
    record = make("vae_beta", tmp_path, seed=3)
    ((seed, trainer),) = calls
    assert seed == 3 and trainer.folder == tmp_path / "trained" and trainer.seed == 3
    assert files.ROOT / "configs/vae.py" in trainer.sources
    assert json.loads((tmp_path / "vae_beta.json").read_text())["error"] == record["error"] == "KeyError: 'kl'"


def test_a_config_that_the_figure_does_not_depend_on_is_refused(tmp_path, monkeypatch):
    module = load("vae_beta")
    monkeypatch.setattr(module, "run", lambda seed, train: train("".join(["configs/", "vit.py"]), {"x": {}}))
    record = make("vae_beta", tmp_path)
    assert record["error"].startswith("ValueError: the figure does not depend on configs/vit.py: its file")
    assert not record["passed"] and "Traceback" in record["traceback"]
