"""ResNet: convolutions in residual blocks, so that a deep network is a sum of small corrections to its input.

He et al. 2016a ("Deep residual learning"), by default in the pre-activation form of He et al. 2016b ("Identity
mappings"), whose residual path nothing interrupts. The norm has no running statistics, as a model here holds parameters
only: group norm (Wu & He 2018) in place of batch norm. Batch norm that no longer changes is a scale and a shift of what
a convolution returns, so a part of that convolution: `norm="none"`, as in published networks (`models.pretrained`).
"""

from functools import partial
from itertools import pairwise

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from core.errors import UserError, shown
from core.ranges import Depth, Dtype, ImageShape, ShareBelowAll, Size, Vocabulary
from models.convolution import Convolution, Images, overlapping_max_pool
from models.fields import Semantic
from models.layers import Dropout, DropoutKey, linear, normalisation, read_out

GROUP = 16  # channels of a group, the best of Wu & He 2018, table 3
BLOCKS, STEMS, ORDERS = ("basic", "bottleneck"), ("small", "large"), ("pre", "post")


class ResNet(nnx.Module):
    """Reads images; returns the logits of classes, which are linear in the mean over all pixels.

    Args:
      image_shape: (rows, columns, channels).
      head: "classes" returns logits `BC`; "none" the pixels of the last stage, row by row, as `BSD`.
      classes: C, for the head "classes".
      width: channels of the first stage. Each further stage halves the image and has twice as many.
      depths: the number of blocks of each stage.
      stem: "small" (a 3 x 3 convolution) or "large" (7 x 7 with a step of 2, then the largest of 3 x 3 pixels with a
        step of 2, so an image of a quarter of the rows and columns). stem_width: its channels (default `width`).
      block: "basic" (two 3 x 3 convolutions) or "bottleneck" (1 x 1, 3 x 3 and 1 x 1; the channels of its 3 x 3
        convolution are a quarter of those of the stage).
      norm: "group" (over groups of 16 channels and all pixels), "layer" or "rms" (over the channels of a pixel), or
        "none".
      norm_order: "pre" (norm and ReLU before each convolution) or "post" (behind it, as in He et al. 2016a).
      dropout: on the means that the head reads.
      dtype: of the computation; parameters and logits are float32.
    """

    def __init__(
        self, *, image_shape: ImageShape, head: str = "classes", classes: Vocabulary | None = None, width: Size,
        depths: tuple[Depth, ...] = (2, 2, 2), stem: str = "small", stem_width: Size | None = None,
        block: str = "basic", norm: Semantic[str] = "group", norm_order: Semantic[str] = "pre",
        dropout: ShareBelowAll = 0.0, dtype: Dtype = "float32", rngs: nnx.Rngs,
    ):  # fmt: skip
        if head not in ("classes", "none"):
            raise UserError(f"head={shown(head)}: expected 'classes' or 'none'")
        if head == "classes" and classes is None:
            raise UserError("head='classes' needs classes, the number of classes")
        if not depths:
            raise UserError("depths=(): expected the number of blocks of each stage, such as (2, 2, 2)")
        fields = {"block": (block, BLOCKS), "stem": (stem, STEMS), "norm_order": (norm_order, ORDERS)}
        for name, (value, choices) in fields.items():
            if value not in choices:
                raise UserError(f"{name}={shown(value)}: expected {choices[0]!r} or {choices[1]!r}")
        if block == "bottleneck" and width % 4:
            raise UserError(f"width={width}: block='bottleneck' needs a multiple of 4")
        make = partial(ResidualBlock, block=block, norm=norm, norm_order=norm_order, dtype=dtype, rngs=rngs)
        widths = [stem_width or width, *(width * 2**stage for stage in range(len(depths)))]
        side, step = (3, 1) if stem == "small" else (7, 2)
        self.stem = Convolution(image_shape[2], widths[0], side=side, stride=step, dtype=dtype, rngs=rngs)
        self.stages = nnx.List([
            nnx.List([
                make(inputs if first else outputs, outputs, stride=2 if stage and first else 1)
                for first in [True, *[False] * (depth - 1)]
            ])
            for stage, ((inputs, outputs), depth) in enumerate(zip(pairwise(widths), depths))
        ])  # fmt: skip
        # Before the last ReLU, or behind the first convolution.
        self.norm = channel_norm(norm, widths[-1 if norm_order == "pre" else 0], dtype=dtype, rngs=rngs)
        self.dropout = Dropout(dropout)
        outputs = classes if head == "classes" else None
        self.head = None if outputs is None else read_out(widths[-1], outputs, dtype=dtype, rngs=rngs)
        self.image_shape, self.pools, self.pre = image_shape, stem == "large", norm_order == "pre"
        if outputs is not None:
            self.classes = outputs

    def __call__(
        self, images: Images, *, key: DropoutKey = None
    ) -> Float[Array, "batch classes"] | Float[Array, "batch pixels channels"]:  # fmt: skip
        """Returns the logits of `images`, or without a head the pixels of the last stage."""
        x = self._stages(images)[-1]
        x = nnx.relu(self.norm(x)) if self.pre else x
        if self.head is None:
            return self.dropout(x.reshape(len(x), -1, x.shape[-1]), key).astype(jnp.float32)
        return self.head(self.dropout(x.mean(axis=(1, 2)), key))

    def features(self, images: Images) -> list[Float[Array, "batch pixels channels"]]:
        """Returns the output of the stem and of each stage in turn, one vector for each pixel, row by row."""
        return [x.reshape(len(x), -1, x.shape[-1]) for x in self._stages(images)]

    def _stages(self, images: Images) -> list[Images]:
        x = self.stem(images)
        x = x if self.pre else nnx.relu(self.norm(x))
        x = overlapping_max_pool(x) if self.pools else x
        outputs = [x]
        for stage in self.stages:
            for block in stage:
                x = block(x)
            outputs.append(x)
        return outputs


class ResidualBlock(nnx.Module):
    """Returns its input plus a correction of it: norm and ReLU before each convolution (He et al. 2016b, figure 4e).

    With `norm_order="post"`, they follow each convolution, and the last ReLU follows the sum (figure 4a). Where the
    number of channels or pixels changes, the input passes a 1 x 1 convolution: behind the first norm and ReLU, or
    before a norm of its own.
    """

    def __init__(
        self, inputs: int, outputs: int, *, stride: int, block: str = "basic", norm: str = "group",
        norm_order: str = "pre", dtype: str = "float32", rngs: nnx.Rngs,
    ):  # fmt: skip
        convolution = partial(Convolution, dtype=dtype, rngs=rngs)
        if block == "basic":
            widths, sides, strides = [inputs, outputs, outputs], (3, 3), (stride, 1)
        else:  # the 3 x 3 convolution makes the step: version 1.5
            widths, sides, strides = [inputs, outputs // 4, outputs // 4, outputs], (1, 3, 1), (1, stride, 1)
        parts = list(zip(pairwise(widths), sides, strides))
        self.pre = norm_order == "pre"
        any_norm = partial(channel_norm, norm, dtype=dtype, rngs=rngs)
        self.norms = nnx.List([any_norm(a if self.pre else b) for (a, b), _, _ in parts])
        self.convolutions = nnx.List([convolution(a, b, side=side, stride=step) for (a, b), side, step in parts])
        changes = inputs != outputs or stride != 1
        self.shortcut = linear(inputs, outputs, bias=not self.pre, dtype=dtype, rngs=rngs) if changes else None
        self.shortcut_norm = any_norm(outputs) if changes and not self.pre else None
        self.stride = stride

    def __call__(self, x: Images) -> Images:
        return self._pre(x) if self.pre else self._post(x)

    def _pre(self, x: Images) -> Images:
        residual = x
        for number, (norm, convolution) in enumerate(zip(self.norms, self.convolutions)):
            x = nnx.relu(norm(x))
            if number == 0 and self.shortcut is not None:
                residual = self.shortcut(x[:, :: self.stride, :: self.stride])
            x = convolution(x)
        return residual + x

    def _post(self, x: Images) -> Images:
        residual = x
        if self.shortcut is not None and self.shortcut_norm is not None:
            residual = self.shortcut_norm(self.shortcut(x[:, :: self.stride, :: self.stride]))
        for number, (norm, convolution) in enumerate(zip(self.norms, self.convolutions)):
            x = norm(convolution(nnx.relu(x) if number else x))
        return nnx.relu(residual + x)


class GroupNorm(nnx.Module):
    """Normalises groups of channels over all pixels of one image (Wu & He 2018).

    A group has 16 channels; channels that 16 does not divide are one group.
    """

    def __init__(self, channels: int, *, epsilon: float = 1e-5, dtype: str = "float32", rngs: nnx.Rngs):
        self.scale, self.bias = nnx.Param(jnp.ones(channels)), nnx.Param(jnp.zeros(channels))
        self.groups = channels // GROUP if channels % GROUP == 0 else 1
        self.epsilon, self.dtype = epsilon, dtype

    def __call__(self, x: Images) -> Images:
        wide = jnp.promote_types(x.dtype, jnp.float32)
        grouped = x.astype(wide).reshape(len(x), -1, self.groups, x.shape[-1] // self.groups)
        mean = grouped.mean(axis=(1, 3), keepdims=True)
        variance = jnp.square(grouped - mean).mean(axis=(1, 3), keepdims=True)
        normed = ((grouped - mean) * jax.lax.rsqrt(variance + self.epsilon)).reshape(x.shape)
        return (normed * self.scale[...] + self.bias[...]).astype(self.dtype)


class Unchanged(nnx.Module):
    """Returns its input: the norm "none"."""

    def __call__(self, x: Images) -> Images:
        return x


def channel_norm(kind: str, channels: int, *, dtype: str, rngs: nnx.Rngs):
    """Returns a norm of images: "group", "none", or one over the channels of each pixel (`models.layers`)."""
    if kind == "group":
        return GroupNorm(channels, dtype=dtype, rngs=rngs)
    if kind == "none":
        return Unchanged()
    if kind not in ("layer", "rms"):
        raise UserError(f"norm={shown(kind)}: expected 'group', 'layer', 'rms' or 'none'")
    return normalisation(kind, channels, rngs, epsilon=1e-5, bias=True, dtype=dtype)
