"""The estimate for accelerators that are not here: its numbers by hand, its refusals, and every config on a TPU."""

import importlib.util
import os
import re
import subprocess
import sys

import jax
import pytest

from core.errors import UserError
from experiments.measure import preflight
from experiments.measure.collectives import Collective
from experiments.measure.preflight import Estimate, devices_of, estimate, table
from experiments.use import sample
from tests import tiny
from train import Run
from training.peaks import CHIPS, GIB, chip_of

NEEDS_LIBTPU = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="no libtpu")
CONFIGS = sorted(path.stem for path in (tiny.ROOT / "configs").glob("*.py"))
# Sets that are downloaded. The tests make a sample of the other sets of files.
ON_FILES = {name for name in CONFIGS if any(word in (tiny.ROOT / f"configs/{name}.py").read_text() for word in (
    "mnist", "imdb", "shakespeare", "planetoid", "zinc", "faces"))}  # fmt: skip
MESHES = [{}, {"fsdp": 2}, {"tensor": 2}, {"fsdp": 2, "tensor": 2}]


@pytest.fixture(scope="module")
def on_a_gpu():
    return estimate(Run.of(tiny.get_config("gpt")), "h100:1")


def test_memory_is_that_of_the_state_and_the_times_follow_from_the_peaks(on_a_gpu):
    run = Run.of(tiny.get_config("gpt"))
    state = jax.eval_shape(run.initialise()[1], jax.random.key(0))
    size = lambda tree: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
    assert on_a_gpu.memory["parameters"] == on_a_gpu.memory["average"] == size(state.parameters)
    assert on_a_gpu.memory["optimizer"] == size(state.optimizer)
    assert on_a_gpu.memory["batch"] == 16 * 7 * (4 + 4 + 4)  # tokens, targets, weights
    assert on_a_gpu.fits and on_a_gpu.available == 80 * GIB and on_a_gpu.exchanges == []
    assert on_a_gpu.seconds["products"] == on_a_gpu.flops / 494e12  # float32
    assert on_a_gpu.seconds["memory"] == pytest.approx(on_a_gpu.touched / 3350e9)
    assert on_a_gpu.step_seconds == max(on_a_gpu.seconds.values())


def test_flops_are_those_of_the_matrices(on_a_gpu):
    run = Run.of(tiny.get_config("gpt"))
    parameters = jax.eval_shape(run.initialise()[1], jax.random.key(0)).parameters
    kernels = sum(x.size for path, x in parameters.items() if path.endswith("kernel") or "embedding" in path)
    # Six operations for each weight and token (forward, and backward for both factors), and little for attention.
    assert 1 < on_a_gpu.flops / (6 * 16 * 7 * kernels) < 1.4


def test_estimates_stand_side_by_side_and_say_what_does_not_fit():
    fits = Estimate("v5e:2x2", 4, {"parameters": 3e9}, 16 * GIB, "", 5e12, 7e9, [Collective("all-reduce", 2, 11e6)],
                    {"products": 0.013, "memory": 0.017}, 1000, 64)  # fmt: skip
    full = Estimate("v5e:1x1", 1, {}, 16 * GIB, "Used 30.2G of 15.75G hbm")
    assert (fits.fits, full.fits) == (True, False)
    columns = {column.header: list(column.cells) for column in table([fits, full]).columns}
    rows = dict(zip(columns[""], zip(columns["v5e:2x2"], columns["v5e:1x1"])))
    assert rows["fits"] == ("yes", "no: Used 30.2G of 15.75G hbm")
    assert rows["parameters, per device"] == ("3 GB", "")
    assert rows["all-reduce, sent per device"] == ("2 x, 11 MB", "")
    assert rows["step at least"] == ("17 ms", "") and rows["run at least"] == ("17 s", "")
    assert rows["examples per second at most"] == ("3.76 k", "")
    assert not Estimate("v5e:1x1", 1, {"activations": 17.0 * GIB}, 16 * GIB).fits


@pytest.mark.parametrize(
    "topology, words",
    [
        ("v5e", "expected v5e:4x4, h100:8 or the like"),
        ("v9:2x2", "of v3, v4, v5e"),
        ("h100:0", "expected 1 to 4,096 chips"),
        ("h100:7", "this process has only 1 devices"),
    ],
)
def test_a_topology_that_is_none_is_one_line(topology, words):
    with pytest.raises(UserError, match=words):
        devices_of(topology)


def test_without_the_compiler_for_tpus_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(preflight.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the compiler for TPUs: pip install -r requirements-tpu.txt"):
        devices_of("v5e:2x2")


@pytest.mark.parametrize(
    "kind, name",
    [
        ("TPU v3", "v3"), ("TPU v4", "v4"), ("TPU v5 lite", "v5e"), ("TPU v5", "v5p"), ("TPU v6 lite", "v6e"),
        ("NVIDIA H100 80GB HBM3", "h100"), ("NVIDIA H200", "h200"), ("NVIDIA A100-SXM4-40GB", "a100"),
        ("NVIDIA A100-SXM4-80GB", "a100_80gb"), ("Tesla T4", "t4"), ("NVIDIA L4", "l4"), ("NVIDIA L40S", "l40s"),
    ],
)  # fmt: skip
def test_devices_are_known_by_the_names_that_jax_gives_them(kind, name):
    assert chip_of(kind) is CHIPS[name]


def test_help_lists_the_config_and_a_command_without_one_is_refused(capsys):
    with pytest.raises(SystemExit):
        preflight.main(["--help"])
    out = capsys.readouterr().out
    assert "--config FILE" in out and "--config.FIELD=VALUE" in out
    with pytest.raises(SystemExit):
        preflight.main(["--topology", "h100:1"])
    assert "required: --config" in capsys.readouterr().err


def test_a_cpu_has_no_peak():
    assert chip_of(jax.devices()[0].device_kind) is None


def run_preflight(*flags: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "experiments.preflight", *flags], cwd=tiny.ROOT, capture_output=True, text=True,
        env=os.environ | {"COLUMNS": "200"}, timeout=1800,
    )  # fmt: skip


@pytest.mark.slow
def test_the_command_divides_a_run_among_gpus():
    process = run_preflight("--config=tests/tiny.py:gpt", "--topology", "h100:8", "a100:1", "--config.mesh.fsdp=-1",
                            "--config.mesh.data=1", "--config.model.width=64")  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    out = process.stdout
    rows = {name: cells for name, *cells in (re.split(r" {2,}", line.strip()) for line in out.splitlines())}
    on_eight, on_one = rows["FLOPs of a step"]
    assert on_eight == on_one and "all-gather" in out
    assert out.splitlines()[-1].startswith("next     python train.py --config=tests/tiny.py:gpt --config.mesh.fsdp=-1 ")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """A folder with a sample of each kind of data of a user's own."""
    folder = tmp_path_factory.mktemp("samples")
    for kind in sample.SAMPLES:
        sample.main([kind, f"--out={folder / kind}"])
    return folder


@NEEDS_LIBTPU
@pytest.mark.slow
@pytest.mark.parametrize("mesh", MESHES, ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_compiles_for_every_mesh_of_four_tpus(name, mesh, samples):
    flags = [f"--config.mesh.{axis}={size}" for axis, size in mesh.items()]
    if name.startswith("multi30k"):
        path = samples / "parallel_text"
        flags += [f"--config.data.path={path}", f"--config.data.tokenizer={path}/tokenizer.json"]
        flags += ["--config.data.evaluation=validation"]
    elif name.startswith("own_"):
        path = samples / name.removeprefix("own_")
        flags += [f"--config.data.path={path / 'text.txt' if name == 'own_text' else path}"]
        flags += [f"--config.data.tokenizer={path}/tokenizer.json"] * (name == "own_parallel_text")
    process = run_preflight(f"--config=configs/{name}.py", "--topology", "v5e:2x2", *flags)
    if process.returncode and re.search("is not on disk|is no file|holds no file", process.stderr):
        assert name in ON_FILES, process.stderr
        pytest.skip(f"{name} needs files that are not here")
    if process.returncode and "batch_size = 1 must be divisible" in process.stderr:
        assert name in ("gat_cora", "gcn_cora") and mesh != {"tensor": 2}
        pytest.skip(f"{name} has one graph, which cannot be divided")
    assert process.returncode == 0, process.stdout + process.stderr
    assert re.search(r"^ *fits +yes", process.stdout, re.MULTILINE), process.stdout
