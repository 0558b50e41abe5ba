"""Meshes, and how arrays are split. tests/train/test_devices.py trains on eight devices."""

import jax
from jax.sharding import AbstractMesh
import numpy as np
import optax
import pytest

from models.gpt import GPT
from training.mesh import local_rows, make_mesh, put, state_shardings
from training.state import TrainState, initialise

MESH = AbstractMesh((2, 3, 5), ("data", "fsdp", "tensor"))


def pieces(scan: bool, optimizer=None) -> TrainState:
    """The shape of one device's piece of every array of a state."""
    make = lambda rngs: GPT(
        vocab_size=10, context=7, width=30, depth=2, heads=2, tied=False, scan=scan, rngs=rngs
    )  # fmt: skip
    _, create = initialise(make, optimizer or optax.adam(0.1), average=True)
    state = jax.eval_shape(create, jax.random.key(0))
    return jax.tree.map(lambda x, s: s.shard_shape(x.shape), state, state_shardings(MESH, state))


@pytest.mark.parametrize(
    "path, piece",
    [
        ("mlp.up.kernel", (10, 24)),  # (30, 120): rows in 3, columns in 5
        ("mlp.up.bias", (24,)),
        ("mlp.down.kernel", (24, 10)),  # (120, 30): rows in 5, columns in 3
        ("mlp.down.bias", (30,)),
        ("attention.query.kernel", (10, 6)),
        ("attention.out.kernel", (6, 10)),
        ("attention_norm.scale", (30,)),
    ],
)
def test_a_block(path, piece):
    unrolled, scanned = pieces(False), pieces(True)
    assert unrolled.parameters[f"blocks.blocks.1.{path}"] == piece
    assert scanned.parameters[f"blocks.blocks.{path}"] == (2, *piece)
    assert scanned.average == scanned.parameters
    assert scanned.optimizer[0].mu == scanned.optimizer[0].nu == scanned.parameters


def test_outside_blocks():
    shapes = pieces(False).parameters
    assert shapes["embedding.embedding"] == (2, 10)  # (10, 30): words in 5, columns in 3
    assert shapes["head.kernel"] == (10, 2)  # (30, 10)


def test_an_axis_that_the_mesh_does_not_divide_is_not_split():
    state = {
        "blocks.mlp.up.kernel": jax.ShapeDtypeStruct((7, 10), "float32"),
        "step": jax.ShapeDtypeStruct((), "int32"),
    }
    shardings = state_shardings(MESH, state)
    assert shardings["blocks.mlp.up.kernel"].shard_shape((7, 10)) == (7, 2)
    assert shardings["step"].shard_shape(()) == ()


def test_factored_moments():
    """They have fewer axes than their parameters, and are not split by rules for matrices."""
    state = pieces(True, optax.adafactor(0.1, min_dim_size_to_factor=2))
    assert jax.tree.leaves(state.optimizer)


def test_mesh_of_all_devices():
    count = jax.device_count()
    assert dict(make_mesh().shape) == {"data": count, "fsdp": 1, "tensor": 1}
    assert dict(make_mesh(data=1, fsdp=-1).shape) == {"data": 1, "fsdp": count, "tensor": 1}


@pytest.mark.parametrize(
    "sizes, words",
    [
        ({"data": jax.device_count() + 1}, "product must be the number of devices"),
        ({"tensor": jax.device_count() + 1}, "product must be the number of devices"),
        ({"data": -1, "fsdp": -1}, "at most one -1"),
    ],
)
def test_bad_mesh(sizes, words):
    with pytest.raises(ValueError, match=words):
        make_mesh(**sizes)


def test_batch_against_mesh():
    with pytest.raises(ValueError, match="batch_size = 8 must be divisible by mesh.data x mesh.fsdp = 6"):
        local_rows(MESH, 8)


def test_one_process_has_all_rows():
    mesh, size = make_mesh(), 3 * jax.device_count()
    assert local_rows(mesh, size) == slice(0, size)
    batch = {"inputs": {"x": np.arange(2 * size).reshape(size, 2)}, "weights": np.ones(size)}
    placed = put(mesh, batch, size)
    np.testing.assert_array_equal(placed["inputs"]["x"], batch["inputs"]["x"])
    assert isinstance(placed["weights"], jax.Array)
