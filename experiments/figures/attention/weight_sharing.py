"""A convolution is a dense layer that is local and shares its weights.

On a 3x3 image without padding, a 2x2 kernel has 4 outputs. As a matrix, the convolution is mostly zero, because each
output sees only nearby pixels, and its nonzero entries repeat the same 4 numbers.

Formula: parameters: dense 9 * 4 = 36, local 4 * 4 = 16, shared 4
Source: Lecture on transformers in computer vision, slide 70, which says "with padding" but counts without it.
Look at: equal colours are equal weights.
"""

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, near
from experiments.figures.style import matrix


def run(seed: int, *, padding: str = "VALID") -> dict:
    convolution = nnx.Conv(1, 1, (2, 2), padding=padding, use_bias=False, rngs=nnx.Rngs(seed))
    flat = lambda pixels: convolution(pixels.reshape(1, 3, 3, 1)).reshape(-1)
    shared = np.array(jax.jacobian(flat)(jnp.zeros(9)))  # the convolution as a matrix
    return {
        "shared": shared,
        "counts": {"dense": shared.size, "local": np.count_nonzero(shared), "shared": len(set(shared[shared != 0]))},
    }


def check(results: dict) -> list[Criterion]:
    return [near(f"parameters, {name}", results["counts"][name], value, 0)
            for name, value in {"dense": 36, "local": 16, "shared": 4}.items()]  # fmt: skip


def plot(figure: Figure, results: dict) -> None:
    panels = figure.subplots(3, 1)
    nonzero = results["shared"] != 0
    _, which = np.unique(results["shared"], return_inverse=True)
    shades = {
        "dense": np.linspace(0, 1, results["shared"].size).reshape(results["shared"].shape),
        "local": np.where(nonzero, np.cumsum(nonzero).reshape(nonzero.shape) / nonzero.sum(), np.nan),
        "shared": np.where(nonzero, which.reshape(nonzero.shape) / which.max(), np.nan),
    }
    for axes, (name, shade) in zip(panels, shades.items()):
        matrix(axes, shade, aspect="auto", vmin=-0.3, vmax=1)
        axes.set(xticks=[], yticks=[], ylabel="outputs")
        axes.set_title(f"{name}: {results['counts'][name]} parameters")
        axes.set_xticks(np.arange(10) - 0.5, [])
        axes.set_yticks(np.arange(len(shade) + 1) - 0.5, [])
        axes.grid(linewidth=1.5)
        axes.set_axisbelow(False)
    panels[-1].set_xlabel("pixels of the image")
