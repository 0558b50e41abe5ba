"""Features of positions on a grid: Fourier features, sinusoids, or a learned table."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from models.layers import sinusoids


class PositionFeatures(nnx.Module):
    """Features of the positions on a grid of `shape`, `columns` for each.

    Args:
      kind: "fourier" (`bands` frequencies for sides of `resolution`), "sinusoidal" or "learned" (`width` wide), "none".
    """

    def __init__(
        self, kind: str, shape: tuple[int, ...], width: int, bands: int, resolution: int | None, *, rngs: nnx.Rngs
    ):  # fmt: skip
        table_shape = (int(np.prod(shape)), width)
        self.table = nnx.Param(jax.random.normal(rngs.params(), table_shape)) if kind == "learned" else None
        self.kind, self.shape, self.width, self.bands, self.resolution = kind, shape, width, bands, resolution
        self.columns = {"fourier": len(shape) * (2 * bands + 1), "none": 0}.get(kind, width)

    def __call__(self, shape: tuple[int, ...]):
        """The features `SF`: of the first positions for a sequence, of all for an image."""
        if self.kind == "fourier" and self.resolution is not None and len(shape) == 2:
            return jnp.asarray(fourier_features(shape, self.bands, self.resolution))
        length, features_SF = int(np.prod(shape)), self.table[...] if self.kind == "learned" else self._fixed()
        if length > len(features_SF):
            raise ValueError(f"a sequence of {length} is longer than the {len(features_SF)} positions of the model")
        return jnp.asarray(features_SF[:length])

    def _fixed(self):
        if self.kind == "fourier":
            return fourier_features(self.shape, self.bands, self.resolution)
        if self.kind == "sinusoidal":
            return sinusoids(self.shape, self.width)
        return np.zeros((int(np.prod(self.shape)), 0), np.float32)


def fourier_features(shape: tuple[int, ...], bands: int, resolution: int | None = None) -> np.ndarray:
    """Positions on a grid of this shape and their sines and cosines, `SD` float32 with (2 bands + 1) columns an axis.

    A position x runs from -1 to 1 along an axis of n; the angles are pi f x, for `bands` frequencies f from 1 to n / 2,
    about the finest that n points can show (Jaegle et al. 2021a, section 3.2). `resolution` takes the place of n there.
    """
    columns = []
    for size, index_S in zip(shape, np.indices(shape).reshape(len(shape), -1)):
        x_S = 2 * index_S / max(size - 1, 1) - 1
        angle_SF = np.pi * x_S[:, None] * np.linspace(1, (resolution or size) / 2, bands)
        columns += [x_S[:, None], np.sin(angle_SF), np.cos(angle_SF)]
    return np.concatenate(columns, axis=-1).astype(np.float32)
