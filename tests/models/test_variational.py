"""What makes a variational model: a posterior, draws from it, and a decoder for each kind of target."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from models import Variational, VisionTransformer
from tests.tiers import first_fast
from training.state import split

FIELDS: dict[str, Any] = dict(image_shape=(12, 20, 3), target_shape=(4, 8, 5), latents=7, width=11, depth=2)
IMAGES = jax.random.uniform(jax.random.key(0), (13, 12, 20, 3))
TRANSFORMER: dict[str, Any] = {"encoder": "transformer", "patch": 4, "heads": 11}


def build(**fields: Any) -> Any:
    return Variational(**FIELDS | fields, rngs=nnx.Rngs(0))


def count(module) -> int:
    return sum(x.size for x in split(module)[1].values())


@pytest.mark.parametrize("encoder", first_fast([{}, {"encoder": "convolutional"}, TRANSFORMER]), ids=str)
@pytest.mark.parametrize("decoder", ["dense", "convolutional"])
@pytest.mark.parametrize("likelihood, parts", [("bernoulli", ["logits"]), ("gaussian", ["mean", "log_variance"])])
def test_every_encoder_goes_with_every_decoder_and_likelihood(encoder, decoder, likelihood, parts):
    model = build(**encoder, decoder=decoder, likelihood=likelihood)
    mean, log_variance = model.encode(IMAGES)
    assert mean.shape == log_variance.shape == (13, 7)
    decoded = model.decode(mean)
    assert list(decoded) == parts
    assert {x.shape for x in decoded.values()} == {(13, 4, 8, 5)}
    np.testing.assert_array_equal(model(IMAGES), decoded[parts[0]])
    # The result for an example depends on that example only.
    np.testing.assert_allclose(model.encode(IMAGES[2:5])[0], mean[2:5], atol=1e-5)
    assert jnp.abs(mean[0] - mean[1]).max() > 1e-4
    assert jnp.abs(decoded[parts[0]][0] - decoded[parts[0]][1]).max() > 1e-5


def test_parameters_by_hand():
    dense = build()
    assert count(dense.encoder) == (720 * 11 + 11) + (11 * 11 + 11) + (11 * 14 + 14)
    assert count(dense.decoder) == (7 * 11 + 11) + (11 * 11 + 11) + (11 * 160 + 160)
    convolutional = build(encoder="convolutional", decoder="convolutional", decoder_width=3)
    assert count(convolutional.encoder) == (27 * 11 + 11) + (9 * 11 * 22 + 22) + (3 * 5 * 22 * 14 + 14)
    assert count(convolutional.decoder) == (7 * 1 * 2 * 6 + 12) + (9 * 6 * 3 + 3) + (9 * 3 * 5 + 5)
    assert count(build(likelihood="gaussian")) == count(dense) + 160
    assert count(build(likelihood="gaussian", variance=0.05)) == count(dense)


def test_without_hidden_layers_both_halves_are_linear():
    model = build(depth=0)
    mean, log_variance = model.encode(IMAGES)
    flat = IMAGES.reshape(13, 720) @ model.encoder.out.kernel[...] + model.encoder.out.bias[...]
    np.testing.assert_allclose(jnp.hstack([mean, log_variance]), flat, atol=1e-5)
    logits = model.decode(mean)["logits"].reshape(13, 160)
    np.testing.assert_allclose(logits, mean @ model.decoder.out.kernel[...], atol=1e-5)


def test_the_transformer_encoder_is_a_vision_transformer():
    mean, log_variance = build(**TRANSFORMER, positions="none").encode(IMAGES)
    expected = VisionTransformer(
        image_shape=(12, 20, 3), patch=4, classes=14, width=11, depth=2, heads=11, positions="none", rngs=nnx.Rngs(0)
    )(IMAGES)
    np.testing.assert_array_equal(jnp.hstack([mean, log_variance]), expected)


def test_a_key_draws_from_the_posterior():
    model = build(target_shape=(1, 7, 1), depth=0, likelihood="gaussian")
    model.decoder.out.kernel.set_value(jnp.eye(7))
    mean, log_variance = model.encode(IMAGES[:1])
    draws = model(jnp.repeat(IMAGES[:1], 20_000, axis=0), key=jax.random.key(1)).reshape(-1, 7)
    np.testing.assert_allclose(draws.mean(0), mean[0], atol=0.05)
    np.testing.assert_allclose(draws.std(0), jnp.exp(log_variance[0] / 2), rtol=0.03)
    np.testing.assert_allclose(model(IMAGES[:1]).reshape(1, 7), mean, atol=1e-6)


def test_the_variance_of_a_gaussian_is_given_or_learned():
    fixed = build(likelihood="gaussian", variance=0.05).decode(jnp.ones((2, 7)))
    np.testing.assert_allclose(fixed["log_variance"], np.log(0.05), rtol=1e-6)
    model = build(likelihood="gaussian")
    gradient = nnx.grad(lambda m: m.decode(jnp.ones((2, 7)))["log_variance"][:, 1, 3, 2].sum())(model)
    by_element = gradient.log_variance[...]
    assert by_element[1, 3, 2] == 2 and by_element.sum() == 2


def test_classes_are_decoded_to_logits():
    model = build(likelihood="categorical", target_shape=None, classes=17)
    assert model(IMAGES).shape == model.decode(jnp.ones((13, 7)))["logits"].shape == (13, 17)


def test_a_complete_config_may_name_what_only_a_transformer_has():
    # train.py passes every field, whether the encoder uses it or not.
    model = build(patch=None, heads=None, pooling="mean", dropout=0.0, norm="layer", scan=False)
    np.testing.assert_array_equal(model(IMAGES), build()(IMAGES))


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"encoder": "recurrent"}, "encoder='recurrent': expected one of bert, convolutional, dense"),
        ({"decoder": "transformer"}, "decoder='transformer': expected one of convolutional, dense"),
        ({"likelihood": "poisson"}, "expected one of bernoulli, categorical, gaussian"),
        ({"likelihood": "categorical"}, "'categorical' needs classes"),
        ({"target_shape": None, "classes": 3}, "'bernoulli' needs target_shape: class numbers want"),
        ({"encoder": "convolutional", "depth": 3}, "12 x 20 cannot be halved that often"),
        ({"encoder": "convolutional", "depth": 0}, "at least once"),
        ({"decoder": "convolutional", "target_shape": (32,)}, "makes images, not an array of shape"),
        ({"heads": 11}, "encoder='dense' has no heads: leave it out, or set encoder='transformer'"),
        ({"encoder": "convolutional", "dropout": 0.1}, "encoder='convolutional' has no dropout"),
        ({"latent": 3}, "encoder='dense' has no latent:"),
        ({"encoder": "transformer", "heads": 11}, "encoder='transformer' needs patch"),
    ],
    ids=str,
)
def test_bad_fields_are_named(wrong, words):
    with pytest.raises(UserError, match=words):
        build(**wrong)
