"""Sparse attention gives what dense attention gives with its mask, without arrays of all queries by all keys."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.attention import Attention
from models.layers import Dropout
from models.masks import sees
from models.scores import dot_product, mix, softargmax
from models.sparse_attention import block_size, sparse_attention
from tests.models.test_linear_attention import sizes_in_program, watch

B, H, K, V, D = 2, 3, 5, 7, 30
PATTERNS = [(37, None), (5, 7), (50, 13)]


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def dense(query, key, value, window, stride, causal, mask=None, start=0):
    """Every pair of a query and a key, with the mask written out as the definition says it."""
    T, S = query.shape[1], key.shape[1]
    allowed = np.zeros((T, S), bool)
    for t, s in np.ndindex(T, S):
        back = start + t - s
        allowed[t, s] = (abs(back) < window or (stride and back % stride == 0)) and not (causal and back < 0)
    allowed = allowed if mask is None else allowed & mask
    return mix(softargmax(dot_product(query, key), jnp.asarray(allowed)), value)


@pytest.mark.parametrize("window, stride", PATTERNS)
@pytest.mark.parametrize("causal", [False, True])
def test_it_equals_dense_attention_with_the_same_mask_and_gradients(window, stride, causal):
    T = 151
    query, key, value = draw(B, T, H, K), draw(B, T, H, K, seed=1), draw(B, T, H, V, seed=2)
    mask = np.random.default_rng(3).random((B, 1, 1, T)) < 0.7
    mask[1] = False  # a sequence without any key gives zeros
    probe = draw(B, T, H, V, seed=4)
    settings: dict[str, Any] = {"window": window, "stride": stride, "causal": causal, "mask": jnp.asarray(mask)}
    blocks = lambda *x: (sparse_attention(*x, **settings) * probe).sum()
    pairs = lambda q, k, v: (dense(q, k, v, window, stride, causal, mask) * probe).sum()
    ours, theirs = (jax.jit(jax.value_and_grad(f, (0, 1, 2)))(query, key, value) for f in (blocks, pairs))
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs)):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window, stride", PATTERNS[:2])
def test_queries_may_start_anywhere_among_the_keys(window, stride):
    T, S, start = 40, 151, 93
    query, key, value = draw(B, T, H, K), draw(B, S, H, K, seed=1), draw(B, S, H, V, seed=2)
    settings: dict[str, Any] = {"causal": True, "window": window, "stride": stride}
    call = jax.jit(lambda start: sparse_attention(query, key, value, **settings, start=start))
    np.testing.assert_allclose(call(start), dense(query, key, value, window, stride, True, start=start), atol=1e-5)


def test_a_query_sees_a_window_and_strides():
    line = lambda **fields: np.flatnonzero(sees(20 - jnp.arange(25), **fields)).tolist()
    assert line(causal=True, window=3) == [18, 19, 20]
    assert line(causal=False, window=3) == [18, 19, 20, 21, 22]
    assert line(causal=True, window=2, stride=6) == [2, 8, 14, 19, 20]
    assert line(causal=False, window=1, stride=4) == [0, 4, 8, 12, 16, 20, 24]


@pytest.mark.parametrize("stride", [None, 32])
@pytest.mark.parametrize("causal", [False, True])
def test_no_array_grows_with_the_square_of_the_length(causal, stride):
    drop = lambda weights, key: Dropout(0.1)(weights, key)
    attention = lambda *x: sparse_attention(
        *x, causal=causal, window=32, stride=stride, drop=drop, key=jax.random.key(0)
    ).sum()  # fmt: skip
    shape = lambda T: [jax.ShapeDtypeStruct((1, T, 2, 16), jnp.float32)] * 3
    size = {T: sizes_in_program(jax.grad(attention, (0, 1, 2)), *shape(T)) for T in (2048, 8192)}
    assert size[8192] <= 4.1 * size[2048]


@pytest.mark.parametrize("stride", [None, 7])
def test_dropout_drops_weights(stride):
    T = 100
    query, key, value = draw(B, T, H, K), draw(B, T, H, K, seed=1), jnp.ones((B, T, H, V))
    settings: dict[str, Any] = {"causal": True, "window": 20, "stride": stride}
    call = jax.jit(lambda rate, key_: sparse_attention(query, key, value, **settings, drop=Dropout(rate), key=key_))
    first, second = jax.random.key(0), jax.random.key(1)
    out = call(0.5, first)
    np.testing.assert_allclose(call(0.0, first), 1, rtol=1e-5)
    np.testing.assert_array_equal(out, call(0.5, first))
    assert (out != call(0.5, second)).any() and 0.9 < out.mean() < 1.1
    assert len(np.unique(np.round(out[0, :, 0, 0], 4))) > 60  # blocks do not drop alike


@pytest.mark.medium
@pytest.mark.parametrize(
    "fields, T",
    [({"window": 4}, 13), ({"window": 4}, 80), ({"window": 1}, 80),
     ({"window": 4, "stride": 5}, 80), ({"stride": 6}, 13)],
    ids=str,
)
def test_the_module_equals_a_mask_and_decodes_with_its_cache(fields, T):
    module: Any = Attention(width=D, heads=5, kv_heads=1, rotary=True, causal=True, rngs=nnx.Rngs(0), **fields)
    ordinary: Any = Attention(width=D, heads=5, kv_heads=1, rotary=True, causal=True, rngs=nnx.Rngs(0))
    x = draw(B, T, D)
    back = np.arange(T)[:, None] - np.arange(T)
    window, stride = fields.get("window", fields.get("stride")), fields.get("stride", 1000)
    expected, _ = jax.jit(ordinary)(x, mask=(back < window) | (back % stride == 0))
    np.testing.assert_allclose(jax.jit(module)(x)[0], expected, atol=1e-5)
    watched, weights = watch(module, x)
    np.testing.assert_allclose(watched, expected, atol=1e-5)
    np.testing.assert_array_equal(weights[0, 0] > 0, ((back < window) | (back % stride == 0)) & (back >= 0))
    cache, outs = module.new_cache(B, T), []
    assert cache["key"].shape[1] == (T if "stride" in fields else window - 1)
    decode = jax.jit(lambda x, cache, start: module(x, cache=cache, start=start))
    for start, stop in ((0, 1), (1, T - 1), (T - 1, T)):
        out, cache = decode(x[:, start:stop], cache, start)
        outs.append(out)
    np.testing.assert_allclose(jnp.concatenate(outs, axis=1), expected, atol=1e-5)


def test_a_mask_by_query_hides_other_segments():
    T = 80
    segment = np.arange(T) // 6
    same = segment[:, None] == segment
    module, x = Attention(width=D, heads=5, window=4, causal=True, rngs=nnx.Rngs(0)), draw(1, T, D)
    gradient = jax.jit(jax.grad(lambda x: module(x, mask=same)[0][0, 7].sum()))(x)
    assert (jnp.abs(gradient).max(axis=(0, 2)) > 0).nonzero()[0].tolist() == [6, 7]


def test_a_window_that_holds_everything_is_ordinary_attention():
    x = draw(B, 100, D)
    make = lambda **fields: jax.jit(Attention(width=D, heads=5, rngs=nnx.Rngs(0), **fields))(x)[0]
    np.testing.assert_allclose(make(window=100), make(), atol=1e-5)
    np.testing.assert_allclose(make(causal=True, window=30, stride=1), make(causal=True), atol=1e-5)


def test_a_block_holds_a_window_and_whole_strides():
    assert block_size(5, None) == 32 and block_size(100, None) == 99
    assert block_size(5, 7) == 35 and block_size(100, 128) == 128


@pytest.mark.parametrize(
    "inputs, words",
    [
        ({"source_BSD": draw(1, 6, 30)}, "a window is for self-attention"),
        ({"bias": jnp.zeros((1, 5, 6, 6))}, "a bias is for all scores"),
        ({"mask": jnp.ones((1, 6), bool), "cache": {"key": jnp.zeros((1, 3, 5, 6)), "value": jnp.zeros((1, 3, 5, 6))}},
         "takes no mask"),
    ],
)  # fmt: skip
def test_what_a_window_cannot_do_is_refused(inputs, words):
    module = Attention(width=30, heads=5, window=4, causal=True, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=words):
        module(draw(1, 6, 30), **inputs)
    with pytest.raises(ValueError, match="weigh='hard' needs"):
        Attention(width=30, heads=5, stride=4, weigh="hard", rngs=nnx.Rngs(0))
