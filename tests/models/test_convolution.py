"""Convolutions as matrix products, against XLA's."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.convolution import Convolution, max_pool, neighbourhoods


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
