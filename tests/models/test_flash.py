"""The kernel for TPUs, interpreted on a CPU: equal to the stock function, also where it is divided over a mesh."""

from functools import partial
import os
import subprocess
import sys

from flax import nnx
import jax
from jax.experimental.pallas import tpu as pltpu
from jax.experimental.pallas.ops.tpu import flash_attention
import jax.numpy as jnp
import numpy as np
import pytest

from models.attention import Attention
from models.flash import fits, flash
from models.fused import _stock
from tests import tiny
from training.mesh import batch_sharding, in_context, make_mesh

B, H, K = 2, 3, 64


def inputs(T: int, S: int):
    shapes = [(B, T, H, K), (B, S, H, K), (B, S, H, K), (B, T, H, K)]
    return [jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal, T, S", [(True, 256, 256), (False, 128, 256)])
def test_values_and_gradients_are_those_of_the_stock_function(causal, T, S, masked):
    """One example has padding behind 197 keys, and one nothing but padding."""
    *qkv, weights = inputs(T, S)
    mask = None
    if masked:
        mask = (jnp.arange(S) < jnp.array([[197], [0]]))[:, None, None]
    ours, stock = partial(flash, mask=mask, causal=causal), partial(_stock, mask=mask, bias=None, causal=causal)
    gradients = lambda function: jax.grad(lambda *qkv: (function(*qkv) * weights).sum(), (0, 1, 2))(*qkv)
    with pltpu.force_tpu_interpret_mode():
        out, slopes = ours(*qkv), gradients(ours)
    np.testing.assert_allclose(out, stock(*qkv), atol=2e-6)
    for slope, expected in zip(slopes, gradients(stock)):
        np.testing.assert_allclose(slope, expected, atol=5e-6)


@pytest.mark.medium
def test_a_mesh_divides_examples_and_heads():
    """A process of its own, as this one has one device."""
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "PYTHONPATH": str(tiny.ROOT)}
    process = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def plain(query_BHTK, key_BHSK, value_BHSK, *, segment_ids, causal, sm_scale):
    """What the kernel computes, on the part that one device has."""
    assert query_BHTK.shape == (1, 1, 128, K) and segment_ids.kv.shape == (1, 128)
    visible = (segment_ids.q[:, None, :, None] == segment_ids.kv[:, None, None]) & jnp.tri(128, dtype=bool)
    scores = jnp.where(visible, sm_scale * query_BHTK @ key_BHSK.swapaxes(2, 3), -1e30)
    return jax.nn.softmax(scores) @ value_BHSK


def on_eight_devices() -> None:
    mesh = make_mesh(data=2, fsdp=2, tensor=2)
    query, key, value = (jax.random.normal(jax.random.key(i), (4, 128, 2, K)) for i in range(3))
    mask = (jnp.arange(128) < jnp.array([[128], [101], [7], [0]]))[:, None, None]
    flash_attention.flash_attention = plain  # JAX cannot interpret a kernel on several devices
    arrays = jax.device_put((query, key, value, mask), batch_sharding(mesh))
    out = jax.jit(in_context(mesh, partial(flash, causal=True)))(*arrays)
    np.testing.assert_allclose(out, _stock(query, key, value, mask, None, causal=True), atol=2e-6)
    assert len({str(shard.index) for shard in out.addressable_shards}) == 8
    # Two axes of the mesh split the batch in four. A part of a batch that they do not divide is left to XLA.
    for examples in (4, 2):
        shaped = jax.ShapeDtypeStruct((examples, 128, 2, K), jnp.bfloat16)
        assert in_context(mesh, partial(fits, mask=None, causal=True))(shaped, shaped, shaped) is (examples == 4)


@pytest.mark.parametrize(
    "changed, expected",
    [
        ({}, True),
        ({"mesh": False}, False),
        ({"dtype": "float32"}, False),
        ({"T": 100}, False),
        ({"S": 256}, False),
        ({"S": 256, "causal": False}, True),
        ({"K": 32}, False),
        ({"mask": (B, 1, 1, 128)}, True),
        ({"mask": (1, 1, 128, 128)}, False),
    ],
    ids=str,
)
def test_which_shapes_it_is_for(changed, expected):
    case = {"mesh": True, "dtype": "bfloat16", "T": 128, "S": 128, "K": K, "causal": True, "mask": None} | changed
    shaped = lambda length: jax.ShapeDtypeStruct((B, length, H, case["K"]), case["dtype"])
    mask = None if case["mask"] is None else jnp.ones(case["mask"], bool)
    ask = lambda: fits(shaped(case["T"]), shaped(case["S"]), shaped(case["S"]), mask, causal=case["causal"])
    assert (in_context(make_mesh(jax.devices()[:1]), ask)() if case["mesh"] else ask()) is expected


@pytest.mark.parametrize("dtype, kernel", [("bfloat16", True), ("float32", False)])
def test_a_program_for_tpus_has_it_and_one_for_cpus_has_not(dtype, kernel):
    attention = Attention(width=128, heads=2, causal=True, dtype=dtype, rngs=nnx.Rngs(0))
    step = in_context(make_mesh(jax.devices()[:1]), lambda x: attention(x)[0])
    traced = jax.jit(step).trace(jax.ShapeDtypeStruct((B, 128, 128), dtype))
    assert ("tpu_custom_call" in traced.lower(lowering_platforms=("tpu",)).as_text()) is kernel
    assert "tpu_custom_call" not in traced.lower(lowering_platforms=("cpu",)).as_text()


if __name__ == "__main__":
    on_eight_devices()
