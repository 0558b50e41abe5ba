"""The input array of a Perceiver: for each pixel or token what it holds, and features of where it stands."""

from functools import partial
from typing import Annotated, TypedDict

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from core.errors import UserError, shown
from core.ranges import Dtype, ImageShape, Length, Range, Side, Size, Vocabulary
from models.fields import Semantic
from models.layers import Embedding, linear
from models.positions import Grid, PositionFeatures

Images = Float[Array, "batch rows columns channels"]


class InputFields(TypedDict, total=False):
    """The fields of `InputArray`."""

    image_shape: tuple[int, int, int] | None
    vocab_size: int | None
    context: int | None
    stem: str
    channels: int | None
    positions: str
    bands: int
    resolution: int | None
    position_width: int | None
    project_positions: bool
    join: str


class InputArray(nnx.Module):
    """Turns images or tokens into the array that the latents read.

    Args:
      width: D, of the latents; here the default of other sizes.
      image_shape: (rows, columns, channels), for images.
      vocab_size, context: V and the longest sequence, for tokens.
      stem: "pixel", where each pixel is an element, or "convolution" (see `shrink`), which leaves a 16th of them.
      channels: width of what an element holds: of the embedding of a token or of the convolution (default D), or of a
        linear map of a pixel (default: no map, the pixel itself).
      positions: "fourier" with `bands` frequencies, "sinusoidal", "learned" or "none".
      resolution: side of the images that the Fourier frequencies are made for (default: that of `image_shape`). If set,
        images of any size can be read.
      position_width: of sinusoidal and learned positions (default D). project_positions: a linear map of the features.
      join: the features of the position stand "beside" what an element holds, or are "added" to it.
    """

    def __init__(
        self, *, width: Size, image_shape: ImageShape | None = None, vocab_size: Vocabulary | None = None,
        context: Length | None = None, stem: str = "pixel", channels: Size | None = None, positions: str = "fourier",
        bands: Annotated[int, Range(1, 1024)] = 8, resolution: Semantic[Side | None] = None,
        position_width: Size | None = None, project_positions: Semantic[bool] = False,
        join: Semantic[str] = "beside", dtype: Dtype = "float32", rngs: nnx.Rngs,
    ):  # fmt: skip
        expect_one_of("stem", stem, ("pixel", "convolution"))
        expect_one_of("positions", positions, ("fourier", "sinusoidal", "learned", "none"))
        expect_one_of("join", join, ("beside", "added"))
        if (image_shape is None) == (vocab_size is None):
            raise UserError("expected image_shape, for images, or vocab_size, for tokens: one of the two")
        if (vocab_size is None) != (context is None):
            raise UserError("vocab_size and context belong together, for tokens: set both or neither")
        if vocab_size is not None and stem == "convolution":
            raise UserError("stem='convolution' is for images: leave it out, for tokens")
        if resolution is not None and (positions != "fourier" or image_shape is None):
            raise UserError("resolution is for images with positions='fourier': leave it out")
        if channels is None and (vocab_size is not None or stem == "convolution"):
            channels = width
        # Embeddings start as large as the features of positions that they are laid beside.
        table = partial(Embedding, scale=1.0, dtype=dtype, rngs=rngs)
        self.embedding = None if vocab_size is None or channels is None else table(vocab_size, channels)
        grid: Grid = (context or 0,)
        pixels = None
        if image_shape is not None:
            grid = tuple(image_shape[:2]) if stem == "pixel" else _shrunk(image_shape[:2])
            if channels:
                make = partial(linear if stem == "pixel" else _convolution, dtype=dtype, rngs=rngs)
                pixels = make(image_shape[2], channels)
            channels = channels or image_shape[2]
        self.pixels = pixels
        assert channels is not None
        self.positions = PositionFeatures(positions, grid, position_width or width, bands, resolution, rngs=rngs)
        columns = self.positions.columns
        if join == "added" and columns != channels:
            raise UserError(f"join='added' to {channels} channels: the positions are {columns} wide")
        self.projection = linear(columns, columns, dtype=dtype, rngs=rngs) if project_positions else None
        self.image_shape = None if image_shape is None else tuple(image_shape)
        self.content_width, self.array_width = channels, channels + (columns if join == "beside" else 0)
        self.stem, self.join, self.dtype = stem, join, dtype

    def array(
        self, images: Images | None = None, tokens: Int[Array, "batch time"] | None = None
    ) -> Float[Array, "batch elements width"]:
        """Returns for each element what it holds, with the features of its position beside it or added."""
        content = self._content(images, tokens)
        features_SF = self.position_features(content.shape[1:-1])
        features_BSF = jnp.broadcast_to(features_SF, (len(content), *features_SF.shape))
        content_BSD = content.reshape(*features_BSF.shape[:2], -1)
        if self.join == "added":
            return content_BSD + features_BSF
        return jnp.concatenate([content_BSD, features_BSF], axis=-1)

    def position_features(self, shape: Grid) -> Float[Array, "elements features"]:
        """Returns the features of the positions of an input of this shape."""
        features_SF = self.positions(shape).astype(self.dtype)
        return features_SF if self.projection is None else self.projection(features_SF)

    def _content(self, images: Images | None, tokens: Int[Array, "batch time"] | None) -> jax.Array:
        """What the elements hold: (B, T, channels), or (B, rows, columns, channels)."""
        if self.embedding is not None:
            if tokens is None:
                raise UserError("this Perceiver is built for tokens: expected the input tokens")
            return self.embedding(tokens)
        if images is None or self.image_shape is None:
            raise UserError("this Perceiver is built for images: expected the input images")
        any_size = self.positions.resolution is not None and images.shape[-1] == self.image_shape[-1]
        if images.shape[1:] != self.image_shape and not any_size:
            raise UserError(f"images of shape {images.shape[1:]}: this model is built for {self.image_shape}")
        images = images.astype(self.dtype)
        content = images if self.pixels is None else self.pixels(images)
        return content if self.stem == "pixel" else shrink(content)


def shrink(convolved: Images) -> Images:
    """Returns the ReLU of a 7 x 7 convolution of stride 2, and of each 3 x 3 neighbourhood, stride 2, the largest.

    From the ImageNet models of Jaegle et al. 2021b, whose batch norm is part of the convolution here.
    """
    return nnx.max_pool(nnx.relu(convolved), (3, 3), strides=(2, 2))


def expect_one_of(field: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises UserError if a field has none of the values that it may have."""
    if value not in choices:
        *others, last = map(repr, choices)
        raise UserError(f"{field}={shown(value)}: expected {', '.join(others)} or {last}")


def _convolution(inputs: int, outputs: int, *, dtype: str, rngs: nnx.Rngs) -> nnx.Conv:
    return nnx.Conv(inputs, outputs, kernel_size=(7, 7), strides=2, padding=3, dtype=jnp.dtype(dtype), rngs=rngs)


def _shrunk(sides: Grid) -> Grid:
    """The sides of an image behind the convolution and `shrink`."""
    halves = [(side + 1) // 2 for side in sides]
    if min(halves) < 3:
        raise UserError(f"stem='convolution' needs images of at least 5 x 5 pixels, got {sides[0]} x {sides[1]}")
    return tuple((side - 1) // 2 for side in halves)
