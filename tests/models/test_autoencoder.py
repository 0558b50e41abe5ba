"""What makes an autoencoder: a code of its size, from every encoder, and a decoder that reads nothing else."""

from typing import Any

from flax import nnx
import jax
import numpy as np
import pytest

from core.errors import UserError
from models import Autoencoder
from training.state import split

FIELDS: dict[str, Any] = dict(image_shape=(12, 20, 3), code=7, width=11, depth=2)
IMAGES = jax.random.uniform(jax.random.key(0), (5, 12, 20, 3))
TRANSFORMER: dict[str, Any] = {"encoder": "transformer", "patch": 4, "heads": 11}


def build(**fields: Any) -> Autoencoder:
    return Autoencoder(**FIELDS | fields, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("encoder", [{}, {"encoder": "convolutional"}, TRANSFORMER], ids=str)
@pytest.mark.parametrize("decoder", ["dense", "convolutional"])
def test_every_encoder_goes_with_every_decoder(encoder, decoder):
    model = build(**encoder, decoder=decoder)
    code = model.encode(IMAGES)
    assert code.shape == (5, 7)
    decoded = model.decode(code)
    assert decoded.shape == IMAGES.shape
    np.testing.assert_array_equal(model(IMAGES), decoded)


def test_without_hidden_layers_both_halves_are_linear():
    model = build(depth=0)
    parameters = split(model)[1]
    code = IMAGES.reshape(5, -1) @ parameters["encoder.out.kernel"] + parameters["encoder.out.bias"]
    np.testing.assert_allclose(model.encode(IMAGES), code, atol=1e-5)
    images = code @ parameters["decoder.out.kernel"] + parameters["decoder.out.bias"]
    np.testing.assert_allclose(model(IMAGES), images.reshape(IMAGES.shape), atol=1e-5)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"encoder": "bert"}, "encoder='bert': expected one of convolutional, dense, transformer"),
        ({"decoder": "transformer"}, "decoder='transformer': expected one of convolutional, dense"),
        ({"encoder": "convolutional", "depth": 3}, "12 x 20 cannot be halved that often"),
        ({"heads": 11}, "encoder='dense' has no heads"),
        ({"encoder": "transformer", "heads": 11}, "encoder='transformer' needs patch"),
    ],
    ids=str,
)
def test_bad_fields_are_named(wrong, words):
    with pytest.raises(UserError, match=words):
        build(**wrong)
