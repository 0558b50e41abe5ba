"""Every row of the table in `models/attention.py`, against hand-computed values or another way to the same result."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from models.attention import Attention, AttentionWeights
from models.fused import attend
from models.scores import additive, as_given, dot_product, gaussian, hardargmax, mix, ridge, softargmax

B, T, S, H, K, D = 2, 7, 11, 6, 5, 30


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def plain(query, key, value, mask=None, bias=0.0):
    """The textbook formula, one pair at a time."""
    key, value = (jnp.repeat(x, query.shape[2] // x.shape[2], axis=2) for x in (key, value))
    scores = jnp.einsum("bthk,bshk->bhts", query, key) / np.sqrt(query.shape[-1]) + bias
    scores = scores if mask is None else jnp.where(mask, scores, -1e30)
    return jnp.einsum("bhts,bshk->bthk", jax.nn.softmax(scores), value)


def test_a_query_finds_its_key():
    keys = 8 * jnp.array([[10.0, 0, 0], [0, 10, 0], [0, 0, 10], [0, 0, 10]]).reshape(1, 4, 1, 3) / 8
    values = jnp.array([[1.0, 0, 0], [10, 0, 0], [100, 5, 0], [1000, 6, 0]]).reshape(1, 4, 1, 3)
    query = jnp.array([[0.0, 10, 0], [0, 0, 10]]).reshape(1, 2, 1, 3)
    weights = softargmax(dot_product(query, keys, scale=1 / 8))
    mixed = mix(weights, values)[0, :, 0]
    np.testing.assert_allclose(mixed[0], [10.004, 4.1e-5, 0], rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(mixed[1], [549.998, 5.49998, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("T, S", [(7, 11), (17, 31), (131, 131), (64, 64)])
def test_fast_form_equals_formula_with_gradients(T, S, causal, groups):
    if causal and T != S:
        S = T
    query, key, value = draw(B, T, H, K), draw(B, S, groups, K, seed=1), draw(B, S, groups, K, seed=2)
    padding = jnp.arange(S)[None, None, None, :] < jnp.array([S, S - 3])[:, None, None, None]
    full = padding & jnp.tril(jnp.ones((T, S), bool)) if causal else padding
    probe = draw(B, T, H, K, seed=3)
    fast = lambda *x: (attend(*x, mask=padding, causal=causal) * probe).sum()
    slow = lambda *x: (plain(*x, mask=full) * probe).sum()
    for a, b in zip(jax.grad(fast, (0, 1, 2))(query, key, value), jax.grad(slow, (0, 1, 2))(query, key, value)):
        np.testing.assert_allclose(a, b, atol=2e-5)
    np.testing.assert_allclose(fast(query, key, value), slow(query, key, value), rtol=1e-4)


def test_fast_form_equals_the_stock_function():
    query, key, value = draw(B, T, H, K), draw(B, T, 2, K, seed=1), draw(B, T, 2, K, seed=2)
    bias = draw(1, H, T, T, seed=4)
    for causal in (False, True):
        stock = jax.nn.dot_product_attention(query, key, value, is_causal=causal)
        np.testing.assert_allclose(attend(query, key, value, causal=causal), stock, atol=1e-5)
        stock = jax.nn.dot_product_attention(query, key, value, bias=bias, is_causal=causal)
        np.testing.assert_allclose(attend(query, key, value, bias=bias, causal=causal), stock, atol=1e-5)


@pytest.mark.parametrize("platform, products", [("cpu", 4), ("cuda", 2), ("rocm", 2), ("tpu", 2)])
def test_the_platform_that_a_program_is_compiled_for_chooses_the_kernel(platform, products):
    array = jax.ShapeDtypeStruct((1, 64, 2, 8), jnp.float32)
    traced = jax.jit(lambda *x: attend(*x, causal=True)).trace(array, array, array)
    program = traced.lower(lowering_platforms=(platform,)).as_text()
    assert program.count("stablehlo.dot_general") == products  # ours divides the queries into two blocks


@pytest.mark.parametrize("T, S", [(7, 11), (17, 31)])  # with the stock function, and on a CPU with our own
def test_a_row_without_keys_gives_zeros_and_finite_gradients(T, S):
    query, key, value = draw(B, T, H, K), draw(B, S, H, K, seed=1), draw(B, S, H, K, seed=2)
    mask = jnp.ones((B, 1, T, S), bool).at[1, 0, 3].set(False)
    out = attend(query, key, value, mask=mask)
    assert (out[1, 3] == 0).all() and (out[1, 2] != 0).all()
    gradients = jax.grad(lambda *x: (attend(*x, mask=mask) ** 2).sum(), (0, 1, 2))(query, key, value)
    assert all(jnp.isfinite(g).all() for g in gradients)
    assert (gradients[0][1, 3] == 0).all()
    weights = softargmax(draw(B, H, T, S), mask)
    assert (weights[1, :, 3] == 0).all()
    np.testing.assert_allclose(weights[0].sum(-1), 1, rtol=1e-6)


def test_masked_keys_have_no_influence():
    query, key, value = draw(B, T, H, K), draw(B, S, H, K, seed=1), draw(B, S, H, K, seed=2)
    mask = jnp.arange(S)[None, None, None, :] < 8
    gradients = jax.grad(lambda k, v: attend(query, k, v, mask=mask).sum(), (0, 1))(key, value)
    for gradient in gradients:
        assert (gradient[:, 8:] == 0).all() and (gradient[:, :8] != 0).any()


def test_soft_to_hard_as_beta_grows():
    scores = draw(1, 1, T, S)
    entropy = lambda w: -(w * jnp.log(jnp.maximum(w, 1e-30))).sum(-1).mean()
    entropies = [float(entropy(softargmax(scores, beta=beta))) for beta in (0, 0.5, 1, 2, 4, 8, 1e4)]
    assert entropies[0] == pytest.approx(np.log(S))
    assert all(a > b for a, b in zip(entropies, entropies[1:]))
    np.testing.assert_array_equal(jnp.round(softargmax(scores, beta=1e4)), hardargmax(scores))


def test_hard_weights_are_one_hot_with_the_soft_gradient():
    scores, values = draw(B, H, T, S), draw(B, S, H, K)
    mask = jnp.arange(S) < 5
    weights = hardargmax(scores, mask)
    assert set(np.unique(np.round(weights, 6))) == {0, 1}
    np.testing.assert_array_equal(weights.argmax(-1), jnp.where(mask, scores, -jnp.inf).argmax(-1))
    assert (weights[..., 5:] == 0).all()
    gradient = lambda weigh: jax.grad(lambda s: mix(weigh(s, mask), values).sum())(scores)
    np.testing.assert_allclose(gradient(hardargmax), gradient(softargmax), atol=1e-6)


def test_additive_scores_by_hand():
    query, key, vector = draw(1, 2, 1, 3), draw(1, 2, 1, 3, seed=1), draw(1, 3, seed=2)
    by_hand = np.array(
        [[np.sum(vector[0] * np.tanh(query[0, t, 0] + key[0, s, 0])) for s in range(2)] for t in range(2)]
    )
    np.testing.assert_allclose(additive(query, key, vector_HK=vector)[0, 0], by_hand, rtol=1e-5)


def test_graph_convolution_is_attention_with_given_weights():
    adjacency = np.random.default_rng(5).random((T, T)) < 0.3
    adjacency = jnp.asarray(adjacency | adjacency.T | np.eye(T, dtype=bool))
    degree = adjacency.sum(-1)
    normalised = 1 / jnp.sqrt(degree[:, None] * degree[None, :])
    x = draw(1, T, 1, K)
    out = mix(as_given(normalised[None, None], adjacency[None, None]), x)
    np.testing.assert_allclose(out[0, :, 0], jnp.where(adjacency, normalised, 0) @ x[0, :, 0], rtol=1e-5)


def test_kernel_ridge_regression_agrees_with_scikit_learn():
    with jax.enable_x64(True):
        x, y = np.random.default_rng(0).normal(size=(13, 3)), np.random.default_rng(1).normal(size=13)
        new = np.random.default_rng(2).normal(size=(5, 3))
        kernel = lambda a, b: jnp.exp(gaussian(a[None, :, None], b[None, :, None], bandwidth=1 / np.sqrt(2)))
        weights = ridge(kernel(x, x)[0, 0], 0.1)(kernel(new, x))
        mine = mix(weights, jnp.asarray(y)[None, :, None, None])[0, :, 0, 0]
        regression: Any = KernelRidge(kernel="rbf", gamma=1.0).set_params(alpha=0.1)
        theirs = regression.fit(x, y).predict(new)
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
    assert (weights < 0).any()  # unlike those of any attention
    with pytest.raises(ValueError, match="takes no mask"):
        ridge(jnp.eye(3), 0.1)(jnp.ones((1, 1, 2, 3)), jnp.ones(3, bool))


def test_equal_norm_keys_make_attention_a_kernel_smoother():
    query, key, value = draw(1, T, 1, K), draw(1, S, 1, K, seed=1), draw(1, S, 1, K, seed=2)
    key = key / jnp.linalg.norm(key, axis=-1, keepdims=True)
    smoother = mix(softargmax(gaussian(query, key, bandwidth=K**0.25)), value)
    np.testing.assert_allclose(attend(query, key, value), smoother, atol=1e-5)


def watch(module: Attention) -> Any:
    """Called like the module; returns the weights too."""
    return nnx.capture(module, AttentionWeights)


def flax_twin(mine: Attention, width: int) -> Any:
    """Flax's own module with the same weights."""
    twin: Any = nnx.MultiHeadAttention(H, width, decode=False, rngs=nnx.Rngs(1))
    for name in ("query", "key", "value"):
        layer = getattr(mine, name)
        getattr(twin, name).kernel[...] = layer.kernel[...].reshape(width, H, -1)
        getattr(twin, name).bias[...] = layer.bias[...].reshape(H, -1)
    assert mine.out.bias is not None
    twin.out.kernel[...] = mine.out.kernel[...].reshape(H, -1, width)
    twin.out.bias[...] = mine.out.bias[...]
    return twin


@pytest.mark.parametrize("causal", [False, True])
def test_agrees_with_flax_on_shared_weights(causal):
    mine = Attention(width=D, heads=H, causal=causal, rngs=nnx.Rngs(0))
    for path, x in nnx.to_flat_state(nnx.state(mine)):
        x[...] = 0.2 * draw(*x[...].shape, seed=len(str(path[0])))  # biases too
    x, mask = draw(B, T, D), jnp.arange(T)[None, None, None, :] < jnp.array([T, 4])[:, None, None, None]
    full = mask & jnp.tril(jnp.ones((T, T), bool)) if causal else mask
    theirs = flax_twin(mine, D)(x, mask=full)
    np.testing.assert_allclose(mine(x, mask=mask)[0], theirs, atol=1e-5)


def test_cross_attention_agrees_with_flax():
    mine = Attention(width=D, heads=H, rngs=nnx.Rngs(0))
    x, source = draw(B, T, D), draw(B, S, D, seed=1)
    np.testing.assert_allclose(mine(x, source)[0], flax_twin(mine, D)(x, source), atol=1e-5)


@pytest.mark.parametrize("fields", [{}, {"rotary": True}, {"qk_norm": True}, {"kv_heads": 2, "causal": True}])
def test_watching_changes_nothing(fields):
    mine = Attention(width=60, heads=H, rngs=nnx.Rngs(0), **fields)
    x = draw(B, T, 60)
    (watched, _), seen = watch(mine)(x)
    np.testing.assert_allclose(watched, mine(x)[0], atol=1e-5)
    (weights,) = seen["weights"].get_value()
    assert weights.shape == (B, H, T, T)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    if fields.get("causal"):
        assert (jnp.triu(weights, 1) == 0).all()


def test_rotary_scores_depend_on_offsets_only():
    mine = Attention(width=60, heads=H, rotary=True, rngs=nnx.Rngs(0))
    x = jnp.broadcast_to(draw(1, 1, 60), (1, T, 60))  # the same content everywhere
    _, seen = watch(mine)(x)
    scores = jnp.log(seen["weights"].get_value()[0])[0]
    differences = scores[:, 1:, 1:] - scores[:, 1:, :-1]  # a row's constant drops out
    np.testing.assert_allclose(differences[:, 1:, 1:], differences[:, :-1, :-1], atol=1e-4)


def test_scores_without_scale():
    module = Attention(width=D, heads=H, head_size=4, scaled=False, bias=False, rngs=nnx.Rngs(0))
    x, source = draw(B, T, D), draw(B, S, D, seed=1)
    part = lambda x, kernel: (x @ kernel[...]).reshape(B, -1, H, 4)
    query, key = part(x, module.query.kernel), part(source, module.key.kernel)
    weights = jax.nn.softmax(jnp.einsum("bthk,bshk->bhts", query, key))
    mixed = jnp.einsum("bhts,bshk->bthk", weights, part(source, module.value.kernel))
    expected = mixed.reshape(B, T, 4 * H) @ module.out.kernel[...]
    np.testing.assert_allclose(module(x, source)[0], expected, atol=1e-5)
    scaled = Attention(width=D, heads=H, head_size=4, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(module.query.kernel[...] * 2, scaled.query.kernel[...], rtol=1e-6)


def test_a_gate_starts_closed_and_can_open():
    gated = Attention(width=D, heads=H, gated=True, rngs=nnx.Rngs(0))
    x = draw(B, T, D)
    assert (gated(x)[0] == 0).all()
    gradients = nnx.grad(lambda m: (m(x)[0] * draw(B, T, D, seed=1)).sum())(gated)
    assert gradients["gate"][...] != 0 and (gradients["out"]["kernel"][...] == 0).all()


def test_variants_of_score_and_weigh_are_used():
    x = draw(B, T, D)
    outs = {}
    choices: list[dict[str, Any]] = [{}, {"score": "additive"}, {"weigh": "hard"}, {"beta": 0.0}]
    for fields in choices:
        outs[str(fields)] = Attention(width=D, heads=H, rngs=nnx.Rngs(0), **fields)(x)[0]
    a, b, c, d = outs.values()
    for other in (b, c, d):
        assert jnp.abs(a - other).max() > 1e-3
    np.testing.assert_allclose(d, d[:, :1].repeat(T, axis=1), atol=1e-6)  # beta = 0: every query sees the mean


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"heads": 7}, "heads=7 must divide width=30"),
        ({"heads": 6, "kv_heads": 4}, "kv_heads=4 must divide heads=6"),
        ({"heads": 6, "rotary": True}, "even head size, not 5"),
        ({"heads": 6, "score": "cosine"}, "expected 'dot' or 'additive'"),
        ({"heads": 6, "score": "additive", "scaled": False}, "additive scores have no scale"),
        ({"heads": 6, "weigh": "medium"}, "expected 'soft' or 'hard'"),
        ({"heads": 6, "dropout": 1.0}, "expected a probability"),
    ],
)
def test_bad_fields_are_named(fields, words):
    with pytest.raises(ValueError, match=words):
        Attention(width=30, rngs=nnx.Rngs(0), **fields)
