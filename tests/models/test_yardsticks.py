"""The yardsticks: a convolution against XLA's, the effect of moving an image, and fields that do not fit."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.yardsticks import ConvolutionalNetwork, Perceptron, neighbourhoods


def test_a_linear_map_of_neighbourhoods_is_a_convolution():
    images = jax.random.normal(jax.random.key(0), (2, 5, 7, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 11))
    expected = jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    convolved = neighbourhoods(images) @ kernel.reshape(27, 11)
    np.testing.assert_allclose(convolved, expected, atol=1e-5)


def test_the_same_shape_two_pixels_on_gives_the_same_features_one_on():
    model: Any = ConvolutionalNetwork(image_shape=(8, 12, 1), classes=5, width=3, depth=1, rngs=nnx.Rngs(0))
    seen = []
    model.head = lambda x: seen.append(x.reshape(4, 6, 3)) or x
    image = np.zeros((8, 12, 1), np.float32)
    image[2:4, 3:6] = np.arange(1, 7).reshape(2, 3, 1)
    model(jnp.asarray([image])), model(jnp.asarray([np.roll(image, 2, axis=1)]))
    here, there = seen
    np.testing.assert_allclose(there[:, 1:], here[:, :-1], atol=1e-6)
    assert (np.abs(here - there) > 1e-3).any()


def test_a_perceptron_does_not_know_where_a_pixel_is():
    """Permuting the pixels and the first layer alike does not change the output."""
    model = Perceptron(image_shape=(3, 5, 1), classes=7, width=11, depth=2, rngs=nnx.Rngs(0))
    images = jax.random.normal(jax.random.key(0), (2, 3, 5, 1))
    order, logits = np.random.default_rng(0).permutation(15), model(images)
    model.hidden[0].kernel[...] = model.hidden[0].kernel[...][order]
    moved = images.reshape(2, 15)[:, order].reshape(2, 3, 5, 1)
    np.testing.assert_allclose(model(moved), logits, atol=1e-5)


@pytest.mark.parametrize(
    "kind, wrong, words",
    [
        (ConvolutionalNetwork, {"depth": 3}, "an image of 12 x 8 cannot be halved that often"),
        (ConvolutionalNetwork, {"dropout": 1.0}, "0 <= dropout < 1"),
    ],
    ids=str,
)
def test_bad_fields_are_named(kind, wrong, words):
    fields = {"image_shape": (12, 8, 1), "classes": 5, "width": 7, "depth": 1} | wrong
    with pytest.raises(ValueError, match=words):
        kind(**fields, rngs=nnx.Rngs(0))
