"""Linear attention: both forms give what the weights say, in any length, and a state of constant size."""

from functools import partial
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import GPT
from models.attention import Attention, AttentionWeights
from models.linear_attention import FEATURE_MAPS, empty_state, linear_attention, linear_weights

B, T, S, H, K, V, D = 2, 13, 7, 3, 5, 11, 42


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


compiled = jax.jit(linear_attention, static_argnames=("feature_map", "causal", "chunk"))


def arrays(S=S):
    return draw(B, T, H, K), draw(B, S, H, K, seed=1), draw(B, S, H, V, seed=2)


def by_hand(query, key, value, feature_map, allowed):
    """One pair of a query and a key at a time, in float64."""
    phi = {
        "elu": lambda x: np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))),
        "relu": lambda x: np.maximum(x, 0),
    }
    out = np.zeros((B, T, H, V))
    for b, t, h in np.ndindex(B, T, H):
        q, keys = np.asarray(query[b, t, h], np.float64), np.asarray(key[b, :, h], np.float64)
        if feature_map == "taylor":
            s = np.dot(keys, q) / np.sqrt(K)
            weights = 1 + s + s**2 / 2
        else:
            weights = np.dot(phi[feature_map](keys), phi[feature_map](q))
        weights = weights * allowed[b, t]
        out[b, t, h] = weights @ np.float64(value[b, :, h]) / max(weights.sum(), 1e-300)
    return out


@pytest.mark.parametrize("feature_map", FEATURE_MAPS)
@pytest.mark.parametrize("causal", [False, True])
def test_it_averages_with_the_weights_of_the_feature_map(feature_map, causal):
    query, key, value = arrays(T if causal else S)
    there = np.arange(key.shape[1]) < np.array([[key.shape[1]], [4]])
    allowed = np.broadcast_to(there[:, None], (B, T, key.shape[1]))
    allowed = allowed & np.tri(T, dtype=bool) if causal else allowed
    settings: dict[str, Any] = {"feature_map": feature_map, "causal": causal, "mask": there[:, None, None]}
    expected = by_hand(query, key, value, feature_map, allowed)
    for chunk in (4, 64):
        out, _ = compiled(query, key, value, **settings, chunk=chunk)
        np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    if not causal:  # one query is compared with all keys directly
        first, _ = compiled(query[:, :1], key, value, **settings)
        np.testing.assert_allclose(first, expected[:, :1], rtol=1e-5, atol=1e-5)
    weights = jax.jit(partial(linear_weights, **settings))(query, key)
    np.testing.assert_allclose(jnp.einsum("bhts,bshv->bthv", weights, value), expected, rtol=1e-5, atol=1e-5)
    assert (weights * ~allowed[:, None] == 0).all()


@pytest.mark.parametrize("feature_map", FEATURE_MAPS)
def test_the_recurrent_form_equals_the_parallel_one(feature_map):
    query, key, value = arrays(T)
    settings: dict[str, Any] = {"feature_map": feature_map, "causal": True}
    expected, last = compiled(query, key, value, **settings, chunk=4)
    step = jax.jit(lambda state, x: linear_attention(*(a[:, None] for a in x), **settings, state=state)[::-1])
    tokens = [x.swapaxes(0, 1) for x in (query, key, value)]
    state, outs = jax.lax.scan(step, empty_state(B, H, K, V, feature_map), tokens)
    np.testing.assert_allclose(outs[:, :, 0].swapaxes(0, 1), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(state, last, rtol=1e-5, atol=1e-5)


def test_the_taylor_features_come_close_to_softmax_for_small_scores():
    query, key, value = arrays()
    out, _ = compiled(0.03 * query, key, value, feature_map="taylor", causal=False)
    weights = jax.nn.softmax(jnp.einsum("bthk,bshk->bhts", 0.03 * query, key) / np.sqrt(K))
    np.testing.assert_allclose(out, jnp.einsum("bhts,bshv->bthv", weights, value), atol=1e-3)


def test_a_query_without_weights_gives_zeros_and_finite_gradients():
    query, key, value = arrays()
    mask = jnp.array([True, False])[:, None, None, None] & jnp.ones(S, bool)
    loss = lambda *x: (linear_attention(*x, feature_map="relu", causal=False, mask=mask)[0] ** 2).sum()
    out, _ = compiled(query.at[0, 3].set(-1), key, value, feature_map="relu", causal=False, mask=mask)
    assert (out[1] == 0).all() and (out[0, 3] == 0).all() and (out[0, 2] != 0).any()
    gradients = jax.jit(jax.grad(loss, (0, 1, 2)))(query.at[0, 3].set(-1), key, value)
    assert all(jnp.isfinite(x).all() for x in gradients) and (gradients[2][1] == 0).all()


@jax.jit
def watch(module, x):
    """The output of an attention and its weights."""
    (out, _), captured = nnx.capture(module, AttentionWeights)(x)
    return out, captured["weights"].get_value()[0]


def sizes_in_program(function, *shapes) -> int:
    """The largest number of elements of any array in a program, the inside of its loops and branches too."""

    def largest(jaxpr) -> int:
        inner = [largest(getattr(x, "jaxpr", x)) for e in jaxpr.eqns for x in jax.tree.leaves(
            list(e.params.values()), is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr"))
            if hasattr(x, "eqns") or hasattr(x, "jaxpr")]  # fmt: skip
        return max([0, *inner, *(v.aval.size for e in jaxpr.eqns for v in e.outvars)])

    return largest(jax.make_jaxpr(function)(*shapes).jaxpr)


@pytest.mark.parametrize("causal", [False, True])
def test_no_array_grows_with_the_square_of_the_length(causal):
    attention = lambda *x: linear_attention(*x, feature_map="elu", causal=causal)[0].sum()
    shape = lambda T: [jax.ShapeDtypeStruct((1, T, 2, 16), jnp.float32)] * 3
    size = {T: sizes_in_program(jax.grad(attention, (0, 1, 2)), *shape(T)) for T in (1024, 4096)}
    assert size[4096] <= 4.1 * size[1024]


@pytest.mark.parametrize("feature_map", FEATURE_MAPS)
def test_the_module_shows_its_weights_and_decodes_with_a_state(feature_map):
    fields: Any = {"kind": "linear", "feature_map": feature_map, "kv_heads": 2, "qk_norm": True, "causal": True}
    module = Attention(width=D, heads=6, rngs=nnx.Rngs(0), **fields)
    x = draw(B, T, D)
    expected, _ = jax.jit(module)(x)
    watched, weights = watch(module, x)
    np.testing.assert_allclose(watched, expected, atol=1e-6)
    total = weights.sum(-1)  # with "relu" a query may have no feature at all
    np.testing.assert_allclose(total, jnp.where(total > 0, 1, 0) if feature_map == "relu" else 1, atol=1e-5)
    assert (jnp.triu(weights, 1) == 0).all()
    cache, outs = module.new_cache(B, 1000), []
    assert sum(x.size for x in jax.tree.leaves(cache)) == sum(x.size for x in jax.tree.leaves(module.new_cache(B, 1)))
    decode = jax.jit(lambda x, cache, start: module(x, cache=cache, start=start))
    for start, stop in ((0, 4), (4, 5), (5, 13)):
        out, cache = decode(x[:, start:stop], cache, start)
        outs.append(out)
    np.testing.assert_allclose(jnp.concatenate(outs, axis=1), expected, atol=1e-5)


def test_bfloat16_sums_in_float32():
    query, key, value = (jnp.ones((1, 4096, 1, 4), jnp.bfloat16) for _ in range(3))
    out, state = compiled(query, key, value, feature_map="elu", causal=True)
    assert out.dtype == jnp.bfloat16 and state.dtype == jnp.float32
    np.testing.assert_array_equal(state[0, 0], 2 * 4096)
    np.testing.assert_array_equal(out, 1)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"kind": "cosine"}, "expected 'softmax' or 'linear'"),
        ({"kind": "linear", "feature_map": "exp"}, "expected one of elu, relu, taylor"),
        ({"kind": "linear", "window": 3}, "no window and no stride"),
        ({"kind": "linear", "rotary": True}, "rotary positions"),
        ({"kind": "linear", "scaled": False}, "scaled=False is for dot products"),
        ({"kind": "linear", "score": "additive"}, "score='additive' needs"),
        ({"kind": "linear", "weigh": "hard"}, "weigh='hard' needs"),
        ({"kind": "linear", "beta": 2.0}, "beta=2.0 needs"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        Attention(width=30, heads=5, rngs=nnx.Rngs(0), **fields)


def test_a_mask_by_query_and_a_bias_are_refused():
    module, x = Attention(width=30, heads=5, kind="linear", rngs=nnx.Rngs(0)), draw(1, T, 30)
    with pytest.raises(ValueError, match="a mask of keys only"):
        module(x, mask=jnp.tril(jnp.ones((T, T), bool)))
    with pytest.raises(ValueError, match="a bias is for all scores"):
        module(x, bias=jnp.zeros((1, 5, T, T)))


@pytest.mark.parametrize("more", [{"attention": "linear"}, {"window": 3}, {"stride": 3}], ids=str)
def test_relative_positions_are_refused_with_every_kind_but_the_ordinary_one(more):
    fields: Any = {"vocab_size": 5, "context": 7, "width": 6, "depth": 1, "heads": 1, "relative_buckets": 6}
    with pytest.raises(ValueError, match="relative_buckets=6: a bias for every distance needs"):
        GPT(**fields, **more, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="no inner products for rotary positions"):
        GPT(**fields | {"relative_buckets": 0, "positions": "rotary", "attention": "linear"}, rngs=nnx.Rngs(0))
