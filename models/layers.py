"""The parts between the attentions: projections, norms, MLP, dropout, positions."""

from functools import partial
import math

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

ACTIVATIONS = {
    "gelu": partial(nnx.gelu, approximate=False),
    "gelu_tanh": partial(nnx.gelu, approximate=True),
    "relu": nnx.relu,
    "silu": nnx.silu,
    "geglu": partial(nnx.gelu, approximate=True),
    "swiglu": nnx.silu,
}
GATED = ("geglu", "swiglu")


def linear(inputs: int, outputs: int, *, bias: bool = True, dtype: str = "float32", rngs: nnx.Rngs) -> nnx.Linear:
    """x W + b, `inputs` to `outputs` wide, with W ~ N(0, 1 / inputs) cut at two sigma (LeCun et al. 1998)."""
    return nnx.Linear(inputs, outputs, use_bias=bias, dtype=jnp.dtype(dtype), rngs=rngs)


def normalisation(kind: str, width: int, rngs: nnx.Rngs, *, epsilon: float, bias: bool, dtype: str):
    """A "layer" norm (Ba et al. 2016) or "rms" norm (Zhang & Sennrich 2019) over the last axis."""
    if kind == "layer":
        return nnx.LayerNorm(width, epsilon=epsilon, use_bias=bias, dtype=jnp.dtype(dtype), rngs=rngs)
    if kind == "rms":
        return nnx.RMSNorm(width, epsilon=epsilon, dtype=jnp.dtype(dtype), rngs=rngs)
    raise ValueError(f"norm={kind!r}: expected 'layer' or 'rms'")


class Embedding(nnx.Module):
    """A table of `count` learned vectors, used to look up and, where tied, to score (Press & Wolf 2017)."""

    def __init__(self, count: int, width: int, *, scale: float = 0.02, dtype: str = "float32", rngs: nnx.Rngs):
        self.embedding = nnx.Param(scale * jax.random.normal(rngs.params(), (count, width)))
        self.dtype = dtype

    def __call__(self, indices):
        """The vectors of `indices`, one axis wider."""
        return self.embedding[...].astype(self.dtype)[indices]

    def attend(self, x_BTD):
        """Inner products with every vector: logits `BTV`."""
        return x_BTD @ self.embedding[...].astype(self.dtype).T


class Dropout(nnx.Module):
    """Zeroes entries with probability `rate` and scales the others by 1 / (1 - rate) (Srivastava et al. 2014).

    `rate` is an ordinary attribute: a program that trains many rates at once may put a traced number there.
    """

    def __init__(self, rate: float):
        if isinstance(rate, (int, float)) and not 0 <= rate < 1:
            raise ValueError(f"dropout={rate}: expected a probability, 0 <= dropout < 1")
        self.rate = rate

    def active(self, key) -> bool:
        """Whether a call with this key changes anything."""
        return key is not None and not (isinstance(self.rate, (int, float)) and self.rate == 0)

    def __call__(self, x, key):
        if not self.active(key):
            return x
        keep = jax.random.bernoulli(key, 1 - self.rate, x.shape)
        return jnp.where(keep, x / (1 - self.rate), 0).astype(x.dtype)


def split_key(key, count: int):
    """`count` new keys from `key`; as many times None where dropout is off."""
    return [None] * count if key is None else jax.random.split(key, count)


class MLP(nnx.Module):
    """Widen to `mlp_width`, activate, narrow; "geglu" and "swiglu" multiply a second, linear branch (Shazeer 2020)."""

    def __init__(
        self, *, width: int, mlp_width: int, activation: str = "gelu", bias: bool = True, dtype: str = "float32",
        rngs: nnx.Rngs,
    ):  # fmt: skip
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation={activation!r}: expected one of {', '.join(sorted(ACTIVATIONS))}")
        project = partial(linear, bias=bias, dtype=dtype, rngs=rngs)
        self.up = project(width, mlp_width)
        self.linear = project(width, mlp_width) if activation in GATED else None
        self.down = project(mlp_width, width)
        self.activation = activation

    def __call__(self, x_BTD):
        h_BTM = ACTIVATIONS[self.activation](self.up(x_BTD))
        return self.down(h_BTM if self.linear is None else h_BTM * self.linear(x_BTD))


# ---- positions ------------------------------------------------------------------------------------------------------


class Positions(nnx.Module):
    """Absolute positions on a grid, added to embeddings: a "learned" table, "sinusoidal" (fixed), or "none".

    `shape` is that of the grid: (T,) for sequences, (rows, columns) for images, read row by row.
    """

    def __init__(self, kind: str, shape: tuple[int, ...], width: int, *, rngs: nnx.Rngs):
        if kind not in ("learned", "sinusoidal", "none"):
            raise ValueError(f"positions={kind!r}: expected 'learned', 'sinusoidal' or 'none'")
        count = math.prod(shape)
        self.table = nnx.Param(0.02 * jax.random.normal(rngs.params(), (count, width))) if kind == "learned" else None
        if kind == "sinusoidal":
            sinusoids(shape, width)  # says at once if the width does not divide
        self.kind, self.shape, self.width = kind, shape, width

    def __call__(self, x_BTD, start=0):
        """Adds the vectors of positions start, start + 1, ... to `x_BTD`."""
        if self.kind == "none":
            return x_BTD
        table_TD = self.table[...] if self.kind == "learned" else jnp.asarray(sinusoids(self.shape, self.width))
        if x_BTD.shape[-2] > len(table_TD):
            raise ValueError(
                f"a sequence of {x_BTD.shape[-2]} is longer than the {len(table_TD)} positions of the model"
            )
        return x_BTD + jax.lax.dynamic_slice_in_dim(table_TD, start, x_BTD.shape[-2]).astype(x_BTD.dtype)

    def resized(self, shape: tuple[int, ...]) -> "Positions":
        """The same positions on a grid of another shape: a learned table is interpolated, see `interpolate`."""
        other = nnx.clone(self)
        other.shape = tuple(shape)
        if self.table is not None:
            other.table = nnx.Param(interpolate(self.table[...], self.shape, other.shape))
        return other


class RelativePositions(nnx.Module):
    """A learned bias on scores, one for each head and each range of distances from query to key.

    Near distances have a bucket each; the others share buckets whose ranges grow in proportion, up to `farthest` and
    beyond (Raffel et al. 2020, section 2.1). All layers of a stack share one table.
    """

    def __init__(self, heads: int, buckets: int, farthest: int, *, causal: bool, rngs: nnx.Rngs):
        self.table = nnx.Param(0.02 * jax.random.normal(rngs.params(), (buckets, heads)))
        self.farthest, self.causal = farthest, causal
        distance_buckets(np.zeros(1), buckets, farthest, causal)  # says at once if there are too few

    def __call__(self, position_T, count: int):
        """The bias (1, H, T, S) of queries at these positions on the keys 0, 1, ... S - 1."""
        table_UH = self.table[...]
        # Numbered without JAX, as the logarithm is at the edge of a range where distances are powers of two.
        bucket_of = distance_buckets(np.arange(1 - count, count), len(table_UH), self.farthest, self.causal)
        bias_TSH = table_UH[bucket_of][jnp.arange(count) - position_T[:, None] + count - 1]
        return bias_TSH.transpose(2, 0, 1)[None]


def distance_buckets(distance: np.ndarray, buckets: int, farthest: int, causal: bool) -> np.ndarray:
    """The bucket of each distance, key minus query. The future has the second half; where `causal`, none.

    Raises ValueError where there are too few buckets.
    """
    share = buckets if causal else buckets // 2
    exact = share // 2
    if exact < 1 or farthest <= exact:
        raise ValueError(
            f"relative_buckets={buckets}, relative_farthest={farthest}: expected at least {2 if causal else 4} buckets "
            f"and a distance above {max(exact, 1)}"
        )
    size = np.maximum(-distance, 0) if causal else np.abs(distance)
    scale = np.log(np.maximum(size, exact).astype(np.float32) / exact) / np.float32(math.log(farthest / exact))
    far = np.minimum(exact + (scale * (share - exact)).astype(int), share - 1)
    return np.where(size < exact, size, far).astype(int) + (0 if causal else share * (distance > 0))


def interpolate(table_TD, old: tuple[int, ...], new: tuple[int, ...]):
    """A table of positions on a grid, read between its points for a grid of another shape: linear on each axis.

    Both grids cover the same area, cell by cell (Dosovitskiy et al. 2021, section 3.2).
    """
    width = table_TD.shape[-1]
    grid = jax.image.resize(table_TD.reshape(*old, width), (*new, width), "linear", antialias=False)
    return grid.reshape(-1, width)


def sinusoids(shape: tuple[int, ...], width: int, *, longest: float = 10_000.0, dtype=np.float32) -> np.ndarray:
    """Sines and cosines of the positions on a grid of this shape, `TD`, wavelengths from 2 pi to 2 pi `longest`.

    Each axis of the grid has an equal share of the columns, sines first, then cosines. Vaswani et al. 2017, section
    3.5, has the same columns interleaved; Dosovitskiy et al. 2021, appendix D.4, the two axes of an image.
    """
    share, rest = divmod(width, 2 * len(shape))
    if rest:
        raise ValueError(
            f"sinusoidal positions on {len(shape)} axes need a width divisible by {2 * len(shape)}, not {width}"
        )
    frequency_F = longest ** (-np.arange(share) / share)
    columns = []
    for axis_T in np.indices(shape).reshape(len(shape), -1):
        angle_TF = axis_T[:, None] * frequency_F
        columns += [np.sin(angle_TF), np.cos(angle_TF)]
    return np.concatenate(columns, axis=-1).astype(dtype)


def rotate(x_BTHK, positions_T, *, longest: float = 10_000.0):
    """Rotary positions: pairs (i, i + K/2) turned by position times frequency, so that inner products see offsets only.

    Su et al. 2021, section 3.2.2, in the half-split layout.
    """
    frequency_F = longest ** (-np.arange(x_BTHK.shape[-1] // 2) / (x_BTHK.shape[-1] // 2))
    angle_T1F = (positions_T[:, None] * frequency_F)[:, None, :]
    cos, sin = jnp.cos(angle_T1F).astype(x_BTHK.dtype), jnp.sin(angle_T1F).astype(x_BTHK.dtype)
    first, second = jnp.split(x_BTHK, 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
