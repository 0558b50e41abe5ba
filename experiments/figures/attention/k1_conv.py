"""A convolution of size 1 is one dense layer for every token.

Position by position the same matrix is applied, and no position sees another one. With a wider kernel each output
also depends on its neighbours.

Formula: y_t = W x_t + b, so dy_t / dx_s = W if s = t, else 0
Source: A. Canziani, threads on attention: 1x1 convolutions.
Look at: the Jacobian is a diagonal for size 1, and a band for size 3.
"""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from experiments.figures.engine import at_most
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
    """With the weights of `dense` in the middle of its kernel, and random ones beside."""
    convolution = nnx.Conv(D, OUT, (size,), rngs=nnx.Rngs(seed + 1))
    convolution.kernel[...] = convolution.kernel[...].at[size // 2].set(dense.kernel[...])
    convolution.bias[...] = dense.bias[...]
    return convolution


def _influence(layer, x_TD) -> np.ndarray:
    """Size of the Jacobian of each output token by each input token, (T, T)."""
    return np.linalg.norm(jax.jacobian(layer)(x_TD), axis=(1, 3))


def check(found: dict) -> list:
    across = found["narrow"] - np.diag(np.diag(found["narrow"]))
    return [
        at_most("largest difference between convolution and dense layer", found["difference"], 1e-6),
        at_most("largest derivative by another token", across.max(), 0.0),
    ]


def plot(figure, found: dict) -> None:
    panels = figure.subplots(1, 2)
    for axes, name, title in zip(panels, ("narrow", "wide"), ("Kernel of size 1", "Kernel of size 3")):
        image = matrix(axes, found[name], vmin=0, vmax=max(found["narrow"].max(), found["wide"].max()))
        axes.set(title=title, xlabel="input token", ylabel="output token")
        axes.set_xticks(range(T), range(1, T + 1))
        axes.set_yticks(range(T), range(1, T + 1))
    figure.colorbar(image, ax=panels, label="norm of the Jacobian", shrink=0.85)
