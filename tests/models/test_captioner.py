"""The captioner: both encoders with both decoders, cached decoding, beam search over images, attention over places."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from experiments.inside.attention_maps import attention_maps
from models import Captioner
from models.beam_search import beam_search

IMAGES = jax.random.uniform(jax.random.key(1), (3, 12, 8, 3))
TOKENS = jax.random.randint(jax.random.key(2), (3, 11), 0, 23)
VIT, TRANSFORMER = dict(encoder="vit", patch=4, heads=2), dict(decoder="transformer", heads=2)
CNN, RECURRENT = dict(encoder="convolutional"), dict(decoder="recurrent")
PLACES = 3 * 2


def make(**fields) -> Any:
    defaults: dict[str, Any] = dict(image_shape=(12, 8, 3), vocab_size=23, context=11, width=14, depth=2)
    chosen: dict[str, Any] = defaults | fields
    return Captioner(**chosen, rngs=nnx.Rngs(0))


ALL = [VIT | TRANSFORMER, VIT | RECURRENT, CNN | TRANSFORMER, CNN | RECURRENT]


@pytest.fixture(scope="module", params=ALL, ids=str)
def model(request):
    return make(**request.param)


def test_cached_decoding_equals_the_full_forward(model):
    @jax.jit
    def decode():
        cache, parts = model.new_cache(IMAGES), []
        for begin, end in ((0, 4), (4, 5), (5, 11)):
            part, cache = model.decode(TOKENS[:, begin:end], cache)
            parts.append(part)
        return jnp.concatenate(parts, axis=1), model(IMAGES, TOKENS)

    np.testing.assert_allclose(*decode(), atol=1e-5)


def test_each_token_has_weights_over_the_places_of_the_image(model):
    maps = attention_maps(model, images=IMAGES, tokens=TOKENS)
    crosses = [weights for path, weights in maps.items() if path.startswith("decoder") and path.endswith("cross")]
    assert crosses
    for weights_BHTS in crosses:
        assert weights_BHTS.shape[2:] == (11, PLACES)
        np.testing.assert_allclose(weights_BHTS.sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize("fields", [CNN | TRANSFORMER, CNN | RECURRENT], ids=str)
def test_greedy_search_writes_the_most_likely_token_of_each_step(fields):
    model = make(**fields, depth=1)
    tokens_BKT, _ = beam_search(model, IMAGES, bos=0, eos=None, length=5)
    written_BT = np.asarray(tokens_BKT)[:, 0]
    logits = jax.jit(model)(IMAGES, np.concatenate([np.zeros((3, 1), np.int32), written_BT[:, :-1]], axis=1))
    np.testing.assert_array_equal(logits.argmax(-1), written_BT)


@pytest.mark.parametrize("fields", [CNN | TRANSFORMER, CNN | RECURRENT], ids=str)
def test_it_looks_at_the_image_and_at_no_later_token(fields):
    model = make(**fields, depth=1)
    tokens = TOKENS[:1]

    @jax.jit
    def reach():
        gradient = jax.grad(lambda images: model(images, tokens)[0, 3, 0])(IMAGES[:1])
        return gradient, model(IMAGES[:1], tokens), model(IMAGES[:1], tokens.at[0, 6].set((tokens[0, 6] + 1) % 23))

    gradient, before, after = reach()
    assert (np.abs(gradient[0]).sum(-1).reshape(3, 4, 2, 4).sum((1, 3)) > 0).all()
    same = np.isclose(before[0], after[0], atol=1e-6).all(-1)
    assert same[:6].all() and not same[6:].any()


def test_a_field_that_does_not_fit_is_named():
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"encoder": "bert"}, "encoder='bert': expected 'vit' or 'convolutional'"),
        ({"decoder": "rnn"} | VIT, "decoder='rnn': expected 'transformer' or 'recurrent'"),
        (RECURRENT | {"encoder": "vit", "heads": 2}, "encoder='vit' needs patch"),
        (CNN | {"decoder": "transformer"}, "need heads"),
        (CNN | RECURRENT | {"depth": 3}, "depth=3: an image of 12 x 8 cannot be halved that often"),
    ]
    for fields, message in wrong:
        with pytest.raises(UserError, match=message):
            make(**fields)


def test_word_dropout_hides_whole_tokens_in_training_only():
    model, plain = (make(**CNN, **RECURRENT, word_dropout=rate) for rate in (0.6, 0.0))
    np.testing.assert_array_equal(model(IMAGES, TOKENS), plain(IMAGES, TOKENS))
    logits = lambda tokens: model(IMAGES, tokens, key=jax.random.key(3))
    slopes = np.zeros((3, 11, 11))  # of the logits of position t to the token s
    for s in range(11):
        other = TOKENS.at[:, s].set((TOKENS[:, s] + 1) % 23)
        slopes[:, :, s] = np.abs(logits(other) - logits(TOKENS)).max(-1)
    hidden = slopes.max(1) == 0
    assert 0.4 < hidden.mean() < 0.8  # of 33 tokens
    assert (np.triu(slopes, 1) == 0).all()
    own = np.diagonal(slopes, axis1=1, axis2=2)
    assert ((own > 0) == ~hidden).all()
