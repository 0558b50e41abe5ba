"""The VAE of texts: what its encoder and decoder see, and that what it writes is what its logits say."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from models import SequenceVAE

V, T, Z = 7, 11, 5
TOKENS = jax.random.randint(jax.random.key(0), (3, T), 1, V)
LATENTS = jax.random.normal(jax.random.key(1), (3, Z))
ENCODERS = ["convolutional", "recurrent"]


def build(**more: Any) -> SequenceVAE:
    fields: dict[str, Any] = dict(vocab_size=V, context=13, latents=Z, properties=2, width=6, depth=2)
    return SequenceVAE(**fields | more, rngs=nnx.Rngs(0))


def test_a_logit_depends_on_the_latents_and_on_the_tokens_before_it_only():
    model = build()
    embedded = jax.nn.one_hot(TOKENS, V)

    def logits(position, soft):  # tokens as soft choices, to have a gradient
        table = model.embedding.embedding[...]
        before = jnp.pad(soft @ table, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        before = before.at[:, 0].set(table[0])
        return model.head(model.decoder(before, model._cache(LATENTS))[0])[:, position].sum()

    for position in (0, 4, T - 1):
        reached = jnp.abs(jax.grad(logits, argnums=1)(position, embedded)).sum((0, 2)) > 0
        assert reached.tolist() == [place < position for place in range(T)]
    full = model.next_tokens(LATENTS, TOKENS)
    np.testing.assert_allclose(full[:, :5], model.next_tokens(LATENTS, TOKENS[:, :5]), atol=1e-6)
    assert np.abs(full - model.next_tokens(LATENTS + 1, TOKENS)).min(axis=(1, 2)).max() > 0
    other_end = TOKENS.at[:, 6:].set(0)
    np.testing.assert_allclose(full[:, :7], model.next_tokens(LATENTS, other_end)[:, :7], atol=1e-6)


def test_what_is_written_is_the_most_likely_token_after_those_before_it():
    model = build()
    text = model.write(LATENTS)
    assert text.shape == (3, 13)
    expected = np.array(model.next_tokens(LATENTS, text).argmax(-1))
    ended = np.cumsum(np.array(text) == 0, axis=1) - (np.array(text) == 0) > 0  # after the first end
    np.testing.assert_array_equal(np.where(ended, 0, expected), text)


def test_a_decoder_that_is_not_autoregressive_knows_only_the_latents():
    model = build(autoregressive=False)
    logits = model.next_tokens(LATENTS, TOKENS)
    np.testing.assert_array_equal(logits, model.next_tokens(LATENTS, jnp.zeros_like(TOKENS)))
    assert np.abs(logits - build().next_tokens(LATENTS, TOKENS)).max() > 1e-3
    text = np.array(model.write(LATENTS))
    written = text[:, :T][text[:, :T] > 0]
    np.testing.assert_array_equal(written, np.array(logits.argmax(-1))[text[:, :T] > 0])
    assert written.size > 0


def test_drawn_texts_follow_the_distribution_of_the_first_token():
    model = build()
    first = model.write(jnp.repeat(LATENTS[:1], 4000, axis=0), key=jax.random.key(5))[:, 0]
    shares = np.bincount(np.array(first), minlength=V) / 4000
    expected = jax.nn.softmax(model.next_tokens(LATENTS[:1], TOKENS[:1])[0, 0])
    np.testing.assert_allclose(shares, expected, atol=4 * 0.5 / 4000**0.5)


def test_a_text_stays_at_its_end():
    model = build()
    assert model.head.bias is not None
    model.head.bias.set_value(jnp.zeros(V).at[0].set(99.0))
    assert model.write(LATENTS, key=jax.random.key(2)).tolist() == [[0] * 13] * 3


@pytest.mark.parametrize("encoder", ENCODERS)
def test_padding_and_its_length_change_no_posterior(encoder):
    model = build(encoder=encoder)
    mask = jnp.arange(T) < jnp.array([11, 8, 3])[:, None]
    expected = model.encode(TOKENS, mask=mask)
    wild = jnp.where(mask, TOKENS, (TOKENS + 3) % V)
    longer = lambda x: jnp.pad(x, ((0, 0), (0, 2)))
    for tokens, where in ((wild, mask), (longer(wild), longer(mask))):
        for part, same in zip(model.encode(tokens, mask=where), expected):
            np.testing.assert_allclose(part, same, atol=1e-6)
    alone = model.encode(TOKENS[1:2, :8])
    np.testing.assert_allclose(alone[0][0], expected[0][1], atol=1e-6)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_token_reaches_the_posterior_and_properties_do_not(encoder):
    model = build(encoder=encoder, depth=1)
    mean = lambda tokens: model.encode(tokens)[0]
    for place in range(T):
        assert np.abs(mean(TOKENS) - mean(TOKENS.at[:, place].set(0))).max(1).min() > 0
    np.testing.assert_array_equal(mean(TOKENS), model.encode(TOKENS, properties=jnp.full((3, 2), jnp.nan))[0])


def test_properties_come_from_the_latents():
    gradient = jax.jacobian(build().predict)(LATENTS)
    assert gradient.shape == (3, 2, 3, Z)
    for row in range(3):
        assert (jnp.abs(gradient[row, :, row]) > 0).all() and (jnp.delete(gradient[row], row, axis=1) == 0).all()
    assert build(properties=0).predict(LATENTS).shape == (3, 0)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: build(encoder="bert"), "encoder='bert': expected one of convolutional, recurrent"),
        (lambda: build().encode(jnp.zeros((1, 14), int)), "14 tokens, but the model has context=13"),
        (lambda: build(cell="rnn"), "cell='rnn': expected 'gru' or 'lstm'"),
        (lambda: build(encoder="recurrent", width=7), "needs an even width"),
    ],
)
def test_what_does_not_fit_is_said(call, words):
    with pytest.raises(UserError, match=words):
        call()
