"""Positions: how a model knows where an element stands. Attention by itself sees a set, without order.

| what                | how positions enter                                              | used by                     |
|---------------------|------------------------------------------------------------------|-----------------------------|
| `Positions`         | a vector for each position, added to the embeddings              | GPT, BERT, ViT, translation |
| `PositionFeatures`  | features of each position, beside the content or added to it     | Perceiver                   |
| `RelativePositions` | a bias on the attention scores, learned for ranges of distances  | T5                          |
| `rotate`            | queries and keys are rotated by an angle that grows with it      | `positions="rotary"`        |
"""

import math

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import numpy as np
from numpy.typing import DTypeLike

from core.errors import UserError, shown

Grid = tuple[int, ...]
"""The shape of the positions: (T,) for sequences, (rows, columns) for images, which are read row by row."""


class Positions(nnx.Module):
    """Absolute positions on a grid, added to embeddings: a "learned" table, "sinusoidal" (fixed), or "none".

    A learned table starts from N(0, `scale`^2).
    """

    def __init__(self, kind: str, shape: Grid, width: int, *, scale: float = 0.02, rngs: nnx.Rngs):
        if kind not in ("learned", "sinusoidal", "none"):
            raise UserError(f"positions={shown(kind)}: expected 'learned', 'sinusoidal' or 'none'")
        count = math.prod(shape)
        learned = kind == "learned"
        self.table = nnx.Param(scale * jax.random.normal(rngs.params(), (count, width))) if learned else None
        if kind == "sinusoidal":
            sinusoids(shape, width)  # raises an error now, not in the first call, if the width does not divide
        self.kind, self.shape, self.width = kind, shape, width

    def __call__(self, x_BTD: Float[Array, "batch time width"], start=0) -> Float[Array, "batch time width"]:
        """Returns `x_BTD` with the vectors of positions start, start + 1, ... added."""
        if self.kind == "none":
            return x_BTD
        table_TD = jnp.asarray(sinusoids(self.shape, self.width)) if self.table is None else self.table[...]
        if x_BTD.shape[-2] > len(table_TD):
            raise UserError(
                f"a sequence of {x_BTD.shape[-2]} is longer than the {len(table_TD)} positions of the model"
            )
        return x_BTD + jax.lax.dynamic_slice_in_dim(table_TD, start, x_BTD.shape[-2]).astype(x_BTD.dtype)

    def resized(self, shape: Grid, method: str = "linear") -> "Positions":
        """Returns the same positions on a grid of another shape; a learned table is interpolated (`interpolate`)."""
        other = nnx.clone(self)
        other.shape = tuple(shape)
        if self.table is not None:
            other.table = nnx.Param(interpolate(self.table[...], self.shape, other.shape, method))
        return other


class PositionFeatures(nnx.Module):
    """Features of the positions on a grid, as a Perceiver reads them; `columns` is their number for each position.

    Args:
      kind: "fourier" (`bands` frequencies, see `fourier_features`), "sinusoidal" or "learned" (both `width` wide), or
        "none".
      resolution: of "fourier", the side of the images that the frequencies are made for (default: that of `shape`).
    """

    def __init__(self, kind: str, shape: Grid, width: int, bands: int, resolution: int | None, *, rngs: nnx.Rngs):
        table_shape = (math.prod(shape), width)
        self.table = nnx.Param(jax.random.normal(rngs.params(), table_shape)) if kind == "learned" else None
        self.kind, self.shape, self.width, self.bands, self.resolution = kind, shape, width, bands, resolution
        self.columns: int = {"fourier": len(shape) * (2 * bands + 1), "none": 0}.get(kind, width)

    def __call__(self, shape: Grid) -> Float[Array, "positions features"]:
        """Returns the features `SF`: of the first positions for a sequence, of all positions for an image."""
        if self.kind == "fourier" and self.resolution is not None and len(shape) == 2:
            return jnp.asarray(fourier_features(shape, self.bands, self.resolution))
        length, features_SF = math.prod(shape), self._fixed() if self.table is None else self.table[...]
        if length > len(features_SF):
            raise UserError(f"a sequence of {length} is longer than the {len(features_SF)} positions of the model")
        return jnp.asarray(features_SF[:length])

    def _fixed(self) -> np.ndarray:
        if self.kind == "fourier":
            return fourier_features(self.shape, self.bands, self.resolution)
        if self.kind == "sinusoidal":
            return sinusoids(self.shape, self.width)
        return np.zeros((math.prod(self.shape), 0), np.float32)


class RelativePositions(nnx.Module):
    """A learned bias on attention scores, one for each head and each range of distances from query to key.

    Short distances have a bucket each. Longer ones share buckets whose ranges grow in proportion to the distance, up to
    `farthest`; the last bucket holds everything beyond (Raffel et al. 2020, section 2.1). All layers share one table.
    """

    def __init__(self, heads: int, buckets: int, farthest: int, *, causal: bool, rngs: nnx.Rngs):
        self.table = nnx.Param(0.02 * jax.random.normal(rngs.params(), (buckets, heads)))
        self.farthest, self.causal = farthest, causal
        distance_buckets(np.zeros(1), buckets, farthest, causal)  # raises an error now if there are too few

    def __call__(self, position_T: Int[Array, " time"], count: int) -> Float[Array, "1 heads time keys"]:
        """Returns the bias of queries at these positions on the keys at 0, 1, ... count - 1."""
        table_UH = self.table[...]
        # In NumPy: the logarithm of XLA may differ in the last bit, which matters where distances are powers of two.
        bucket_of = distance_buckets(np.arange(1 - count, count), len(table_UH), self.farthest, self.causal)
        bias_TSH = table_UH[bucket_of][jnp.arange(count) - position_T[:, None] + count - 1]
        return bias_TSH.transpose(2, 0, 1)[None]


def distance_buckets(distance: np.ndarray, buckets: int, farthest: int, causal: bool) -> np.ndarray:
    """Returns the bucket of each distance, key minus query; see `RelativePositions`.

    The future has the second half of the buckets; if `causal`, the past has all of them. Raises UserError if there are
    too few buckets.
    """
    share = buckets if causal else buckets // 2
    exact = share // 2
    if exact < 1 or farthest <= exact:
        raise UserError(
            f"relative_buckets={buckets}, relative_farthest={farthest}: expected at least {2 if causal else 4} buckets "
            f"and a distance above {max(exact, 1)}"
        )
    size = np.maximum(-distance, 0) if causal else np.abs(distance)
    scale = np.log(np.maximum(size, exact).astype(np.float32) / exact) / np.float32(math.log(farthest / exact))
    far = np.minimum(exact + (scale * (share - exact)).astype(int), share - 1)
    return np.where(size < exact, size, far).astype(int) + (0 if causal else share * (distance > 0))


def interpolate(
    table_TD: Float[Array, "old width"], old: Grid, new: Grid, method: str = "linear"
) -> Float[Array, "new width"]:
    """Returns a table of positions on a grid of shape `old`, interpolated on each axis to the shape `new`.

    Both grids cover the same area, cell by cell (Dosovitskiy et al. 2021, section 3.2).

    Args:
      method: "linear"; "cubic", by the four nearest cells; or "cubic_smoothed", by as many cells as one of the new grid
        covers.
    """
    grid = table_TD.reshape(*old, table_TD.shape[-1])
    if method == "cubic":
        for axis, sides in enumerate(zip(old, new)):
            grid = jnp.moveaxis(jnp.tensordot(_cubic_weights(*sides), grid, (1, axis)), 0, axis)
    else:
        smoothed = method == "cubic_smoothed"
        shape = (*new, table_TD.shape[-1])
        grid = jax.image.resize(grid, shape, "cubic" if smoothed else "linear", antialias=smoothed)
    return grid.reshape(-1, table_TD.shape[-1])


def _cubic_weights(old: int, new: int) -> Float[np.ndarray, "new old"]:
    """The weight of each old cell in each new one: Keys 1981 with a = -3/4; beyond the border, its last cell."""
    at_N = (np.arange(new) + 0.5) * old / new - 0.5
    weights_NO = np.zeros((new, old))
    for place in range(-1, 3):
        cell_N = np.floor(at_N).astype(int) + place
        x_N = np.abs(at_N - cell_N)
        near_N, far_N = 1.25 * x_N**3 - 2.25 * x_N**2 + 1, -0.75 * (x_N**3 - 5 * x_N**2 + 8 * x_N - 4)
        np.add.at(weights_NO, (np.arange(new), np.clip(cell_N, 0, old - 1)), np.where(x_N <= 1, near_N, far_N))
    return weights_NO.astype(np.float32)


def sinusoids(
    shape: Grid, width: int, *, longest: float = 10_000.0, dtype: DTypeLike = np.float32
) -> Float[np.ndarray, "positions width"]:
    """Returns sines and cosines of the positions on a grid, with wavelengths from 2 pi to 2 pi `longest`.

    Each axis of the grid has an equal share of the columns, sines first, then cosines. Vaswani et al. 2017, section
    3.5, interleaves the same columns; Dosovitskiy et al. 2021, appendix D.4, shares them between the axes of an image.
    """
    share, remainder = divmod(width, 2 * len(shape))
    if remainder:
        raise UserError(
            f"sinusoidal positions on {len(shape)} axes need a width divisible by {2 * len(shape)}, not {width}"
        )
    frequency_F = longest ** (-np.arange(share) / share)
    columns = []
    for axis_T in np.indices(shape).reshape(len(shape), -1):
        angle_TF = axis_T[:, None] * frequency_F
        columns += [np.sin(angle_TF), np.cos(angle_TF)]
    return np.concatenate(columns, axis=-1).astype(dtype)


def fourier_features(
    shape: Grid, bands: int, resolution: int | None = None
) -> Float[np.ndarray, "positions features"]:
    """Returns the positions on a grid with their sines and cosines, (2 bands + 1) columns for each axis.

    A position x runs from -1 to 1 along an axis of n points. The angles are pi f x, for `bands` frequencies f from 1 to
    n / 2, about the finest that n points can show (Jaegle et al. 2021a, section 3.2). `resolution` replaces n there.
    """
    columns = []
    for size, index_S in zip(shape, np.indices(shape).reshape(len(shape), -1)):
        x_S = 2 * index_S / max(size - 1, 1) - 1
        angle_SF = np.pi * x_S[:, None] * np.linspace(1, (resolution or size) / 2, bands)
        columns += [x_S[:, None], np.sin(angle_SF), np.cos(angle_SF)]
    return np.concatenate(columns, axis=-1).astype(np.float32)


def rotate(
    x_BTHK: Float[Array, "batch time heads size"], positions_T: Int[Array, " time"], *, longest: float = 10_000.0
) -> Float[Array, "batch time heads size"]:
    """Returns queries or keys with the pairs (i, i + K/2) of each head rotated by position times frequency.

    The inner product of a rotated query and a rotated key depends on the distance between their positions only (Su et
    al. 2021, section 3.2.2, in the half-split layout).
    """
    frequency_F = longest ** (-np.arange(x_BTHK.shape[-1] // 2) / (x_BTHK.shape[-1] // 2))
    angle_T1F = (positions_T[:, None] * frequency_F)[:, None, :]
    wide = jnp.promote_types(x_BTHK.dtype, jnp.float32)
    cos, sin = jnp.cos(angle_T1F).astype(wide), jnp.sin(angle_T1F).astype(wide)
    first, second = jnp.split(x_BTHK.astype(wide), 2, axis=-1)
    rotated = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return rotated.astype(x_BTHK.dtype)
