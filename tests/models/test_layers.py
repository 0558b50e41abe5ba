"""Norms, MLP, dropout and positions, against their formulas."""

import math
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers import MLP, Dropout, Embedding, gelu, linear, normalisation, read_out
from models.positions import RelativePositions, distance_buckets, interpolate, rotate, sinusoids

X = jnp.asarray(np.random.default_rng(0).normal(size=(3, 7, 10)), jnp.float32)


def test_norms_by_hand():
    settings: dict[str, Any] = dict(epsilon=0.1, bias=True, dtype="float32", rngs=nnx.Rngs(0))
    layer = (X - X.mean(-1, keepdims=True)) / np.sqrt(X.var(-1, keepdims=True) + 0.1)
    np.testing.assert_allclose(normalisation("layer", 10, **settings)(X), layer, atol=1e-5)
    rms = X / np.sqrt((X**2).mean(-1, keepdims=True) + 0.1)
    np.testing.assert_allclose(normalisation("rms", 10, **settings)(X), rms, atol=1e-5)


def test_swiglu_by_hand():
    mlp = MLP(width=10, mlp_width=13, activation="swiglu", bias=False, rngs=nnx.Rngs(0))
    up, gate, down = (getattr(mlp, name).kernel[...] for name in ("linear", "up", "down"))
    by_hand = (X @ up * (X @ gate / (1 + np.exp(-X @ gate)))) @ down
    np.testing.assert_allclose(mlp(X), by_hand, atol=1e-5)


def test_geglu_by_hand():
    mlp = MLP(width=10, mlp_width=13, activation="geglu", bias=False, rngs=nnx.Rngs(0))
    up, gate, down = (getattr(mlp, name).kernel[...] for name in ("linear", "up", "down"))
    z = X @ gate
    gelu = z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))) / 2
    np.testing.assert_allclose(mlp(X), (X @ up * gelu) @ down, atol=1e-5)


def test_gelu_and_its_slope_by_hand():
    x = np.linspace(-9, 9, 181)
    phi = np.array([(1 + math.erf(value / math.sqrt(2))) / 2 for value in x])
    np.testing.assert_allclose(gelu(jnp.float32(x)), x * phi, atol=1e-6)
    slope = phi + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    np.testing.assert_allclose(jax.vmap(jax.grad(gelu))(jnp.float32(x)), slope, atol=1e-6)


@pytest.mark.parametrize("make", [linear, read_out])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (2, 3, 7, 5)])
def test_a_linear_map_takes_any_leading_axes(make, shape):
    layer = make(5, 11, rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.arange(11.0)
    x = np.random.default_rng(0).normal(size=shape)
    out = np.matmul(x, np.asarray(layer.kernel[...])) + np.arange(11)
    assert layer(jnp.float32(x)).shape == (*shape[:-1], 11)
    np.testing.assert_allclose(layer(jnp.float32(x)), out, atol=1e-5)


def test_buckets_of_distances_by_hand():
    # 16 buckets for each side: 8 for the distances below 8, and 8 that grow by 2^(1/2): 8, 11.3, 16, 22.6, 32, ...
    distance = np.array([0, -1, -7, -8, -11, -12, -16, -31, -32, -64, -90, -91, -500, 1, 7, 12, 32, 200])
    expected = [0, 1, 7, 8, 8, 9, 10, 11, 12, 14, 14, 15, 15, 17, 23, 25, 28, 31]
    assert distance_buckets(distance, 32, 128, causal=False).tolist() == expected
    # Causal: 16 of the 32 buckets are for the distances below 16, and 16 grow by 8^(1/16).
    distance = np.array([-15, -16, -32, -64, -127, -128, 0, 5])
    assert distance_buckets(distance, 32, 128, causal=True).tolist() == [15, 16, 21, 26, 31, 31, 0, 0]


def test_biases_are_those_of_the_buckets():
    relative = RelativePositions(3, 6, 5, causal=False, rngs=nnx.Rngs(0))
    relative.table[...] = 100.0 * jnp.arange(3) + jnp.arange(6)[:, None]
    bias = relative(2 + jnp.arange(2), 5)
    assert bias.shape == (1, 3, 2, 5)
    # 3 buckets a side: the same place, the next ones, and those from 1 on in proportion: 1, 2.2, ...
    np.testing.assert_array_equal(bias[0, 2], 200 + np.array([[1, 1, 0, 4, 4], [2, 1, 1, 0, 4]]))


def test_too_few_buckets_are_refused():
    with pytest.raises(ValueError, match="relative_buckets=3, relative_farthest=9: expected at least 4 buckets"):
        RelativePositions(2, 3, 9, causal=False, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="and a distance above 4"):
        RelativePositions(2, 8, 4, causal=True, rngs=nnx.Rngs(0))


def test_dropout_keeps_the_mean_and_the_share():
    x = jnp.ones((1000, 100))
    dropped = Dropout(0.3)(x, jax.random.key(0))
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / 0.7], rtol=1e-6)
    assert (dropped == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert dropped.mean() == pytest.approx(1, abs=0.01)


def test_a_traced_dropout_rate_drops_the_same():
    def drop(rate):
        dropout = Dropout(0.0)
        dropout.rate = nnx.data(rate)
        return dropout(X, jax.random.key(0))

    np.testing.assert_allclose(jax.jit(drop)(0.3), Dropout(0.3)(X, jax.random.key(0)), rtol=1e-6)


def test_embedding_looks_up_and_scores():
    table = Embedding(23, 10, rngs=nnx.Rngs(0))
    rows = table.embedding[...]
    np.testing.assert_array_equal(table(jnp.array([[3, 22]])), rows[jnp.array([[3, 22]])])
    np.testing.assert_allclose(table.attend(X)[1, 2, 5], X[1, 2] @ rows[5], rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_of_logits_are_rounded_only_where_the_products_are(dtype):
    table = Embedding(7, 5, dtype=dtype, rngs=nnx.Rngs(0))
    x, gradient = jax.random.normal(jax.random.key(0), (3, 5)), jax.random.normal(jax.random.key(1), (3, 7))
    logits, backward = jax.vjp(table.attend, x)
    assert logits.dtype == jnp.float32
    kernel = table.embedding[...].astype(dtype).astype(jnp.float32)
    np.testing.assert_allclose(logits, x.astype(dtype).astype(jnp.float32) @ kernel.T, rtol=1e-6, atol=1e-7)
    expected = (gradient.astype(dtype).astype(jnp.float32) @ kernel).astype(dtype)
    tolerance = {"float32": 1e-6, "bfloat16": 1e-2}[dtype]
    np.testing.assert_allclose(backward(gradient)[0], expected.astype(jnp.float32), rtol=tolerance)
    jaxpr = str(jax.make_jaxpr(backward)(gradient))
    assert ("bf16[3,7]" in jaxpr) == (dtype == "bfloat16")  # what is multiplied


def test_sinusoids_turn_with_the_offset():
    table = sinusoids((50,), 16).astype(np.float64)
    products = table @ table.T
    for offset in (0, 1, 7):
        np.testing.assert_allclose(np.diagonal(products, offset), products[0, offset], atol=1e-5)
    np.testing.assert_allclose(np.diagonal(products), 16 / 2, atol=1e-5)


def test_sinusoids_on_a_grid_give_each_axis_its_columns():
    table = sinusoids((3, 5), 8).reshape(3, 5, 8)
    assert (table[:, :1, :4] == table[:, :, :4]).all() and (table[:1, :, 4:] == table[:, :, 4:]).all()
    np.testing.assert_allclose(
        table[2, 4], np.concatenate([f(p * np.array([1, 0.01])) for p in (2, 4) for f in (np.sin, np.cos)]), rtol=1e-5
    )


def test_rotation_keeps_lengths_and_turns_by_the_position():
    x = X[:, :, None, :]
    turned = rotate(x, jnp.arange(7))
    np.testing.assert_allclose(jnp.linalg.norm(turned, axis=-1), jnp.linalg.norm(x, axis=-1), rtol=1e-5)
    np.testing.assert_array_equal(turned[:, 0], x[:, 0])
    first = x[0, 3, 0, 0] * np.cos(3) - x[0, 3, 0, 5] * np.sin(3)
    np.testing.assert_allclose(turned[0, 3, 0, 0], first, rtol=1e-4)


def test_interpolation_of_positions_by_hand():
    table = jnp.array([[0.0], [2.0], [10.0], [12.0]])  # a grid of 2 x 2
    np.testing.assert_array_equal(interpolate(table, (2, 2), (2, 2)), table)
    # The centres of 4 new cells lie at -1/4, 1/4, 3/4, 5/4 between those of 2 old ones; outside them it is constant.
    np.testing.assert_allclose(interpolate(table, (2, 2), (1, 4))[:, 0], [5, 5.5, 6.5, 7], atol=1e-6)
    wider = interpolate(table, (2, 2), (2, 4))[:, 0]
    np.testing.assert_allclose(wider, [0, 0.5, 1.5, 2, 10, 10.5, 11.5, 12], atol=1e-6)


def test_interpolation_of_a_plane_is_the_plane():
    plane = lambda rows, columns: np.stack(
        [a.reshape(-1) for a in np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns)], -1
    )
    finer = np.asarray(interpolate(jnp.asarray(plane(5, 5)), (5, 5), (10, 10))).reshape(10, 10, 2)
    np.testing.assert_allclose(finer[1:-1, 1:-1], plane(10, 10).reshape(10, 10, 2)[1:-1, 1:-1], atol=1e-6)
