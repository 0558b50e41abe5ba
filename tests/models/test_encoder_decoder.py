"""What makes an encoder-decoder: it sees all of the source and the past of the target, and padding has no influence."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import EncoderDecoder
from models.attention import AttentionWeights
from tests.tiers import first_fast
from training.state import merge, split

FIELDS: dict[str, Any] = dict(
    source_vocab_size=23, vocab_size=23, source_context=7, context=13, width=28, depth=2, heads=7
)
SOURCE = jax.random.randint(jax.random.key(1), (3, 7), 0, 23)
TOKENS = jax.random.randint(jax.random.key(2), (3, 11), 0, 23)
MASK = jnp.arange(7) < jnp.array([7, 4, 2])[:, None]
CHOICES = [
    {},
    {"positions": "learned", "tied": False, "embedding_norm": True, "decoder_depth": 1, "embedding_scale": "none"},
    {"positions": "rotary", "kv_heads": 1, "norm": "rms", "activation": "swiglu", "qk_norm": True},
    {"norm_order": "post", "shared": False, "scan": True, "remat": True, "relative_buckets": 6, "logits_bias": True},
    {"attention": "linear", "scan": True},
]
SPARSE = [{"window": 3}, {"window": 2, "stride": 3, "positions": "rotary"}]


def build(**more: Any) -> Any:
    return EncoderDecoder(**(FIELDS | more), rngs=nnx.Rngs(0))


def logits_of(model):
    return jax.jit(lambda source, tokens, mask=None: model(source, tokens, source_mask=mask))


def behind_tables(model, source_BSD, tokens_BTD, source_mask):
    """The model without its embeddings, for gradients with respect to embedded tokens."""
    mask = source_mask[:, None, None]
    return model.decoder(tokens_BTD, source=model.encoder(source_BSD, mask=mask)[0], source_mask=mask)[0]


@pytest.mark.parametrize("more", first_fast(CHOICES), ids=str)
def test_what_has_influence_by_gradient(more):
    model = build(**more)
    x, y = (jax.random.normal(jax.random.key(seed), (3, n, 28)) for seed, n in ((3, 7), (4, 11)))
    # Cubed: behind a norm, the sum over features alone has no gradient.
    cubed = lambda x, y, t: (behind_tables(model, x, y, MASK)[:, t] ** 3).sum()
    gradients = jax.jit(jax.grad(cubed, (0, 1)))
    for t in (0, 4, 10):
        by_source, by_target = gradients(x, y, t)
        past = jnp.abs(by_target).max(axis=(0, 2))
        assert (past[t + 1 :] == 0).all() and (past[: t + 1] > 0).all()
        np.testing.assert_array_equal(jnp.abs(by_source).max(axis=2) > 0, MASK)


@pytest.mark.parametrize("more", first_fast(CHOICES + SPARSE), ids=str)
def test_padding_changes_no_output(more):
    model = logits_of(build(**more))
    logits = model(SOURCE, TOKENS, MASK)
    other = jnp.where(MASK, SOURCE, 22 - SOURCE)
    np.testing.assert_array_equal(model(other, TOKENS, MASK), logits)
    np.testing.assert_allclose(model(SOURCE[1:2, :4], TOKENS[1:2])[0], logits[1], atol=1e-5)
    later = model(SOURCE, TOKENS.at[:, 6:].set(0), MASK)
    np.testing.assert_array_equal(later[:, :6], logits[:, :6])


@pytest.mark.parametrize("more", first_fast([{}, {"attention": "linear"}, SPARSE[1]]), ids=str)
def test_a_source_that_is_all_padding_gives_numbers(more):
    model = build(**more)
    structure, parameters = split(model)
    nothing, logits_of_it = jnp.zeros_like(MASK), logits_of(model)
    logits = logits_of_it(SOURCE, TOKENS, nothing)
    np.testing.assert_array_equal(logits_of_it(22 - SOURCE, TOKENS, nothing), logits)
    loss = lambda parameters: (merge(structure, parameters)(SOURCE, TOKENS, source_mask=nothing) ** 2).sum()
    gradients = jax.jit(jax.grad(loss))(parameters)
    assert all(jnp.isfinite(x).all() for x in [logits, *jax.tree.leaves(gradients)])


@pytest.mark.parametrize("more", first_fast(CHOICES + SPARSE), ids=str)
def test_cached_equals_uncached(more):
    model = build(**more)
    cache, parts, decode = model.new_cache(SOURCE, source_mask=MASK), [], jax.jit(model.decode)
    for piece in (TOKENS[:, :4], TOKENS[:, 4:5], TOKENS[:, 5:6], TOKENS[:, 6:]):
        logits, cache = decode(piece, cache)
        parts.append(logits)
    assert cache["length"] == 11
    expected = logits_of(model)(SOURCE, TOKENS, MASK)
    np.testing.assert_allclose(jnp.concatenate(parts, axis=1), expected, atol=1e-5)


@pytest.mark.parametrize("more", first_fast([{}, {"scan": True}]), ids=str)
def test_the_cache_holds_the_source_once_and_the_past_can_be_reordered(more):
    model = build(**more)
    source = jnp.repeat(SOURCE[:1], 3, axis=0)
    decode = jax.jit(model.decode)
    _, cache = decode(TOKENS[:, :4], jax.jit(model.new_cache)(source))
    rows = jnp.array([2, 0, 0])
    logits, _ = decode(TOKENS[:, 4:5], model.reorder(cache, rows))
    mixed = jnp.concatenate([TOKENS[rows, :4], TOKENS[:, 4:5]], axis=1)
    np.testing.assert_allclose(logits[:, 0], logits_of(model)(source, mixed)[:, -1], atol=1e-5)
    lengths = {x.shape[-3] for x in jax.tree.leaves(cache["layers"])}
    assert lengths == {7, 13}


def test_cross_attention_can_be_captured():
    model = build()
    weights = nnx.state(nnx.capture(model, AttentionWeights)(SOURCE, TOKENS, source_mask=MASK)[1], AttentionWeights)
    shapes = sorted({x.shape for x in jax.tree.leaves(weights)})
    assert shapes == [(3, 7, 7, 7), (3, 7, 11, 7), (3, 7, 11, 11)]


def test_order_matters_only_through_positions():
    swapped = SOURCE[:, ::-1]
    without, positioned = logits_of(build(positions="none")), logits_of(build())
    np.testing.assert_allclose(without(swapped, TOKENS), without(SOURCE, TOKENS), atol=1e-5)
    assert jnp.abs(positioned(swapped, TOKENS) - positioned(SOURCE, TOKENS)).max() > 1e-2


def test_tables_are_shared_and_tied_or_not():
    count = lambda **more: sum(x.size for x in jax.tree.leaves(nnx.state(build(**more), nnx.Param)))
    assert count(shared=False) - count() == 23 * 28
    assert count(tied=False) - count() == 28 * 23
    assert build(shared=False, source_vocab_size=31).source_embedding.embedding[...].shape == (31, 28)


def test_what_scales_embeddings():
    """A table of another scale compensates for the scaling."""
    models = {scale: build(embedding_scale=scale, positions="none") for scale in ("in", "out", "none")}
    before, after, none = (models[scale] for scale in ("in", "out", "none"))
    after.embedding.embedding[...] = before.embedding.embedding[...] * 28**0.5
    expected = logits_of(before)(SOURCE, TOKENS)
    np.testing.assert_allclose(logits_of(after)(SOURCE, TOKENS), expected, atol=1e-5)
    none.embedding.embedding[...] = after.embedding.embedding[...]
    np.testing.assert_allclose(logits_of(none)(SOURCE, TOKENS), expected * 28**0.5, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="embedding_scale='both': expected 'in', 'out' or 'none'"):
        build(embedding_scale="both")


def test_norms_and_biases_that_bart_adds():
    plain, model = build(), build(embedding_norm=True, logits_bias=True, decoder_depth=1)
    assert (model.encoder.depth, model.decoder.depth) == (2, 1)
    x = model._embed(TOKENS, model.embedding, model.positions, model.norm, 0, None)
    np.testing.assert_allclose([x.mean(-1).max(), x.std(-1).min()], [0, 1], atol=1e-3)
    assert jnp.abs(plain._embed(TOKENS, plain.embedding, plain.positions, plain.norm, 0, None).mean(-1)).max() > 0.1
    logits = logits_of(model)(SOURCE, TOKENS)
    model.bias[...] = jnp.arange(23.0)
    np.testing.assert_allclose(
        logits_of(model)(SOURCE, TOKENS) - logits, jnp.broadcast_to(jnp.arange(23.0), (3, 11, 23)), atol=1e-5
    )


def test_one_table_for_two_vocabularies_is_refused():
    with pytest.raises(ValueError, match="source_vocab_size=31 and vocab_size=23: set shared=False"):
        build(source_vocab_size=31)


def test_sequences_longer_than_the_model_are_refused():
    with pytest.raises(ValueError, match="8 is longer than the 7 positions"):
        build()(jnp.zeros((1, 8), int), TOKENS[:1])
    with pytest.raises(ValueError, match="14 is longer than the 13 positions"):
        build()(SOURCE[:1], jnp.zeros((1, 14), int))
