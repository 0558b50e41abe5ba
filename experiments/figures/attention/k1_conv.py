"""A convolution with a kernel of size 1 is one dense layer applied to every token.

The same matrix is applied at every position, and no position sees another one. With a wider kernel, each output also
depends on its neighbours.

Formula: y_t = W x_t + b, so dy_t / dx_s = W if s = t, else 0
Source: A. Canziani, threads on attention: 1x1 convolutions.
Look at: the Jacobian is a diagonal for size 1 and a band for size 3.
"""

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_most
from experiments.figures.style import matrix
from models.layers import linear

T, D, OUT = 8, 5, 3


def run(seed: int, *, size: int = 1) -> dict:
    dense = linear(D, OUT, rngs=nnx.Rngs(seed))
    x_TD = jax.random.normal(jax.random.key(seed), (T, D))
    narrow, wide = (_convolution(dense, k, seed) for k in (size, 3))
    return {
        "difference": float(jnp.abs(narrow(x_TD) - dense(x_TD)).max()),
        "narrow": _influence(narrow, x_TD),
        "wide": _influence(wide, x_TD),
    }


def _convolution(dense, size: int, seed: int):
    """A convolution whose kernel is `dense` in the middle, with random weights beside it."""
    convolution = nnx.Conv(D, OUT, (size,), rngs=nnx.Rngs(seed + 1))
    convolution.kernel[...] = convolution.kernel[...].at[size // 2].set(dense.kernel[...])
    assert convolution.bias is not None
    convolution.bias[...] = dense.bias[...]
    return convolution


def _influence(layer, x_TD) -> np.ndarray:
    """The norm of the derivative of each output token by each input token, (T, T)."""
    return np.linalg.norm(jax.jacobian(layer)(x_TD), axis=(1, 3))


def check(results: dict) -> list[Criterion]:
    off_diagonal = results["narrow"] - np.diag(np.diag(results["narrow"]))
    return [
        at_most("largest difference between convolution and dense layer", results["difference"], 1e-6),
        at_most("largest derivative by another token", off_diagonal.max(), 0.0),
    ]


def plot(figure: Figure, results: dict) -> None:
    panels = figure.subplots(1, 2)
    for axes, name, title in zip(panels, ("narrow", "wide"), ("Kernel of size 1", "Kernel of size 3")):
        matrix(axes, results[name], vmin=0, vmax=max(results["narrow"].max(), results["wide"].max()))
        axes.set(title=title, xlabel="input token", ylabel="output token")
        axes.set_xticks(range(T), range(1, T + 1))
        axes.set_yticks(range(T), range(1, T + 1))
    figure.colorbar(panels[0].images[0], ax=panels, label="norm of the Jacobian", shrink=0.85)
