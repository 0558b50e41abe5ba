"""Convolutions as products of matrices: gather the neighbours of each pixel, then apply one linear map.

A depthwise convolution has no product of matrices, and is a sum of shifted images.

XLA has no fast grouped convolution on a CPU, which is what a convolution becomes under `jax.vmap` over its kernels. A
matrix product stays fast.
"""

from functools import reduce

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float

from models.layers import linear

Images = Float[Array, "batch rows columns channels"]


class Convolution(nnx.Module):
    """A convolution with a square kernel; outside the image there are zeros (LeCun et al. 1998).

    Args:
      inputs, outputs: channels. side: of the kernel, an odd number of pixels.
      stride: the step between two outputs, in pixels.
    """

    def __init__(
        self, inputs: int, outputs: int, *, side: int = 3, stride: int = 1, bias: bool = True, dtype: str = "float32",
        rngs: nnx.Rngs,
    ):  # fmt: skip
        self.linear = linear(side * side * inputs, outputs, bias=bias, dtype=dtype, rngs=rngs)
        self.side, self.stride = side, stride

    def __call__(self, images: Images) -> Images:
        """Returns images with ceil(rows / stride) rows and ceil(columns / stride) columns."""
        return self.linear(neighbourhoods(images, self.side, self.stride))


class DepthwiseConvolution(nnx.Module):
    """A convolution of each channel by itself, with a square kernel; outside the image there are zeros (Chollet 2017).

    It is a sum of shifted images, each times a number for each channel, which is added up in float32.

    Args:
      channels: of the input and of the output. side: of the kernel, an odd number of pixels.
    """

    def __init__(self, channels: int, *, side: int, dtype: str = "float32", rngs: nnx.Rngs):
        self.kernel = nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), (side * side, channels)))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.side, self.dtype = side, dtype

    def __call__(self, images: Images) -> Images:
        """Returns images of the same shape."""
        _, rows, columns, _ = images.shape
        reach, kernel = self.side // 2, self.kernel[...]
        padded = jnp.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0))).astype(kernel.dtype)
        total = self.bias[...]
        for number, weights in enumerate(kernel):
            i, j = divmod(number, self.side)
            total = total + padded[:, i : i + rows, j : j + columns] * weights
        return total.astype(self.dtype)


def neighbourhoods(
    images: Images, side: int = 3, stride: int = 1
) -> Float[Array, "batch rows columns neighbours"]:
    """Returns for every `stride`-th pixel the channels of the `side` x `side` pixels around it; 0 outside the image."""
    _, rows, columns, _ = images.shape
    reach = side // 2
    padded = jnp.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    shifted = [padded[:, i : i + rows : stride, j : j + columns : stride] for i in range(side) for j in range(side)]
    return jnp.concatenate(shifted, axis=-1)


def max_pool(images: Images) -> Images:
    """Returns the largest of each 2 x 2 pixels, channel by channel; both sides are even.

    The gradient goes to one of the four. That of a maximum over an axis is divided by the number of elements that equal
    it, and where a compiler computes these twice, rounded differently, by 0.
    """
    larger = lambda a, b: jnp.where(a >= b, a, b)
    rows = larger(images[:, ::2], images[:, 1::2])
    return larger(rows[:, :, ::2], rows[:, :, 1::2])


def overlapping_max_pool(images: Images) -> Images:
    """Returns for every second pixel the largest of the 3 x 3 pixels around it, channel by channel.

    There are no pixels outside the image. The gradient goes to one of them, as in `max_pool`.
    """
    _, rows, columns, _ = images.shape
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    larger = lambda a, b: jnp.where(a >= b, a, b)
    shifted = [padded[:, i : i + rows : 2, j : j + columns : 2] for i in range(3) for j in range(3)]
    return reduce(larger, shifted)
