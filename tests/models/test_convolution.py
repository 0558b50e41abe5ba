"""Convolutions as matrix products, against XLA's."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.convolution import Convolution, max_pool, neighbourhoods, overlapping_max_pool


def convolved(images, kernel, stride=1):
    reach = kernel.shape[0] // 2
    return jax.lax.conv_general_dilated(
        images, kernel, (stride, stride), [(reach, reach)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def test_a_linear_map_of_neighbourhoods_is_a_convolution():
    images = jax.random.normal(jax.random.key(0), (2, 5, 7, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 11))
    product = neighbourhoods(images) @ kernel.reshape(27, 11)
    np.testing.assert_allclose(product, convolved(images, kernel), atol=1e-5)


@pytest.mark.parametrize(("side", "stride"), [(1, 1), (1, 2), (3, 2), (5, 3)])
def test_side_and_stride_are_those_of_a_convolution(side, stride):
    layer = Convolution(3, 11, side=side, stride=stride, rngs=nnx.Rngs(0))
    images = jax.random.normal(jax.random.key(0), (2, 7, 10, 3))
    expected = convolved(images, layer.linear.kernel[...].reshape(side, side, 3, 11), stride)
    assert expected.shape == (2, -(-7 // stride), -(-10 // stride), 11)
    np.testing.assert_allclose(layer(images), expected, atol=1e-5)


def test_pooling_takes_the_largest_of_four_and_sends_its_gradient_there():
    image = jnp.array([[1.0, 5.0, 2.0, 2.0], [3.0, 4.0, 2.0, -1.0]])[None, :, :, None]
    np.testing.assert_array_equal(max_pool(image)[0, 0, :, 0], [5, 2])
    gradient = jax.grad(lambda x: (max_pool(x) * jnp.array([7.0, 11.0])[None, None, :, None]).sum())(image)[0, :, :, 0]
    np.testing.assert_array_equal(gradient, [[0, 7, 11, 0], [0, 0, 0, 0]])  # of equal ones, the first gets it


@pytest.mark.parametrize(("rows", "columns"), [(5, 7), (6, 4), (1, 2)])
def test_overlapping_pooling_takes_the_largest_of_nine_around_every_second_pixel(rows, columns):
    images = -1 - np.asarray(jax.random.uniform(jax.random.key(0), (2, rows, columns, 3)))  # zeros outside would win
    pooled = overlapping_max_pool(jnp.asarray(images))
    assert pooled.shape == (2, -(-rows // 2), -(-columns // 2), 3)
    for i, j in np.ndindex(pooled.shape[1:3]):
        around = images[:, max(2 * i - 1, 0) : 2 * i + 2, max(2 * j - 1, 0) : 2 * j + 2]
        np.testing.assert_array_equal(pooled[:, i, j], around.max((1, 2)))


def test_the_gradient_of_overlapping_pooling_goes_to_one_pixel_each():
    image = jnp.array([[2.0, 2.0, 1.0], [0.0, 1.0, 3.0]])[None, :, :, None]
    weights = jnp.array([7.0, 11.0])[None, None, :, None]
    gradient = jax.grad(lambda x: (overlapping_max_pool(x) * weights).sum())(image)[0, :, :, 0]
    np.testing.assert_array_equal(gradient, [[7, 0, 0], [0, 0, 11]])  # of equal ones, the first gets it
