"""Vision Transformer: an image is a sequence of patches, read by a stack of bidirectional blocks.

Dosovitskiy et al. 2021. Next to BERT the embedding of words is a linear map of patches, which is a convolution whose
stride is its size, or a few small convolutions; everything after it is the same.
"""

from functools import partial

from einops import rearrange
from flax import nnx
import jax
import jax.numpy as jnp

from models.layers import Dropout, Positions, linear, normalisation, split_key
from models.transformer import NO_SOURCE, Stack


class VisionTransformer(nnx.Module):
    """Images in, what the head gives out.

    Args:
      image_shape: (rows, columns, channels). patch: side of a patch in pixels.
      head: "classes" gives logits `BC`, "none" the last hidden states `BTD`, and "pooler" these and `BD`, a dense tanh
        layer of what is pooled of them. classes: C, of the first.
      stem: "patch" (a linear map of each patch) or "convolution" (see `ConvolutionalStem`).
      width: D. depth: L. heads: H.
      pooling: "cls" (a learned first token) or "mean".
      positions: "learned", "sinusoidal" (on two axes) or "none".
      dropout: on the patch embeddings and in every block.
      dtype: of the computation; parameters and logits are float32.
      stack: further fields of `models.transformer.Stack` and `Block`.
    """

    forwards_to, decides = Stack, NO_SOURCE

    def __init__(
        self, *, image_shape: tuple[int, int, int], patch: int, head: str = "classes", classes: int | None = None,
        width: int, depth: int, heads: int, stem: str = "patch", pooling: str = "mean", positions: str = "learned",
        dropout: float = 0.0, dtype: str = "float32", rngs: nnx.Rngs, **stack,
    ):  # fmt: skip
        rows, columns, channels = image_shape
        if rows % patch or columns % patch:
            raise ValueError(f"patch={patch} must divide the image's sides, {rows} x {columns}")
        if pooling not in ("cls", "mean"):
            raise ValueError(f"pooling={pooling!r}: expected 'cls' or 'mean'")
        if head not in ("classes", "pooler", "none"):
            raise ValueError(f"head={head!r}: expected 'classes', 'pooler' or 'none'")
        if head == "classes" and classes is None:
            raise ValueError("the head 'classes' needs to know how many classes there are")
        if stem not in ("patch", "convolution"):
            raise ValueError(f"stem={stem!r}: expected 'patch' or 'convolution'")
        if stem == "patch":
            self.embedding = linear(patch * patch * channels, width, dtype=dtype, rngs=rngs)
        else:
            self.embedding = ConvolutionalStem(channels, width, patch, dtype=dtype, rngs=rngs)
        self.positions = Positions(positions, (rows // patch, columns // patch), width, rngs=rngs)
        self.cls = nnx.Param(0.02 * jax.random.normal(rngs.params(), (width,))) if pooling == "cls" else None
        self.dropout = Dropout(dropout)
        self.blocks = Stack(width=width, depth=depth, heads=heads, dropout=dropout, dtype=dtype, rngs=rngs, **stack)
        outputs = {"classes": classes, "pooler": width}
        self.head = None if head == "none" else linear(width, outputs[head], dtype=dtype, rngs=rngs)
        self.patch, self.stem, self.output = patch, stem, head

    def __call__(self, images, *, key=None):
        """What the head makes of `images`, (B, rows, columns, channels)."""
        first_key, blocks_key = split_key(key, 2)
        x, _ = self.blocks(self._embed(images, first_key), key=blocks_key)
        if self.head is None:
            return x.astype(jnp.float32)
        y = self.head(x[:, 0] if self.cls is not None else x.mean(axis=1)).astype(jnp.float32)
        return y if self.output == "classes" else (x.astype(jnp.float32), jnp.tanh(y))

    def features(self, images):
        """The embeddings and what each block gives, first to last: L + 1 arrays `BTD`. The head reads the last."""
        return self.blocks.outputs(self._embed(images, None))

    def resized(self, image_shape: tuple[int, int, int]) -> "VisionTransformer":
        """The same model for images of another size, its learned positions interpolated."""
        rows, columns, _ = image_shape
        if rows % self.patch or columns % self.patch:
            raise ValueError(f"patch={self.patch} must divide the image's sides, {rows} x {columns}")
        other = nnx.clone(self)
        other.positions = self.positions.resized((rows // self.patch, columns // self.patch))
        return other

    def _embed(self, images, key):
        x = self.embedding(patches(images, self.patch) if self.stem == "patch" else images)
        x = self.dropout(self.positions(x), key)
        if self.cls is None:
            return x
        cls = jnp.broadcast_to(self.cls[...].astype(x.dtype), (len(x), 1, x.shape[-1]))
        return jnp.concatenate([cls, x], axis=1)


class ConvolutionalStem(nnx.Module):
    """3x3 convolutions that halve the image until a patch is one pixel, with up to D channels, then a linear map.

    Xiao et al. 2021, section 4, with layer norms over the channels in the place of batch norms.
    """

    def __init__(self, channels: int, width: int, patch: int, *, dtype: str = "float32", rngs: nnx.Rngs):
        count = patch.bit_length() - 1
        if patch != 2**count or not count:
            raise ValueError(f"patch={patch}: a convolutional stem halves, so it needs 2, 4, 8, 16, ...")
        sizes = [channels, *(max(1, width >> halving) for halving in reversed(range(count)))]
        convolution = partial(nnx.Conv, kernel_size=(3, 3), strides=2, dtype=jnp.dtype(dtype), rngs=rngs)
        norm = partial(normalisation, "layer", epsilon=1e-5, bias=True, dtype=dtype)
        self.convolutions = nnx.List([convolution(a, b) for a, b in zip(sizes[:-1], sizes[1:])])
        self.norms = nnx.List([norm(size, rngs) for size in sizes[1:]])
        self.out = linear(width, width, dtype=dtype, rngs=rngs)

    def __call__(self, images):
        """Images (B, rows, columns, channels) as sequences `BTD`, row by row."""
        x = images
        for convolution, norm in zip(self.convolutions, self.norms):
            x = nnx.relu(norm(convolution(x)))
        return self.out(rearrange(x, "b r c d -> b (r c) d"))


def patches(images, side: int):
    """Images (B, rows, columns, channels) as sequences of flattened square patches, row by row."""
    return rearrange(images, "b (r p) (c q) d -> b (r c) (p q d)", p=side, q=side)
