"""What makes a BERT: it sees both sides but no padding, and one encoder serves all heads."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import Bert
from training.state import split

FIELDS: dict[str, Any] = dict(vocab_size=23, context=13, width=28, depth=2, heads=7)
TOKENS = jax.random.randint(jax.random.key(1), (3, 11), 0, 23)
SEGMENTS = (jnp.arange(11) > jnp.array([4, 6, 9])[:, None]).astype(int)
MASK = jnp.arange(11) < jnp.array([11, 7, 2])[:, None]
STACKS = [{}, {"scan": True}, {"norm_order": "pre"}, {"norm_order": "pre", "scan": True}]
LONG = [{"attention": "linear", "scan": True}, {"window": 2}, {"window": 2, "stride": 4}]


def bert(head: str = "masked", **more: Any) -> Any:
    return Bert(**FIELDS | more, head=head, rngs=nnx.Rngs(0))


def test_every_position_sees_both_sides():
    model = bert()
    x = jax.random.normal(jax.random.key(2), (3, 11, 28))
    gradient = jax.jit(jax.grad(lambda x: (model.blocks(x)[0][:, 4] ** 3).sum()))(x)
    assert (jnp.abs(gradient).max(axis=(0, 2)) > 0).all()


@pytest.mark.parametrize("more", STACKS + LONG, ids=str)
def test_padding_has_no_influence_by_gradient(more):
    model = bert(**more)
    x = jax.random.normal(jax.random.key(2), (3, 11, 28))
    # Cubed: behind a norm, the sum of squares has no gradient.
    counted = lambda x: ((model.blocks(x, mask=MASK[:, None, None, :])[0] ** 3) * MASK[..., None]).sum()
    felt = jnp.abs(jax.jit(jax.grad(counted))(x)).max(axis=2) > 0
    np.testing.assert_array_equal(felt, MASK)


def test_a_body_gives_hidden_states_and_what_is_pooled_of_the_first():
    body, model = bert("none"), bert("pooler")
    hidden, pooled = model(TOKENS, mask=MASK)
    np.testing.assert_array_equal(body(TOKENS, mask=MASK), hidden)
    np.testing.assert_array_equal(hidden, model.features(TOKENS, mask=MASK)[-1])
    expected = jnp.tanh(hidden[:, 0] @ model.head.pooler.kernel[...] + model.head.pooler.bias[...])
    np.testing.assert_allclose(pooled, expected, atol=1e-6)


@pytest.mark.parametrize("head", ["masked", "pretraining", "next", "classification", "tagging"])
def test_padding_changes_no_output(head):
    model = jax.jit(bert(head, classes=5))
    other = jnp.where(MASK, TOKENS, 22 - TOKENS)
    outs = (jax.tree.leaves(model(tokens, segments=SEGMENTS, mask=MASK)) for tokens in (TOKENS, other))
    alone = jax.tree.leaves(model(TOKENS[1:2, :7], segments=SEGMENTS[1:2, :7]))
    for a, b, short in zip(*outs, alone):
        at = MASK if a.shape[:2] == MASK.shape else slice(None)
        np.testing.assert_array_equal(a[at], b[at])
        np.testing.assert_allclose(a[1, :7] if a.ndim == 3 else a[1], short[0], atol=1e-5)


def test_a_row_of_padding_gives_finite_numbers():
    out = jax.jit(bert())(TOKENS, mask=jnp.zeros((3, 11), bool))
    assert jnp.isfinite(out).all()


def test_heads_give_their_shapes_and_own_their_parameters():
    tokens, following = jax.eval_shape(bert("pretraining"), TOKENS, segments=SEGMENTS)
    assert tokens.shape == (3, 11, 23) and following.shape == (3, 2)
    assert jax.eval_shape(bert("next"), TOKENS).shape == (3, 2)
    assert jax.eval_shape(bert("classification", classes=5), TOKENS).shape == (3, 5)
    assert jax.eval_shape(bert("tagging", classes=5), TOKENS).shape == (3, 11, 5)
    size = lambda head: sum(x.size for path, x in split(bert(head, classes=5))[1].items() if path.startswith("head."))
    masked = (28 * 28 + 28) + 2 * 28 + 23  # transform, norm, bias; the decoder is the embedding
    assert size("masked") == masked
    assert size("pretraining") == masked + (28 * 28 + 28) + (28 * 2 + 2)
    assert size("next") == (28 * 28 + 28) + (28 * 2 + 2)
    assert size("classification") == (28 * 28 + 28) + (28 * 5 + 5)
    assert size("tagging") == 28 * 5 + 5


def test_only_the_first_token_classifies():
    model = bert("classification", classes=5)
    x = jax.random.normal(jax.random.key(2), (3, 11, 28))
    gradient = jax.jit(jax.grad(lambda x: (model.head(x, None, None) ** 2).sum()))(x)
    assert gradient[:, 0].any() and not gradient[:, 1:].any()


def test_segments_matter_and_are_0_by_default():
    model = jax.jit(bert())
    np.testing.assert_array_equal(model(TOKENS), model(TOKENS, segments=jnp.zeros_like(TOKENS)))
    assert jnp.abs(model(TOKENS) - model(TOKENS, segments=SEGMENTS)).max() > 1e-3


@pytest.mark.parametrize("more", STACKS, ids=str)
def test_features_are_the_embeddings_and_every_layer(more):
    model = bert("tagging", classes=5, **more)
    first, middle, last = model.features(TOKENS, segments=SEGMENTS, mask=MASK)
    embedded = model.embedding(TOKENS) + model.segments(SEGMENTS) + model.positions.table[...][:11]
    np.testing.assert_allclose(first, model.norm(embedded), atol=1e-6)
    out = model(TOKENS, segments=SEGMENTS, mask=MASK)
    np.testing.assert_allclose(model.head(last, model.embedding, None), out, atol=1e-5)
    assert middle.shape == last.shape == (3, 11, 28) and jnp.abs(middle - last).max() > 0.1


def test_defaults_are_those_of_the_paper():
    post = bert()
    assert post.blocks.norm is None and post.norm.epsilon == 1e-12
    np.testing.assert_array_equal(jax.jit(post)(TOKENS), jax.jit(bert(norm_order="post"))(TOKENS))


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"head": "nsp"}, "head='nsp': expected one of masked, pretraining, next, classification, tagging"),
        ({"head": "tagging"}, "head='tagging' needs classes, the number of classes"),
    ],
    ids=str,
)
def test_bad_fields_are_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        Bert(**(FIELDS | wrong), rngs=nnx.Rngs(0))
