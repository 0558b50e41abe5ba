"""Vision Transformer: an image is a sequence of patches, read by a stack of bidirectional blocks.

Dosovitskiy et al. 2021. Unlike BERT, it embeds patches instead of tokens: by a linear map of their pixels, which is a
convolution whose stride is its size, by a few small convolutions, or by residual blocks (a hybrid). Everything behind
the embedding is the same.
"""

from functools import partial
from typing import Annotated, Any, Unpack

from einops import rearrange
from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from core.errors import UserError, shown
from core.ranges import Depth, Dtype, ImageShape, OneOf, Range, ShareBelowAll, Side, Size, Vocabulary
from models.convolution import Convolution, Images
from models.fields import Semantic, StackFields, forwards
from models.layers import Dropout, DropoutKey, linear, normalisation, read_out, split_key
from models.parametrization import scalable
from models.positions import Positions
from models.resnet import ResidualBlock, channel_norm
from models.transformer import Hidden, Stack

Interpolation = Annotated[str, OneOf(("linear", "cubic", "cubic_smoothed"))]
Registers = Annotated[int, Range(0, 1024)]


@scalable
class VisionTransformer(nnx.Module):
    """Reads images; returns what the head makes of them.

    Args:
      image_shape: (rows, columns, channels). patch: side of a patch in pixels.
      head: "classes" returns logits `BC`, "none" the last hidden states `BTD`, and "pooler" these and `BD`, a dense
        tanh layer of the pooled ones.
      classes: C, for the head "classes".
      stem: "patch" (a linear map of each patch), "convolution" (see `ConvolutionalStem`) or "resnet" (`ResidualStem`).
      width: D. depth: L. heads: H.
      pooling: what the head reads of the hidden states, "cls" (the one of a learned first token), the "mean" of the
        patches, or "cls_mean" (both, one after the other).
      registers: learned tokens in front of the patches, which the head does not read (Darcet et al. 2024).
      distilled: a second head reads the first register, and the logits are the mean of both heads': it is the
        distillation token of DeiT (Touvron et al. 2021).
      positions: "learned", "sinusoidal" (on two axes) or "none".
      embedding_norm: a norm in front of the first block, and no bias in the map of the patches (Radford et al. 2021).
      head_bias: a bias in the head.
      interpolation: how `resized` interpolates learned positions, see `models.positions.interpolate`.
      dropout: on the patch embeddings and in every block.
      dtype: of the computation; parameters and logits are float32.
      stack: further fields of `models.transformer.Stack` and `Block`.
    """

    @forwards(Stack)
    def __init__(
        self, *, image_shape: ImageShape, patch: Semantic[Side], head: str = "classes",
        classes: Vocabulary | None = None, width: Size, depth: Depth, heads: Semantic[Size], stem: str = "patch",
        pooling: Semantic[str] = "mean", registers: Registers = 0, distilled: bool = False,
        positions: str = "learned", embedding_norm: bool = False, head_bias: bool = True,
        interpolation: Semantic[Interpolation] = "linear", dropout: ShareBelowAll = 0.0,
        dtype: Dtype = "float32", rngs: nnx.Rngs, **stack: Unpack[StackFields],
    ):  # fmt: skip
        rows, columns = patch_grid(image_shape, patch)
        if pooling not in ("cls", "mean", "cls_mean"):
            raise UserError(f"pooling={shown(pooling)}: expected 'cls' or 'mean', or 'cls_mean' for both")
        if head not in ("classes", "pooler", "none"):
            raise UserError(f"head={shown(head)}: expected 'classes', 'pooler' or 'none'")
        if head == "classes" and classes is None:
            raise UserError("head='classes' needs classes, the number of classes")
        if distilled and not (registers and pooling == "cls" and head == "classes"):
            raise UserError("distilled=True needs head='classes', pooling='cls' and registers=1 or more")
        if stem not in ("patch", *STEMS):
            raise UserError(f"stem={shown(stem)}: expected 'patch', 'convolution' or 'resnet'")
        channels = image_shape[2]
        fields: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        if stem == "patch":
            self.embedding = linear(patch * patch * channels, width, bias=not embedding_norm, **fields)
        else:
            self.embedding = STEMS[stem](channels, width, patch, **fields)
        self.positions = Positions(positions, (rows, columns), width, rngs=rngs)
        token = lambda *shape: nnx.Param(0.02 * jax.random.normal(rngs.params(), shape))
        self.cls = None if pooling == "mean" else token(width)
        self.registers = token(registers, width) if registers else None
        self.dropout = Dropout(dropout)
        self.blocks = Stack(width=width, depth=depth, heads=heads, dropout=dropout, dtype=dtype, rngs=rngs, **stack)
        self.norm = self.blocks.prototype.new_norm(rngs) if embedding_norm else None
        outputs, read = width if head == "pooler" else classes, 2 * width if pooling == "cls_mean" else width
        self.head = None if head == "none" or outputs is None else read_out(read, outputs, bias=head_bias, **fields)
        self.distilled_head = read_out(width, outputs, bias=head_bias, **fields) if distilled and outputs else None
        self.patch, self.stem, self.output, self.register_count = patch, stem, head, registers
        self.pooling, self.interpolation = pooling, interpolation
        if head == "classes":
            self.classes = classes

    def __call__(self, images: Images, *, key: DropoutKey = None) -> Any:
        """Returns what the head makes of `images`."""
        first_key, blocks_key = split_key(key, 2)
        x, _ = self.blocks(self._embed(images, first_key), key=blocks_key)
        if self.head is None:
            return x.astype(jnp.float32)
        y = self.head(self._pooled(x))
        if self.distilled_head is not None:
            y = (y + self.distilled_head(x[:, 1])) / 2
        return y if self.output == "classes" else (x.astype(jnp.float32), jnp.tanh(y))

    def features(self, images: Images) -> list[Hidden]:
        """Returns the embeddings and the output of each block in turn, L + 1 arrays; the head reads the last one."""
        return self.blocks.outputs(self._embed(images, None))

    def resized(self, image_shape: ImageShape) -> "VisionTransformer":
        """Returns the same model for images of another size, with its learned positions interpolated."""
        other = nnx.clone(self)
        other.positions = self.positions.resized(patch_grid(image_shape, self.patch), self.interpolation)
        return other

    def _pooled(self, x):
        if self.pooling == "cls":
            return x[:, 0]
        mean = x[:, self.register_count + (self.cls is not None) :].mean(axis=1)
        return mean if self.cls is None else jnp.concatenate([x[:, 0], mean], axis=-1)

    def _embed(self, images, key):
        x = self.embedding(patches(images, self.patch) if self.stem == "patch" else images)
        x = self.dropout(self.positions(x), key)
        first = [] if self.cls is None else [self.cls[...][None]]
        first += [] if self.registers is None else [self.registers[...]]
        spread = lambda tokens: jnp.broadcast_to(tokens.astype(x.dtype), (len(x), *tokens.shape))
        x = jnp.concatenate([*map(spread, first), x], axis=1) if first else x
        return x if self.norm is None else self.norm(x)


class ConvolutionalStem(nnx.Module):
    """3 x 3 convolutions that halve the image until a patch is one pixel, with up to D channels, then a linear map.

    Xiao et al. 2021, section 4, with layer norms over the channels instead of batch norms.
    """

    def __init__(self, channels: int, width: int, patch: int, *, dtype: str = "float32", rngs: nnx.Rngs):
        sizes = [channels, *stem_widths(width, patch)]
        convolution = partial(nnx.Conv, kernel_size=(3, 3), strides=2, dtype=jnp.dtype(dtype), rngs=rngs)
        norm = partial(normalisation, "layer", epsilon=1e-5, bias=True, dtype=dtype)
        self.convolutions = nnx.List([convolution(a, b) for a, b in zip(sizes[:-1], sizes[1:])])
        self.norms = nnx.List([norm(size, rngs) for size in sizes[1:]])
        self.out = linear(width, width, dtype=dtype, rngs=rngs)

    def __call__(self, images: Images) -> Hidden:
        """Returns a vector for each patch, row by row."""
        x = images
        for convolution, norm in zip(self.convolutions, self.norms):
            x = nnx.relu(norm(convolution(x)))
        return self.out(rearrange(x, "b r c d -> b (r c) d"))


class ResidualStem(nnx.Module):
    """A small ResNet that halves the image until a patch is one pixel, with up to D channels, then a linear map.

    The hybrid of Dosovitskiy et al. 2021, section 3.1: the input sequence is a feature map of a ResNet.
    """

    def __init__(self, channels: int, width: int, patch: int, *, dtype: str = "float32", rngs: nnx.Rngs):
        widths = stem_widths(width, patch)
        self.convolution = Convolution(channels, widths[0], dtype=dtype, rngs=rngs)
        block = partial(ResidualBlock, stride=2, dtype=dtype, rngs=rngs)
        self.residual = nnx.List([block(a, b) for a, b in zip([widths[0], *widths[:-1]], widths)])
        self.norm = channel_norm("group", width, dtype=dtype, rngs=rngs)
        self.out = linear(width, width, dtype=dtype, rngs=rngs)

    def __call__(self, images: Images) -> Hidden:
        """Returns a vector for each patch, row by row."""
        x = self.convolution(images)
        for block in self.residual:
            x = block(x)
        return self.out(rearrange(nnx.relu(self.norm(x)), "b r c d -> b (r c) d"))


STEMS = {"convolution": ConvolutionalStem, "resnet": ResidualStem}


def stem_widths(width: int, patch: int) -> list[int]:
    """Returns the channels after each halving of the image, of which the last are `width`.

    Raises UserError if halving does not end at one pixel for each patch.
    """
    count = patch.bit_length() - 1
    if patch != 2**count or not count:
        raise UserError(f"patch={patch}: a stem of convolutions halves the image, so it needs 2, 4, 8, 16, ...")
    return [max(1, width >> halving) for halving in reversed(range(count))]


def patches(images: Images, side: int) -> Float[Array, "batch patches pixels"]:
    """Returns the square patches of images row by row, each as the flat sequence of its pixels."""
    return rearrange(images, "b (r p) (c q) d -> b (r c) (p q d)", p=side, q=side)


def patch_grid(image_shape: ImageShape, patch: int) -> tuple[int, int]:
    """Returns how many rows and columns of patches an image has. Raises UserError if its sides are not multiples."""
    rows, columns, _ = image_shape
    if rows % patch or columns % patch:
        raise UserError(f"patch={patch} must divide the image's sides, {rows} x {columns}")
    return rows // patch, columns // patch
