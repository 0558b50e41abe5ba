"""Checkpoints are restored to the bit, whatever breaks."""

import errno
from functools import partial
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from core.errors import UserError
from training import checkpoints as checkpoints_file
from training.checkpoints import CheckpointFailed, Checkpoints, NonFiniteState
from training.fingerprints import digest

ROOT = Path(__file__).parents[2]


def state(seed: int = 0):
    """Every kind of leaf that a run may hold."""
    a, b, dropout = jax.random.split(jax.random.key(seed), 3)
    parameters = {
        "layer.kernel": jax.random.normal(a, (7, 11)),
        "layer.bias": jax.random.normal(b, (11,), jnp.bfloat16),
    }
    return {
        "parameters": parameters,
        "optimizer": optax.adamw(0.1).init(parameters),
        "average": None,
        "mask": jnp.array([True, False, True]),
        "bytes": jnp.arange(5, dtype=jnp.uint8) + seed,
        "step": jnp.int32(seed),
        "empty": jnp.zeros((0, 3)),
        "key": dropout,
        "keys": jax.random.split(jax.random.key(seed, impl="rbg"), 3),
    }


def shapes(tree):
    """Without any sharding."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def save(directory, seeds, **options):
    """One checkpoint for each seed, at that step."""
    checkpoints = Checkpoints(directory, **options)
    for seed in seeds:
        checkpoints.save(seed, state(seed), {"seed": seed})
    checkpoints.close()


def restored(checkpoints, state_like):
    """What is restored, which must not be None."""
    result = checkpoints.restore(state_like)
    assert result is not None
    return result


def about(checkpoints) -> dict:
    """What the newest checkpoint says about itself, which must not be None."""
    result = checkpoints.about()
    assert result is not None
    return result


def files_of(directory, step):
    return sorted(path for path in (directory / str(step)).rglob("*") if path.is_file())


def test_round_trip_to_the_bit(tmp_path):
    save(tmp_path, [3])
    for state_like in (state(5), shapes(state(5))):
        checkpoints = Checkpoints(tmp_path)
        assert checkpoints.about() == {"seed": 3}
        step, tree, about = restored(checkpoints, state_like)
        assert (step, about) == (3, {"seed": 3})
        assert jax.tree.structure(tree) == jax.tree.structure(state(3))
        for path, leaf in jax.tree.leaves_with_path(state(3)):
            array = dict(jax.tree.leaves_with_path(tree))[path]
            assert array.dtype == leaf.dtype and array.sharding == leaf.sharding
        assert digest(tree) == digest(state(3)) != digest(state(5))
        np.testing.assert_array_equal(jax.random.normal(tree["key"]), jax.random.normal(state(3)["key"]))
        checkpoints.close()


def test_no_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path / "new")
    assert checkpoints.about() is None and checkpoints.restore(state()) is None and checkpoints.steps() == []
    checkpoints.close()


def test_about_keeps_numbers_that_are_not_finite(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, {"w": jnp.ones(2)}, {"best": -float("inf"), "loss": float("nan")})
    checkpoints.wait()
    assert about(checkpoints)["best"] == -float("inf") and np.isnan(about(checkpoints)["loss"])
    checkpoints.close()


def test_the_state_may_be_donated_as_soon_as_save_returns(tmp_path):
    spoil = jax.jit(lambda tree: jax.tree.map(lambda x: x * 0 - 7, tree), donate_argnums=0)
    checkpoints = Checkpoints(tmp_path, keep=9)
    like = {f"w{i}": jnp.zeros((500, 101)) for i in range(5)}
    spoil(jax.tree.map(jnp.copy, like))  # compiled now, so that below it runs while the arrays are still written
    for step in range(3, 6):
        tree = {name: jnp.full(x.shape, 1.0 * step) for name, x in like.items()}
        expected = digest(tree)
        checkpoints.save(step, tree, {})
        tree = spoil(tree)
        checkpoints.wait()
        assert digest(restored(checkpoints, like)[1]) == expected
    checkpoints.close()


@pytest.mark.parametrize(
    "better, metrics, kept",
    [
        ("max", [0.5, 0.9, 0.1, 0.2, 0.3], [2, 4, 5]),
        ("min", [0.5, 0.9, 0.1, 0.2, 0.3], [3, 4, 5]),
        ("max", [None, float("nan"), 0.1, None, None], [3, 4, 5]),
        ("max", [None] * 5, [4, 5]),
    ],
)
def test_keeps_the_last_and_the_best_also_after_a_restart(tmp_path, better, metrics, kept):
    for start in (0, 3):
        checkpoints = Checkpoints(tmp_path, keep=2, better=better)
        for step in range(start, min(start + 3, 5)):
            checkpoints.save(step + 1, {"w": jnp.float32(step)}, {}, metrics[step])
        checkpoints.close()
    assert Checkpoints(tmp_path).steps() == kept == sorted(int(path.name) for path in tmp_path.iterdir())


def test_a_saved_step_is_left_and_an_earlier_one_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(5, {"w": jnp.float32(2)}, {"first": True})
    checkpoints.save(5, {"w": jnp.float32(3)}, {"first": False})
    with pytest.raises(ValueError, match="step 3 comes before checkpoint 5"):
        checkpoints.save(3, {"w": jnp.float32(3)}, {})
    checkpoints.close()
    assert Checkpoints(tmp_path).about() == {"first": True}


def test_mismatches_are_named_all_at_once(tmp_path):
    save(tmp_path, [3])
    other = state()
    other["parameters"]["layer.kernel"] = jnp.zeros((7, 13))
    other["mask"] = jnp.zeros(3)
    other["keys"] = jax.random.split(jax.random.key(0), 3)
    other["new"] = other.pop("step")
    with pytest.raises(UserError) as error:
        Checkpoints(tmp_path).restore(other)
    assert str(error.value).splitlines()[1:] == [
        "  keys: key<rbg>[3] in the checkpoint, key<fry>[3] in the state",
        "  mask: bool[3] in the checkpoint, float32[3] in the state",
        "  new: not in the checkpoint, int32[] in the state",
        "  parameters/layer.kernel: float32[7,11] in the checkpoint, float32[7,13] in the state",
        "  step: int32[] in the checkpoint, not in the state",
    ]
    assert (tmp_path / "3").is_dir()


def test_another_layout_is_named(tmp_path, monkeypatch):
    save(tmp_path, [3])
    monkeypatch.setattr(checkpoints_file, "LAYOUT", 17)
    for read in (Checkpoints.about, lambda checkpoints: checkpoints.restore(state())):
        with pytest.raises(UserError, match="checkpoint 3 in .* has layout 2, this code reads layout 17"):
            read(Checkpoints(tmp_path))


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def nest(path):
    path.write_text('{"record":' * 200_000 + "1" + "}" * 200_000)


@pytest.mark.parametrize("break_it", [truncate, flip, nest, Path.unlink])
@pytest.mark.parametrize("part", ["state/manifest.ocdbt", "state/**/d/*", "about/about.json"])
def test_damage_is_named_and_the_one_before_used(tmp_path, part, break_it):
    save(tmp_path, [3, 5])
    for path in list((tmp_path / "5").glob(part)):
        break_it(path)
    warnings = []
    checkpoints = Checkpoints(tmp_path, say=warnings.append)
    step, tree, about = restored(checkpoints, state())
    assert (step, about, digest(tree)) == (3, {"seed": 3}, digest(state(3)))
    assert len(warnings) == 1 and warnings[0].startswith(f"warning: checkpoint 5 in {tmp_path} is damaged (")
    assert checkpoints.steps() == [3] and (tmp_path / "damaged-5").is_dir()
    checkpoints.save(5, state(5), {"seed": 5})
    checkpoints.close()
    assert digest(restored(Checkpoints(tmp_path), state())[1]) == digest(state(5))


def test_a_flip_that_the_file_format_does_not_notice_is_found(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, {"w": jax.random.normal(jax.random.key(0), (101, 103)), "b": jnp.ones(5)}, {})
    checkpoints.wait()
    for path in tmp_path.glob("3/state/**/d/*"):
        if path.stat().st_size > 30_000:
            flip(path)
    with pytest.raises(UserError, match="3: not what was saved: w$"):
        checkpoints.restore({"w": jnp.zeros((101, 103)), "b": jnp.ones(5)})


def test_no_flipped_byte_gives_another_state(tmp_path):
    save(tmp_path, [3])
    checkpoints = Checkpoints(tmp_path, say=lambda _: None)
    expected = digest(state(3))
    outcomes = set()
    for path in files_of(tmp_path, 3):
        content = path.read_bytes()
        if not content:
            continue
        flip(path)
        try:
            outcomes.add(digest(restored(checkpoints, state())[1]) == expected)
        except UserError:
            outcomes.add("damaged")
        path.write_bytes(content)
    assert outcomes == {True, "damaged"}  # some files only repeat for Orbax what others contain


def test_all_damaged_is_one_clear_error(tmp_path):
    save(tmp_path, [3, 5])
    for step in (3, 5):
        truncate(tmp_path / str(step) / "about" / "about.json")
    checkpoints = Checkpoints(tmp_path, say=lambda _: None)
    for read in (checkpoints.about, partial(checkpoints.restore, state())):
        with pytest.raises(
            UserError, match=r"every checkpoint in .* is damaged(.|\n)*\n  5: about.json(.|\n)*\n  3: about.json"
        ):
            read()
    assert checkpoints.steps() == [3, 5]  # nothing was moved


def test_a_state_that_is_not_finite_is_not_saved(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, state(3), {})
    for bad in (jnp.nan, jnp.inf):
        spoilt = state(5)
        spoilt["parameters"]["layer.bias"] = spoilt["parameters"]["layer.bias"].at[7].set(bad)
        with pytest.raises(NonFiniteState, match="NaN or infinity in parameters/layer.bias. .* step 3") as error:
            checkpoints.save(5, spoilt, {})
        assert (error.value.step, error.value.newest) == (5, 3)
    checkpoints.close()
    assert checkpoints.steps() == [3]


@pytest.fixture
def small_disk(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_full_disk_loses_no_earlier_checkpoint(small_disk):
    checkpoints = Checkpoints(small_disk / "c", keep=1)
    for step in (3, 5):
        checkpoints.save(step, {"w": jax.random.normal(jax.random.key(step), (100_003,))}, {"step": step})
    checkpoints.wait()
    large = {"w": jax.random.normal(jax.random.key(0), (1_000_003,))}
    for finish in (checkpoints.wait, checkpoints.close):
        checkpoints.save(7, large, {})
        with pytest.raises(CheckpointFailed, match="step 7.*No space left on device.*newest good checkpoint is step 5"):
            finish()
        assert checkpoints.steps() == [5]
    checkpoints = Checkpoints(small_disk / "c", keep=1)
    step, tree, _ = restored(checkpoints, {"w": jnp.zeros(100_003)})
    assert step == 5 and digest(tree) == digest({"w": jax.random.normal(jax.random.key(5), (100_003,))})
    checkpoints.save(9, {"w": jnp.zeros(3)}, {})  # what the failed save left is gone
    checkpoints.close()
    assert os.listdir(small_disk / "c") == ["9"]


def test_a_failed_save_shows_at_the_next_one(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, {"w": jnp.ones(3)}, {})
    checkpoints.wait()

    async def fail(*_):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(checkpoints_file.ocp.JsonCheckpointHandler, "_save_fn", fail)
    checkpoints.save(5, {"w": jnp.ones(3)}, {})
    with pytest.raises(CheckpointFailed, match="Permission denied") as error:
        checkpoints.save(7, {"w": jnp.ones(3)}, {})
    assert (error.value.step, error.value.newest) == (5, 3)


ENDLESS = """
import sys
import jax
jax.config.update("jax_disable_most_optimizations", True)  # as in conftest.py, for the same random numbers
from tests.training.test_checkpoints import state
from training.checkpoints import Checkpoints
checkpoints = Checkpoints(sys.argv[1])
step = checkpoints.steps()[-1] if checkpoints.steps() else 0
while True:
  step += 1
  checkpoints.save(step, state(step), {"seed": step})
  print(step, flush=True)
"""


def test_kill_at_any_moment_leaves_a_good_checkpoint(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    moments = random.Random(0)
    for _ in range(2):
        child = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, tmp_path], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        started = [int(child.stdout.readline()) for _ in range(3)]
        time.sleep(moments.uniform(0, 0.2))
        child.send_signal(signal.SIGKILL)
        output, _ = child.communicate()
        started += [int(line) for line in output.split()]
        checkpoints = Checkpoints(tmp_path)
        step, tree, about = restored(checkpoints, state())
        assert started[-1] - 1 <= step <= started[-1] + 1  # only what was being written may be missing
        assert about == {"seed": step} and digest(tree) == digest(state(step))
        checkpoints.close()


SHARDED = """
import os, sys
sys.stdout = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # Gloo writes to the standard output from several threads; it must not break up our lines

import jax, jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from training.checkpoints import Checkpoints
from training.fingerprints import digest

address, processes, process, *tasks = sys.argv[1:]
if processes == "2":
  jax.config.update("jax_cpu_collectives_implementation", "gloo")
  jax.distributed.initialize(address, 2, int(process))
mesh = jax.make_mesh((2, jax.device_count() // 2), ("data", "tensor"), axis_types=(AxisType.Auto,) * 2)

def make(seed):
  def create():
    key = jax.random.key(seed)
    return {"w": jax.random.normal(key, (80, 120)), "b": jax.random.normal(key, (5,)), "key": key}
  specs = {"w": P("tensor", "data") if seed == 3 else P("data"), "b": P(), "key": P()}
  return jax.jit(create, out_shardings={name: NamedSharding(mesh, spec) for name, spec in specs.items()})()

for task in tasks:
  action, directory = task.split(":")
  checkpoints = Checkpoints(directory)
  if action == "save":
    checkpoints.save(2, make(2), {})
    checkpoints.save(3, make(3), {})
    print("saved", digest(make(3)))
  else:
    like = make(0)
    step, state, _ = checkpoints.restore(like)
    assert all(state[name].sharding == like[name].sharding for name in like)
    print("restored", step, digest(state))
  checkpoints.close()
"""


def run_sharded(processes, devices, *tasks):
    """The lines that each of some processes prints. Each process has `devices` devices."""
    address = f"localhost:{random.randrange(20000, 60000)}"
    flags = {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    flags["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", SHARDED, address, str(processes), str(process), *tasks],
            env=os.environ | flags,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(processes)
    ]
    outputs = [child.communicate(timeout=300) for child in children]
    assert all(child.returncode == 0 for child in children), outputs
    return [output.splitlines() for output, _ in outputs]


@pytest.mark.medium
def test_any_number_of_processes_and_devices_reads_any_other(tmp_path):
    by_two, by_one = tmp_path / "two", tmp_path / "one"
    [saved], same = run_sharded(2, 2, f"save:{by_two}")
    same_restored = saved.replace("saved", "restored 3")
    assert same == [saved]
    assert run_sharded(1, 8, f"restore:{by_two}", f"save:{by_one}") == [[same_restored, saved]]

    for path in list(by_two.glob("3/state/ocdbt.process_1/d/*")):
        path.unlink()
    for other_way, warning, earlier in run_sharded(2, 1, f"restore:{by_one}", f"restore:{by_two}"):
        assert other_way == same_restored
        assert warning.startswith(f"warning: checkpoint 3 in {by_two} is damaged (")
        assert earlier.startswith("restored 2 ")


def test_reading_changes_nothing(tmp_path):
    save(tmp_path, [3, 5])
    (tmp_path / "7.orbax-checkpoint-tmp").mkdir()  # a save of a run that goes on
    next(f for f in files_of(tmp_path, 5) if "about" in str(f)).write_text("damaged")
    before = sorted(tmp_path.rglob("*"))
    reader = Checkpoints(tmp_path, read_only=True, say=lambda _: None)
    assert restored(reader, state(0))[0] == 3
    reader.close()
    assert sorted(tmp_path.rglob("*")) == before
    assert Checkpoints(tmp_path / "absent", read_only=True).steps() == []
    assert not (tmp_path / "absent").exists()
