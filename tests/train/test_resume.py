"""A run that was stopped in any way ends with the same bits as an uninterrupted one."""

import json
import os
import re
import shutil
import signal
import subprocess

import pytest

from tests import tiny


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The workdirs of runs that nothing stopped, by config."""
    workdirs = {config: tmp_path_factory.mktemp(config) for config in ("vit", "gpt")}
    for config, workdir in workdirs.items():
        tiny.finish(tiny.start(config, workdir))
    return workdirs


def killed(config, workdir, condition, number=signal.SIGKILL, code=-signal.SIGKILL, *flags):
    run = tiny.start(config, workdir, *flags)
    tiny.until(condition, run)
    run.send_signal(number)
    return tiny.finish(run, code)


@pytest.mark.medium
@pytest.mark.parametrize("config", ["vit", "gpt"])
def test_killed_again_and_again(config, uninterrupted, tmp_path):
    killed(config, tmp_path, tiny.saving(tmp_path))
    killed(config, tmp_path, tiny.logged(tmp_path, 5))
    killed(config, tmp_path, tiny.logged(tmp_path, 10))
    tiny.finish(tiny.start(config, tmp_path))
    assert tiny.summary(tmp_path)["state_digest"] == tiny.summary(uninterrupted[config])["state_digest"]
    assert tiny.losses(tmp_path) == tiny.losses(uninterrupted[config])


@pytest.mark.slow
@pytest.mark.parametrize("config", ["vit", "gpt"])
@pytest.mark.parametrize("step", range(1, 16, 2))
def test_killed_after_any_step(config, step, uninterrupted, tmp_path):
    killed(config, tmp_path, tiny.logged(tmp_path, step))
    tiny.finish(tiny.start(config, tmp_path))
    assert tiny.summary(tmp_path)["state_digest"] == tiny.summary(uninterrupted[config])["state_digest"]


@pytest.mark.medium
def test_asked_to_stop(uninterrupted, tmp_path):
    """Ctrl-C, then SIGTERM: each finishes its step, saves it, and says how to go on."""
    for number, after in ((signal.SIGINT, 1), (signal.SIGTERM, 8)):
        output = killed("vit", tmp_path, tiny.logged(tmp_path, after), number, 128 + number)
        step = len(tiny.losses(tmp_path))
        assert after < step < 16
        assert f"stopped after step {step}; saved. To go on, run the same command again." in output
        assert (tmp_path / "checkpoints" / str(step)).is_dir()
    tiny.finish(tiny.start("vit", tmp_path))
    assert tiny.summary(tmp_path)["state_digest"] == tiny.summary(uninterrupted["vit"])["state_digest"]
    assert tiny.losses(tmp_path) == tiny.losses(uninterrupted["vit"])


def test_damaged_checkpoint(uninterrupted, tmp_path):
    """It is named, the one before is used, and the run ends with the same bits."""
    shutil.copytree(uninterrupted["vit"], tmp_path, dirs_exist_ok=True)
    (tmp_path / "summary.json").unlink()  # killed just before the end
    for path in (tmp_path / "checkpoints" / "16" / "state").rglob("*"):
        if path.is_file():  # which of them hold the arrays is for Orbax to know
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
    output = tiny.finish(tiny.start("vit", tmp_path))
    assert "checkpoint 16" in output and "damaged" in output
    assert "continued after step 15" in output
    assert tiny.summary(tmp_path)["state_digest"] == tiny.summary(uninterrupted["vit"])["state_digest"]


@pytest.mark.medium
def test_more_steps_and_another_config(uninterrupted, tmp_path):
    shutil.copytree(uninterrupted["vit"], tmp_path, dirs_exist_ok=True)
    output = tiny.finish(tiny.start("vit", tmp_path, "--config.model.depth=3", "--config.ema=0.5"), 1)
    assert "model.depth: 2 in the workdir, 3 now" in output
    assert "ema: 0.9 in the workdir, 0.5 now" in output
    assert "steps:" not in output
    assert tiny.summary(tmp_path) == tiny.summary(uninterrupted["vit"])
    tiny.finish(tiny.start("vit", tmp_path, "--config.steps=18"))
    assert tiny.summary(tmp_path)["steps"] == 18
    assert tiny.losses(tmp_path)[:16] == tiny.losses(uninterrupted["vit"])


@pytest.mark.medium
def test_workdir_in_use(tmp_path):
    first = tiny.start("vit", tmp_path, "--config.steps=100_000")
    tiny.until(tiny.logged(tmp_path, 1), first)
    assert f"in use by process {first.pid}" in tiny.finish(tiny.start("vit", tmp_path), 1)
    assert first.poll() is None
    first.kill()
    tiny.finish(first, -signal.SIGKILL)


@pytest.mark.medium
def test_not_finite(tmp_path):
    # Parameters grow until a gradient overflows. tests/training/test_checkpoints.py has an update that overflows.
    flags = ("--config.optimizer.weight_decay=1e6", "--config.optimizer.warmup=0")
    output = tiny.finish(tiny.start("vit", tmp_path, *flags, "--config.checkpoint_every=1"), 1)
    assert re.search(r"gradient norm (inf|nan), at learning rate 0\.00\d", output)  # CPUs differ in which, and when
    error = output[output.index("error: step ") :]
    bad = int(error.split()[2].rstrip(":"))
    saved = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert all(step < bad for step in saved)
    if saved:
        assert f"the last good checkpoint is of step {saved[-1]}." in error
    assert not (tmp_path / "summary.json").exists()


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk with space for a few checkpoints."""
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


@pytest.mark.medium
def test_full_disk(small_disk):
    """It ends the run with a message and spoils no earlier checkpoint. The run goes on when there is space again."""
    workdir, filler = small_disk / "run", small_disk / "filler"
    tiny.finish(tiny.start("vit", workdir, "--config.steps=6"))
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - 150_000))  # enough for the log, not for a checkpoint
    output = tiny.finish(tiny.start("vit", workdir), 1)
    assert "No space left on device" in output.splitlines()[-1]
    assert "the newest good checkpoint is step 6" in output.splitlines()[-1]
    filler.unlink()
    assert "continued after step 6" in tiny.finish(tiny.start("vit", workdir))
    assert tiny.summary(workdir)["steps"] == 16


def records(workdir):
    """Every record of the log, without times."""
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    times = ("time", "examples_per_second", "tokens_per_second")
    return [{name: value for name, value in line.items() if name not in times} for line in lines]


@pytest.mark.medium
def test_a_killed_run_ends_with_the_records_of_an_uninterrupted_one(tmp_path):
    """Also where checkpoints are saved between two lines of the log."""
    flags = ["--config.log_every=7"]
    tiny.finish(tiny.start("vit", tmp_path / "whole", *flags))
    run = tiny.start("vit", tmp_path / "killed", *flags)
    tiny.until(lambda: (tmp_path / "killed" / "checkpoints" / "10").is_dir(), run)
    run.kill()
    run.communicate()
    tiny.finish(tiny.start("vit", tmp_path / "killed", *flags))
    assert records(tmp_path / "killed") == records(tmp_path / "whole")


@pytest.mark.medium
def test_a_summary_is_that_of_the_step_that_is_asked_for(tmp_path):
    """To the end, then further and killed, then asked for the step where it was killed."""
    tiny.finish(tiny.start("vit", tmp_path, "--config.steps=10", "--config.optimizer.schedule=constant"))
    earlier = tiny.summary(tmp_path)
    flags = ["--config.optimizer.schedule=constant"]
    run = tiny.start("vit", tmp_path, "--config.steps=1000", *flags)
    tiny.until(lambda: (tmp_path / "checkpoints" / "15").is_dir(), run)
    run.send_signal(signal.SIGTERM)
    run.communicate()
    newest = max(int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit())
    assert "The run is complete" not in tiny.finish(tiny.start("vit", tmp_path, f"--config.steps={newest}", *flags))
    summary = tiny.summary(tmp_path)
    assert summary["steps"] == newest and summary["state_digest"] != earlier["state_digest"]
    tiny.finish(tiny.start("vit", tmp_path / "uninterrupted", f"--config.steps={newest}", *flags))
    uninterrupted = tiny.summary(tmp_path / "uninterrupted")
    assert summary["state_digest"] == uninterrupted["state_digest"]
    evaluated = lambda summary: {n: x for n, x in summary["metrics"].items() if not n.startswith("train/")}
    assert evaluated(summary) == evaluated(uninterrupted)
    output = tiny.finish(tiny.start("vit", tmp_path, f"--config.steps={newest}", *flags))
    assert "The run is complete" in output
