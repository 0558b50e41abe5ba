"""ConvNeXt: a convolutional network with the proportions and parts of a Swin Transformer (Liu et al. 2022).

A block is that of a transformer, in which a 7 x 7 convolution of each channel by itself takes the place of attention:

    x -> depthwise convolution -> norm -> MLP -> times a learned vector -> added to x

As in a Swin Transformer, patches are embedded first, and each further stage begins by making one pixel of four.
"""

from functools import partial

from einops import rearrange
from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float

from core.errors import UserError
from core.ranges import Depth, Dtype, Epsilon, ImageShape, ShareBelowAll, Size, Vocabulary
from models.convolution import DepthwiseConvolution, Images
from models.fields import Semantic
from models.layers import MLP, Dropout, DropoutKey, linear, normalisation, read_out
from models.transformer import LayerScale

EPSILON = 1e-6  # of all norms but the last


class ConvNeXt(nnx.Module):
    """Reads images; returns the logits of classes, which are linear in the norm of the mean over all pixels.

    Args:
      image_shape: (rows, columns, channels). Rows and columns that do not fill a patch, or that are left when four
        pixels become one, are not read.
      classes: C.
      width: channels of the first stage; each further stage has half of the rows and columns, and twice the channels.
      depths: the number of blocks of each stage.
      patch: P, the side of the square patches that become the pixels of the first stage.
      layer_scale: the first value of the vector that multiplies what a block adds; None leaves the vector out.
      activation: of the MLPs, whose hidden layers are four times as wide.
      epsilon: added to the variance in the last norm.
      dropout: on the means that the head reads.
      dtype: of the computation; parameters and logits are float32.
    """

    def __init__(
        self, *, image_shape: ImageShape, classes: Vocabulary, width: Size, depths: tuple[Depth, ...] = (3, 3, 9, 3),
        patch: Size = 4, layer_scale: LayerScale = 1e-6, activation: Semantic[str] = "gelu",
        epsilon: Semantic[Epsilon] = EPSILON, dropout: ShareBelowAll = 0.0, dtype: Dtype = "float32",
        rngs: nnx.Rngs,
    ):  # fmt: skip
        if not depths:
            raise UserError("depths=(): expected the number of blocks of each stage, such as (3, 3, 9, 3)")
        if min(image_shape[:2]) < (least := patch << (len(depths) - 1)):
            raise UserError(
                f"patch={patch} and {len(depths)} stages need images of at least {least} x {least} pixels, not "
                f"{image_shape[0]} x {image_shape[1]}: choose a smaller patch, or fewer depths"
            )
        norm = partial(normalisation, "layer", bias=True, dtype=dtype)
        self.embedding = linear(patch * patch * image_shape[2], width, dtype=dtype, rngs=rngs)
        self.embedding_norm = norm(width, rngs, epsilon=EPSILON)
        block = partial(ConvNeXtBlock, layer_scale=layer_scale, activation=activation, dtype=dtype, rngs=rngs)
        self.stages = nnx.List([
            Stage(width << number, depth, merges=number > 0, block=block, dtype=dtype, rngs=rngs)
            for number, depth in enumerate(depths)
        ])  # fmt: skip
        last_width = width << (len(depths) - 1)
        self.norm = norm(last_width, rngs, epsilon=epsilon)
        self.dropout = Dropout(dropout)
        self.head = read_out(last_width, classes, dtype=dtype, rngs=rngs)
        self.image_shape, self.patch, self.classes = image_shape, patch, classes

    def __call__(self, images: Images, *, key: DropoutKey = None) -> Float[Array, "batch classes"]:
        """Returns the logits of `images`."""
        return self.head(self.dropout(self.norm(self._stages(images)[-1].mean(axis=(1, 2))), key))

    def features(self, images: Images) -> list[Float[Array, "batch pixels channels"]]:
        """Returns the embedded patches and the output of each stage in turn, a vector for each pixel, row by row."""
        return [rearrange(x, "b r c d -> b (r c) d") for x in self._stages(images)]

    def _stages(self, images: Images) -> list[Images]:
        outputs = [self.embedding_norm(self.embedding(squares(images, self.patch)))]
        for stage in self.stages:
            outputs.append(stage(outputs[-1]))
        return outputs


class Stage(nnx.Module):
    """Blocks of one width; with `merges` after a norm and a linear map of 2 x 2 pixels of half as many channels."""

    def __init__(self, width: int, depth: int, *, merges: bool, block, dtype: str, rngs: nnx.Rngs):
        norm = partial(normalisation, "layer", epsilon=EPSILON, bias=True, dtype=dtype)
        self.merge_norm = norm(width // 2, rngs) if merges else None
        self.merge = linear(2 * width, width, dtype=dtype, rngs=rngs) if merges else None
        self.blocks = nnx.List([block(width) for _ in range(depth)])

    def __call__(self, x: Images) -> Images:
        if self.merge_norm is not None and self.merge is not None:
            x = self.merge(squares(self.merge_norm(x), 2))
        for block in self.blocks:
            x = block(x)
        return x


class ConvNeXtBlock(nnx.Module):
    """Adds to each pixel what an MLP makes of the 7 x 7 pixels around it, which it sees channel by channel."""

    def __init__(self, width: int, *, layer_scale: float | None, activation: str, dtype: str, rngs: nnx.Rngs):
        self.convolution = DepthwiseConvolution(width, side=7, dtype=dtype, rngs=rngs)
        self.norm = normalisation("layer", width, rngs, epsilon=EPSILON, bias=True, dtype=dtype)
        self.mlp = MLP(width=width, mlp_width=4 * width, activation=activation, dtype=dtype, rngs=rngs)
        self.scale = None if layer_scale is None else nnx.Param(jnp.full(width, layer_scale))

    def __call__(self, x: Images) -> Images:
        change = self.mlp(self.norm(self.convolution(x)))
        return x + (change if self.scale is None else change * self.scale[...].astype(change.dtype))


def squares(x: Images, side: int) -> Images:
    """Returns the channels of each square of `side` x `side` pixels, pixel by pixel, as those of one pixel."""
    rows, columns = (x.shape[axis] // side * side for axis in (1, 2))
    return rearrange(x[:, :rows, :columns], "b (r p) (c q) d -> b r c (p q d)", p=side, q=side)
