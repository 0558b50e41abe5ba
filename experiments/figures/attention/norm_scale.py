"""Normalisation removes the scale of what a layer receives.

However large or small earlier layers make the activations, after the norm they have the same size, and so have the
gradients that come back from later layers.

Formula: norm(c x) = norm(x) for c > 0, up to the epsilon under the root
Source: V. Roth, Neural Encoder-Decoder Models: residual blocks and normalisation; Ba et al. 2016.
Look at: the flat lines. On the far left, epsilon is no longer small compared with the variance.
"""

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_most
from experiments.figures.style import grid
from models.layers import normalisation

WIDTH = 64
SCALES = np.logspace(-4, 3, 29)


def run(seed: int, *, normalise: bool = True) -> dict:
    x = jax.random.normal(jax.random.key(seed), (10, WIDTH))
    norm = lambda kind: normalisation(kind, WIDTH, nnx.Rngs(seed), epsilon=1e-5, bias=True, dtype="float32")
    results = {}
    for kind in ("layer", "rms", "none"):
        layer = norm(kind) if normalise and kind != "none" else lambda x: x
        results[kind] = {
            "change": float(jnp.abs(layer(100 * x) - layer(x)).max()),
            "sizes": [float(jnp.sqrt(jnp.mean(layer(scale * x) ** 2))) for scale in SCALES],
        }
    return results


def check(results: dict) -> list[Criterion]:
    return [at_most(f"largest change of the output for 100 times the input, {kind} norm", results[kind]["change"], 1e-4)
            for kind in ("layer", "rms")]  # fmt: skip


def plot(figure: Figure, results: dict) -> None:
    axes = figure.subplots()
    names = {"layer": "layer norm", "rms": "RMS norm", "none": "no norm"}
    for number, (kind, label) in enumerate(names.items()):
        style = dict(color=f"C{(0, 2, 1)[number]}", marker="os^"[number], markevery=(number, 3), label=label)
        axes.loglog(SCALES, results[kind]["sizes"], linewidth=(6, 2.5, 2.5)[number], **style)
    axes.set(xlabel="factor on the input", ylabel="size of the output (root mean square)")
    axes.set_title("The norm removes the scale")
    axes.legend(loc="upper left")
    grid(axes)
