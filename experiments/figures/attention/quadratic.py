"""The cost of attention: twice the length takes four times the work.

Attention compares every token with every other one, so scoring, weighing and mixing grow with the square of the length.
The projections before and after treat each token by itself and grow linearly.

Formula: FLOPs of score, weigh, mix = c t^2; of the projections = c' t
Source: Lecture on transformers in computer vision, slide 32; A. Canziani, threads on attention.
Look at: the slopes in the log-log plot, 2 and 1. FLOPs are those that XLA counts in the compiled programs.
"""

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, near
from experiments.figures.style import grid
from models.scores import dot_product, mix, softargmax

LENGTHS = (256, 512, 1024, 2048, 4096)
H, K = 4, 64


def run(seed: int, *, queries: int | None = None) -> dict:
    attention = lambda q, k, v: mix(softargmax(dot_product(q, k)), v)
    heads = lambda T: jax.ShapeDtypeStruct((1, T, H, K), jnp.float32)
    square = jax.ShapeDtypeStruct((H * K, H * K), jnp.float32)
    token = lambda T: jax.ShapeDtypeStruct((T, H * K), jnp.float32)
    project = lambda x, q, k, v, o: (x @ q, x @ k, (x @ v) @ o)
    return {
        "attention": [_flops(attention, heads(queries or T), heads(T), heads(T)) for T in LENGTHS],
        "projections": [_flops(project, token(T), *[square] * 4) for T in LENGTHS],
    }


def _flops(function, *shapes) -> float:
    analysis = jax.jit(function).lower(*shapes).compile().cost_analysis()
    assert analysis is not None
    return analysis["flops"]


def _slope(flops: list[float]) -> float:
    return float(np.polyfit(np.log(LENGTHS), np.log(flops), 1)[0])


def check(results: dict) -> list[Criterion]:
    return [
        near("slope of attention", _slope(results["attention"]), 2.0, 0.02),
        near("slope of the projections", _slope(results["projections"]), 1.0, 0.02),
    ]


def plot(figure: Figure, results: dict) -> None:
    axes = figure.subplots()
    names = {"attention": "score, weigh, mix", "projections": "projections"}
    for number, (name, label) in enumerate(names.items()):
        text = f"{label}: slope {_slope(results[name]):.2f}"
        axes.loglog(LENGTHS, results[name], f"C{number}" + "os"[number] + "-", label=text)
    axes.set_xticks(LENGTHS, map(str, LENGTHS))
    axes.set_xticks([], minor=True)
    axes.set(xlabel="length (tokens)", ylabel="FLOPs, forward pass", title=f"{H} heads of size {K}")
    axes.legend(fontsize=16)
    grid(axes)
