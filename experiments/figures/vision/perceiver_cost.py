"""A Perceiver reads long inputs at a cost that is linear in their length.

A fixed number of latents attends to the input, and only the latents attend to one another. A Vision Transformer with
one token a pixel compares all pixels with all.

Formula: FLOPs = c + c' N M for N latents and M inputs, against c'' M + c''' M^2
Source: Lecture on transformers in computer vision, slides 66-68; Jaegle et al. 2021.
Look at: what four times the pixels add. The slope is that of the differences, which leaves out what is constant.
"""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from experiments.figures.engine import near
from experiments.figures.style import grid
from models.perceiver import Perceiver
from models.vit import VisionTransformer

SIDES = (8, 16, 32, 64)
LATENTS = 32


def run(seed: int, *, latents: int | None = LATENTS) -> dict:
    shared = dict(classes=10, width=64, depth=2, heads=4)
    reads = lambda shape: Perceiver(
        image_shape=shape, latents=latents or shape[0] * shape[1], rngs=nnx.Rngs(0), **shared
    )
    compares = lambda shape: VisionTransformer(image_shape=shape, patch=1, rngs=nnx.Rngs(0), **shared)
    return {name: [_flops(make, (side, side, 1)) for side in SIDES]
            for name, make in {"perceiver": reads, "vit": compares}.items()}  # fmt: skip


def _flops(make, shape: tuple[int, int, int]) -> float:
    structure, state = nnx.split(nnx.eval_shape(lambda: make(shape)))
    forward = lambda state, images: nnx.merge(structure, state)(images)
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    return jax.jit(forward).lower(state, images).cost_analysis()["flops"]


def _slope(flops: list[float]) -> float:
    """Of the differences between lengths, in logarithms: 1 if linear whatever is constant, 2 if quadratic."""
    lengths = np.array(SIDES) ** 2
    return float(np.polyfit(np.log(lengths[:-1]), np.log(np.diff(flops)), 1)[0])


def check(found: dict) -> list:
    return [near("slope of the Perceiver in the length of the input", _slope(found["perceiver"]), 1.0, 0.01)]


def plot(figure, found: dict) -> None:
    axes = figure.subplots()
    lengths = np.array(SIDES) ** 2
    names = {"vit": "ViT, one token a pixel", "perceiver": f"Perceiver, {LATENTS} latents"}
    for number, (name, label) in enumerate(names.items()):
        text = f"{label}: slope {_slope(found[name]):.2f}"
        axes.loglog(lengths, found[name], f"C{1 - number}" + "so"[number] + "-", label=text)
    axes.set_xticks(lengths, [f"{side}x{side}" for side in SIDES])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="image (pixels)", ylabel="FLOPs, forward", title="Width 64, 2 layers, one image")
    axes.legend(fontsize=16)
    grid(axes)
