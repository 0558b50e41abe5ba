"""U-Net: an encoder that halves the image, a decoder that doubles it again, and skip connections between the two.

Ronneberger et al. 2015. The decoder knows what is in the image from below, and where exactly from the skip connection
of its own size. It says something about each pixel: a class (segmentation), or a value (denoising, inpainting).
"""

from functools import partial
from itertools import pairwise

from einops import rearrange
from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float

from core.errors import UserError
from core.ranges import Depth, Dtype, ImageShape, ShareBelowAll, Side, Size, Vocabulary
from models.convolution import Convolution, Images, max_pool
from models.fields import Semantic
from models.layers import Dropout, DropoutKey, linear, read_out, split_key
from models.resnet import channel_norm
from models.transformer import Block


class UNet(nnx.Module):
    """Reads images; returns logits of classes for each pixel, or images.

    Args:
      image_shape: (rows, columns, channels), rows and columns divisible by 2^depth.
      classes: C, the classes of a pixel. None returns images instead, with `channels` channels.
      channels: of the images that are returned (default: those of the images that are read).
      width: channels at full size, doubled each time the image is halved. depth: how often it is halved.
      skips: False leaves out the skip connections: all that is known about the image passes the smallest one.
      heads: of a transformer block between the pixels of the smallest image; None has none.
      norm: see `models.resnet.ResNet`.
      dropout: on the smallest image (Ronneberger et al. 2015, section 3.1), and in the transformer block.
      dtype: of the computation; parameters and results are float32.
    """

    def __init__(
        self, *, image_shape: ImageShape, classes: Vocabulary | None = None, channels: Side | None = None, width: Size,
        depth: Depth, skips: bool = True, heads: Semantic[Size | None] = None, norm: Semantic[str] = "group",
        dropout: ShareBelowAll = 0.0, dtype: Dtype = "float32", rngs: nnx.Rngs,
    ):  # fmt: skip
        rows, columns, inputs = image_shape
        if rows % 2**depth or columns % 2**depth:
            raise UserError(f"depth={depth}: an image of {rows} x {columns} cannot be halved that often")
        if classes is not None and channels is not None:
            raise UserError(f"classes={classes} and channels={channels}: expected one of the two")
        widths = [width << level for level in range(depth + 1)]
        double = partial(DoubleConvolution, norm=norm, dtype=dtype, rngs=rngs)
        self.down = nnx.List([double(a, b) for a, b in pairwise([inputs, *widths])])
        block = partial(Block, width=widths[-1], dropout=dropout, dtype=dtype, rngs=rngs)
        self.block = None if heads is None else block(heads=heads)
        self.dropout = Dropout(dropout)
        # A transposed 2 x 2 convolution of stride 2 is a linear map to four pixels.
        self.double = nnx.List([linear(2 * a, 4 * a, dtype=dtype, rngs=rngs) for a in reversed(widths[:-1])])
        self.up = nnx.List([double(2 * a if skips else a, a) for a in reversed(widths[:-1])])
        self.head = read_out(width, classes or channels or inputs, dtype=dtype, rngs=rngs)
        self.skips = skips
        if classes is not None:
            self.classes = classes

    def __call__(self, images: Images, *, key: DropoutKey = None) -> Float[Array, "batch rows columns outputs"]:
        """Returns the logits of a class for each pixel of `images`, or images of the same size."""
        block_key, dropout_key = split_key(key, 2)
        x, sizes = images, []
        for level, convolutions in enumerate(self.down):
            if level:
                x = max_pool(x)
            x = convolutions(x)
            sizes.append(x)
        if self.block is not None:
            tokens, _ = self.block(rearrange(x, "b r c d -> b (r c) d"), key=block_key)
            x = tokens.reshape(x.shape)
        x = self.dropout(x, dropout_key)
        for double, convolutions, skipped in zip(self.double, self.up, reversed(sizes[:-1])):
            x = rearrange(double(x), "b r c (i j d) -> b (r i) (c j) d", i=2, j=2)
            x = convolutions(jnp.concatenate([skipped, x], axis=-1) if self.skips else x)
        return self.head(x)


class DoubleConvolution(nnx.Module):
    """Two 3 x 3 convolutions, each followed by a norm and a ReLU."""

    def __init__(self, inputs: int, outputs: int, *, norm: str, dtype: str, rngs: nnx.Rngs):
        self.convolutions = nnx.List(
            [Convolution(a, outputs, bias=False, dtype=dtype, rngs=rngs) for a in (inputs, outputs)]
        )
        self.norms = nnx.List([channel_norm(norm, outputs, dtype=dtype, rngs=rngs) for _ in range(2)])

    def __call__(self, x: Images) -> Images:
        for convolution, norm in zip(self.convolutions, self.norms):
            x = nnx.relu(norm(convolution(x)))
        return x
