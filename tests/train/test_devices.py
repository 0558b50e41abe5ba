"""Any mesh of devices and any number of processes train as one device does."""

from collections.abc import Sequence
import functools
import json
import os
from pathlib import Path
import signal
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments.measure.program_facts import exchanges, gathers_of_others
from tests import tiny

MESHES = {
    "vit": [(8, 1, 1), (1, 8, 1), (2, 2, 2)],
    "gpt": [(1, 1, 8), (1, 8, 1)],
    "clip": [(8, 1, 1)],
}  # data x fsdp x tensor
MORE_MESHES = {"vit": [(4, 1, 2), (1, 4, 2)], "gpt": [(2, 2, 2), (8, 1, 1)], "clip": [(2, 2, 2), (1, 8, 1)]}
STEPS = 5


def run(config: str, devices: int, meshes: Sequence, folder: Path) -> dict:
    """The losses, the shapes of the pieces of each parameter, and what is gathered, by mesh.

    They come from one process with `devices` devices.
    """
    command = [sys.executable, __file__, config, str(devices), json.dumps(meshes), folder]
    environment = os.environ | {"PYTHONPATH": str(tiny.ROOT)}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    read = lambda mesh, file: json.loads((folder / name(mesh) / file).read_text())
    return {tuple(mesh): (tiny.losses(folder / name(mesh)), read(mesh, "pieces.json"), read(mesh, "gathers.json"))
            for mesh in meshes}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A function that trains, once, what it is called with."""

    @functools.cache
    def of(config: str, devices: int, *meshes: tuple) -> dict:
        return run(config, devices, meshes, tmp_path_factory.mktemp("runs"))

    return of


@pytest.mark.parametrize(
    "meshes",
    [pytest.param(MESHES, marks=pytest.mark.medium), pytest.param(MORE_MESHES, marks=pytest.mark.slow)],
    ids=["some", "more"],
)
@pytest.mark.parametrize("config", ["vit", "gpt", "clip"])
def test_a_mesh_gives_the_curve_of_one_device(config, meshes, runs):
    """With dropout, augmentation and accumulation on: what is random does not depend on the mesh.

    CLIP compares each example with all others of the batch, on whichever device they are.
    """
    expected, *_ = runs(config, 1, (1, 1, 1))[1, 1, 1]
    assert len(expected) == STEPS
    for mesh, (losses, *_) in runs(config, 8, *meshes[config]).items():
        np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-5, err_msg=str(mesh))


@pytest.mark.medium
def test_parameters_are_stored_in_pieces(runs):
    """fsdp splits rows, tensor splits columns and the bias of a split layer; norms are not split."""
    up, bias, scale = (f"blocks.blocks.0.{name}" for name in ("mlp.up.kernel", "mlp.up.bias", "mlp_norm.scale"))
    one, eight = runs("vit", 1, (1, 1, 1)), runs("vit", 8, *MESHES["vit"])
    pieces = {mesh: shapes for mesh, (_, shapes, _) in (one | eight).items()}
    assert pieces[1, 1, 1][up] == [8, 32]
    assert pieces[8, 1, 1][up] == [8, 32]
    assert pieces[1, 8, 1][up] == [1, 32]
    assert pieces[2, 2, 2][up] == [4, 16]
    assert pieces[2, 2, 2][bias] == [16]
    assert pieces[2, 2, 2][scale] == [8]


@pytest.mark.medium
def test_fsdp_gathers_parameters_and_nothing_else(runs):
    """Were the activations split as the parameters are, the logits of the whole batch would be gathered: 46 kB here."""
    _, _, gathers = runs("gpt", 8, *MESHES["gpt"])[1, 8, 1]
    assert gathers["parameters"] and gathers["others"] == []  # besides the tokens, of less than 1 kB


def start_two(config: str, workdir: Path, *flags: str) -> list[subprocess.Popen]:
    """A run in two processes of one device each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    two = (f"--coordinator=localhost:{port}", "--processes=2")
    return [tiny.start(config, workdir, *two, f"--process={i}", *flags) for i in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("mesh", ["data", "fsdp"])
def test_two_processes(mesh, tmp_path):
    """They train as one process does. One process continues from their checkpoint, and the other way round."""
    split = ("--config.mesh.data=1", "--config.mesh.fsdp=-1") if mesh == "fsdp" else ()
    short, long = (*split, "--config.steps=6"), split
    schedule = ("--config.optimizer.schedule=constant",)
    one, two = tmp_path / "one", tmp_path / "two"
    tiny.finish(tiny.start("vit", one, *short, *schedule))
    for process in start_two("vit", two, *short, *schedule):
        tiny.finish(process)
    np.testing.assert_allclose(tiny.losses(two), tiny.losses(one), rtol=0, atol=1e-5)
    assert "continued after step 6" in tiny.finish(tiny.start("vit", two, *long, *schedule))
    outputs = [tiny.finish(process) for process in start_two("vit", one, *long, *schedule)]
    assert "continued after step 6" in outputs[0]
    assert len(tiny.losses(one)) == 16
    np.testing.assert_allclose(tiny.losses(two), tiny.losses(one), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGINT, marks=pytest.mark.slow), pytest.param(signal.SIGTERM, marks=pytest.mark.medium)],
)
def test_one_of_two_processes_is_asked_to_stop(number, tmp_path):
    """Both stop after the same step and save it."""
    both = start_two("vit", tmp_path, "--config.steps=100_000", "--config.checkpoint_every=100_000")
    tiny.until(tiny.logged(tmp_path, 2), both[0])
    both[1].send_signal(number)
    outputs = [tiny.finish(process, 128 + signal.SIGTERM) for process in both]
    step = len(tiny.losses(tmp_path))
    assert all(f"stopped after step {step:,}; saved" in text for text in outputs)
    assert (tmp_path / "checkpoints" / str(step)).is_dir()


ALONE = """
import sys
import train
from training import together
together.WAIT = 2
train.main(sys.argv[1:])
"""


@pytest.mark.medium
@pytest.mark.parametrize("number", [0, 1])
def test_a_process_whose_others_never_come_ends_with_one_line(number, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    flags = [f"--config={tiny.__file__}:vit", f"--workdir={tmp_path}", f"--coordinator=localhost:{port}"]
    line = [sys.executable, "-c", ALONE, *flags, "--processes=2", f"--process={number}"]
    done = subprocess.run(line, cwd=tiny.ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "the other processes cannot be reached after 2 s" in done.stderr and done.stderr.count("\n") == 1


def name(mesh) -> str:
    return "x".join(map(str, mesh))


def main(config: str, devices: str, meshes: str, folder: str) -> None:
    """What `run` starts."""
    jax.config.update("jax_num_cpu_devices", int(devices))
    jax.config.update("jax_disable_most_optimizations", True)  # as in conftest.py
    import train

    for mesh in json.loads(meshes):
        workdir = Path(folder) / name(mesh)
        pieces, gathers = {}, {}

        def keep(parameters, compiled, *_, pieces=pieces, gathers=gathers):
            pieces |= {path: x.addressable_shards[0].data.shape for path, x in parameters.items()}
            shapes, text = {x.shape for x in parameters.values()}, compiled.as_text()
            others = [each.arrays for each in gathers_of_others(text, shapes, smallest=1000)]
            gathers |= {"others": others, "parameters": [
                each.arrays for each in exchanges(text) if each.kind == "all-gather" and each.arrays not in others
            ]}  # fmt: skip

        train.start_report = keep
        settings = tiny.get_config(config)
        settings.steps = settings.eval_every = settings.checkpoint_every = STEPS
        settings.mesh = dict(zip(("data", "fsdp", "tensor"), mesh))
        train.run(settings, workdir)
        (workdir / "pieces.json").write_text(json.dumps(pieces))
        (workdir / "gathers.json").write_text(json.dumps(gathers))


if __name__ == "__main__":
    main(*sys.argv[1:])
