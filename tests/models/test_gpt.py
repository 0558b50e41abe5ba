"""What makes a GPT a GPT: it cannot see the future, and its cache gives the same numbers as a full pass."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import GPT
from tests.tiers import first_fast

FIELDS: dict[str, Any] = dict(vocab_size=23, context=13, width=28, depth=2, heads=7)
TOKENS = jax.random.randint(jax.random.key(1), (3, 11), 0, 23)
CHOICES = [
    {},
    {"positions": "sinusoidal"},
    {"positions": "rotary", "kv_heads": 1, "norm": "rms", "activation": "swiglu", "qk_norm": True},
    {"norm_order": "post", "scan": True},
    {"tied": False},
    {"attention": "linear", "feature_map": "taylor", "kv_heads": 1},
]
SPARSE = [{"window": 3, "positions": "rotary"}, {"window": 2, "stride": 3, "scan": True}]


def build(**more: Any) -> Any:
    return GPT(**(FIELDS | more), rngs=nnx.Rngs(0))


@pytest.mark.parametrize("more", first_fast(CHOICES), ids=str)
def test_causal_by_gradient(more):
    model = build(**more)
    x = jax.random.normal(jax.random.key(2), (3, 11, 28))
    # Cubed: behind a norm, the sum over features alone has no gradient.
    gradient = jax.jit(jax.grad(lambda x, t: (model.blocks(x)[0][:, t] ** 3).sum()))
    for t in (0, 4, 10):
        felt = jnp.abs(gradient(x, t)).max(axis=(0, 2))
        assert (felt[t + 1 :] == 0).all() and (felt[: t + 1] > 0).all()


@pytest.mark.parametrize("more", CHOICES + SPARSE, ids=str)
def test_later_tokens_change_no_earlier_logits(more):
    model = jax.jit(build(**more))
    changed = model(TOKENS.at[:, 6].set(22 - TOKENS[:, 6])) != model(TOKENS)
    assert not changed[:, :6].any() and changed[:, 6:].any(axis=-1).all()


@pytest.mark.parametrize("more", first_fast(CHOICES + SPARSE), ids=str)
def test_cached_equals_uncached(more):
    model = build(**more)
    cache, parts, decode = model.new_cache(3), [], jax.jit(model.decode)
    for piece in (TOKENS[:, :4], TOKENS[:, 4:5], TOKENS[:, 5:6], TOKENS[:, 6:]):
        logits, cache = decode(piece, cache)
        parts.append(logits)
    assert cache["length"] == 11
    np.testing.assert_allclose(jnp.concatenate(parts, axis=1), jax.jit(model)(TOKENS), atol=1e-5)


@pytest.mark.parametrize("more", [{}, {"attention": "linear"}, *SPARSE], ids=str)
def test_padding_has_no_influence(more):
    model = jax.jit(build(**more))
    mask = jnp.arange(11) < jnp.array([11, 7, 2])[:, None]
    other = jnp.where(mask, TOKENS, 22 - TOKENS)
    a, b = model(TOKENS, mask=mask), model(other, mask=mask)
    np.testing.assert_array_equal(a[mask], b[mask])
    np.testing.assert_allclose(a[1, :7], model(TOKENS[1:2, :7])[0], atol=1e-5)


def test_tied_head_is_the_embedding():
    tied, untied = build(), build(tied=False)
    assert tied.head is None
    assert untied.head.kernel[...].shape == (28, 23)


def test_a_sequence_longer_than_the_context_is_refused():
    with pytest.raises(ValueError, match="14 is longer than the 13 positions"):
        build()(jnp.zeros((1, 14), int))


def test_the_initial_scale_is_that_of_embeddings_and_learned_positions_only():
    small, large = build(vocab_size=2311), build(vocab_size=2311, initial_scale=0.5)
    for model, scale in ((small, 0.02), (large, 0.5)):
        assert model.embedding.embedding[...].std() == pytest.approx(scale, rel=0.02)
        assert model.positions.table[...].std() == pytest.approx(scale, rel=0.2)
    kernels = [model.blocks.blocks[1].attention.query.kernel[...] for model in (small, large)]
    np.testing.assert_array_equal(*kernels)
