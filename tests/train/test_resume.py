"""A run that was stopped in any way ends with the same bits as one that was not."""

import os
import shutil
import signal
import subprocess

import pytest

from tests import tiny


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The workdirs of runs that nothing stopped, by config."""
    workdirs = {config: tmp_path_factory.mktemp(config) for config in ("vit", "gpt")}
    for config, workdir in workdirs.items():
        tiny.finish(tiny.start(config, workdir))
    return workdirs


def killed(config, workdir, happened, number=signal.SIGKILL, code=-signal.SIGKILL, *flags):
    run = tiny.start(config, workdir, *flags)
    tiny.until(happened, run)
    run.send_signal(number)
    return tiny.finish(run, code)


@pytest.mark.parametrize("config", ["vit", "gpt"])
def test_killed_again_and_again(config, whole, tmp_path):
    killed(config, tmp_path, tiny.saving(tmp_path))
    killed(config, tmp_path, tiny.logged(tmp_path, 5))
    killed(config, tmp_path, tiny.logged(tmp_path, 10))
    tiny.finish(tiny.start(config, tmp_path))
    assert tiny.summary(tmp_path)["state_digest"] == tiny.summary(whole[config])["state_digest"]
    assert tiny.losses(tmp_path) == tiny.losses(whole[config])


@pytest.mark.slow
@pytest.mark.parametrize("config", ["vit", "gpt"])
@pytest.mark.parametrize("step", range(1, 16, 2))
def test_killed_after_any_step(config, step, whole, tmp_path):
    killed(config, tmp_path, tiny.logged(tmp_path, step))
    tiny.finish(tiny.start(config, tmp_path))
    assert tiny.summary(tmp_path)["state_digest"] == tiny.summary(whole[config])["state_digest"]


def test_asked_to_stop(whole, tmp_path):
    """Ctrl-C, then SIGTERM: each finishes its step, saves it, and says how to go on."""
    for number, after in ((signal.SIGINT, 1), (signal.SIGTERM, 8)):
        said = killed("vit", tmp_path, tiny.logged(tmp_path, after), number, 128 + number)
        step = len(tiny.losses(tmp_path))
        assert after < step < 16
        assert f"stopped after step {step}; saved. To go on, run the same command again." in said
        assert (tmp_path / "checkpoints" / str(step)).is_dir()
    tiny.finish(tiny.start("vit", tmp_path))
    assert tiny.summary(tmp_path)["state_digest"] == tiny.summary(whole["vit"])["state_digest"]
    assert tiny.losses(tmp_path) == tiny.losses(whole["vit"])


def test_damaged_checkpoint(whole, tmp_path):
    """The newest one is named, the one before is used, and the run ends as it had."""
    shutil.copytree(whole["vit"], tmp_path, dirs_exist_ok=True)
    (tmp_path / "summary.json").unlink()  # killed just before the end
    for path in (tmp_path / "checkpoints" / "16" / "state").rglob("*"):
        if path.is_file():  # which of them hold the arrays is for Orbax to know
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
    said = tiny.finish(tiny.start("vit", tmp_path))
    assert "checkpoint 16" in said and "damaged" in said
    assert "continued after step 15" in said
    assert tiny.summary(tmp_path)["state_digest"] == tiny.summary(whole["vit"])["state_digest"]


def test_more_steps_and_another_config(whole, tmp_path):
    shutil.copytree(whole["vit"], tmp_path, dirs_exist_ok=True)
    said = tiny.finish(tiny.start("vit", tmp_path, "--config.model.depth=3", "--config.ema=0.5"), 1)
    assert "model.depth: 2 in the workdir, 3 now" in said
    assert "ema: 0.9 in the workdir, 0.5 now" in said
    assert "steps:" not in said
    assert tiny.summary(tmp_path) == tiny.summary(whole["vit"])
    tiny.finish(tiny.start("vit", tmp_path, "--config.steps=18"))
    assert tiny.summary(tmp_path)["steps"] == 18
    assert tiny.losses(tmp_path)[:16] == tiny.losses(whole["vit"])


def test_workdir_in_use(tmp_path):
    first = tiny.start("vit", tmp_path, "--config.steps=100_000")
    tiny.until(tiny.logged(tmp_path, 1), first)
    assert f"in use by process {first.pid}" in tiny.finish(tiny.start("vit", tmp_path), 1)
    assert first.poll() is None
    first.kill()
    tiny.finish(first, -signal.SIGKILL)


@pytest.mark.parametrize(
    "weight_decay, said",
    [
        (1e6, "gradient norm inf, at learning rate 0.0096"),  # parameters grow until a gradient is out of the numbers
        (1e39, "NaN or infinity in"),  # the first update already leads out of the numbers, though its loss was good
    ],
)
def test_not_finite(weight_decay, said, tmp_path):
    flags = (f"--config.optimizer.weight_decay={weight_decay}", "--config.optimizer.warmup=0")
    output = tiny.finish(tiny.start("vit", tmp_path, *flags, "--config.checkpoint_every=1"), 1)
    assert said in output
    error = output[output.index("error: step ") :]
    bad = int(error.split()[2].rstrip(":"))
    saved = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert all(step < bad for step in saved)
    if saved:
        assert f"the last good checkpoint is of step {saved[-1]}." in error
    assert not (tmp_path / "summary.json").exists()


@pytest.fixture
def small_disk(tmp_path):
    """A folder with room for a few checkpoints."""
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def test_full_disk(small_disk):
    """It ends the run with a message, spoils no earlier checkpoint, and the run goes on when there is room again."""
    workdir, filler = small_disk / "run", small_disk / "filler"
    tiny.finish(tiny.start("vit", workdir, "--config.steps=6"))
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - 150_000))  # room for the log, not for a checkpoint
    said = tiny.finish(tiny.start("vit", workdir), 1)
    assert "No space left on device" in said.splitlines()[-1]
    assert "the newest good checkpoint is step 6" in said.splitlines()[-1]
    filler.unlink()
    assert "continued after step 6" in tiny.finish(tiny.start("vit", workdir))
    assert tiny.summary(workdir)["steps"] == 16
