"""A Perceiver reads long inputs at a cost that grows linearly with their length.

A fixed number of latents attends to the input, and only the latents attend to one another. A Vision Transformer with
one token per pixel compares every pixel with every other one.

Formula: FLOPs = c + c' N M for N latents and M inputs, against c'' M + c''' M^2
Source: Lecture on transformers in computer vision, slides 66-68; Jaegle et al. 2021.
Look at: what four times the pixels add. The slope is fitted to the differences, in which the constant part cancels.
"""

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, near
from experiments.figures.style import grid
from experiments.measure.exponents import slope
from models.perceiver import Perceiver
from models.vit import VisionTransformer

SIDES = (8, 16, 32, 64)
LATENTS = 32


def run(seed: int, *, latents: int | None = LATENTS) -> dict:
    perceiver = lambda shape: Perceiver(
        image_shape=shape, latents=latents or shape[0] * shape[1], classes=10, width=64, depth=2, heads=4,
        rngs=nnx.Rngs(0),
    )  # fmt: skip
    vit = lambda shape: VisionTransformer(
        image_shape=shape, patch=1, classes=10, width=64, depth=2, heads=4, rngs=nnx.Rngs(0)
    )
    return {name: [_flops(make, (side, side, 1)) for side in SIDES]
            for name, make in {"perceiver": perceiver, "vit": vit}.items()}  # fmt: skip


def _flops(make, shape: tuple[int, int, int]) -> float:
    structure, state = nnx.split(nnx.eval_shape(lambda: make(shape)))
    forward = lambda state, images: nnx.merge(structure, state)(images)
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    analysis = jax.jit(forward).lower(state, images).cost_analysis()
    assert analysis is not None
    return analysis["flops"]


def _slope(flops: list[float]) -> float:
    """The slope of the differences between lengths: 1 if the cost is linear plus a constant, 2 if quadratic."""
    lengths = np.array(SIDES) ** 2
    return slope(lengths[:-1], np.diff(flops))


def check(results: dict) -> list[Criterion]:
    return [near("slope of the Perceiver in the length of the input", _slope(results["perceiver"]), 1.0, 0.01)]


def plot(figure: Figure, results: dict) -> None:
    axes = figure.subplots()
    lengths = np.array(SIDES) ** 2
    names = {"vit": "ViT, one token per pixel", "perceiver": f"Perceiver, {LATENTS} latents"}
    for number, (name, label) in enumerate(names.items()):
        text = f"{label}: slope {_slope(results[name]):.2f}"
        axes.loglog(lengths, results[name], f"C{1 - number}" + "so"[number] + "-", label=text)
    axes.set_xticks(lengths, [f"{side}x{side}" for side in SIDES])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="image (pixels)", ylabel="FLOPs, forward pass", title="Width 64, 2 layers, one image")
    axes.legend(fontsize=16)
    grid(axes)
