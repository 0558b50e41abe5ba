"""Why scores are divided by the square root of the head size.

The inner product of two random vectors of size K has variance K. If it is not divided, the scores of large heads lie so
far apart that softargmax gives nearly all the weight to one random key, and its gradient vanishes.

Formula: Var(q . k) = K for independent entries of variance 1, so Var(q . k / sqrt(K)) = 1
Source: Lecture on transformers in computer vision, slide 19; Vaswani et al. 2017, section 3.2.1.
Look at: the largest of 16 weights approaches 1 as the head size grows, unless the scores are divided.
"""

import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, near
from experiments.figures.style import grid
from models.scores import dot_product, softargmax

SIZES = (4, 16, 64, 256)
PAIRS, KEYS = 20_000, 16


def run(seed: int, *, scale: float | None = None) -> dict:
    results = {"plain": [], "scaled": [], "plain_top": [], "scaled_top": []}
    for K in SIZES:
        normal = np.random.default_rng([seed, K]).standard_normal
        query_BTHK = jnp.asarray(normal((PAIRS // KEYS, 1, 1, K), np.float32))
        key_BSHK = jnp.asarray(normal((PAIRS // KEYS, KEYS, 1, K), np.float32))
        for name, factor in (("plain", 1.0), ("scaled", scale)):
            scores_BHTS = dot_product(query_BTHK, key_BSHK, scale=factor)
            results[name].append(float(jnp.var(scores_BHTS)))
            results[f"{name}_top"].append(float(softargmax(scores_BHTS).max(-1).mean()))
    return results


def check(results: dict) -> list[Criterion]:
    plain = [near(f"Var(q . k) / K for K = {K}", v / K, 1.0, 0.05) for K, v in zip(SIZES, results["plain"])]
    return plain + [near(f"Var(q . k / sqrt(K)) for K = {K}", v, 1.0, 0.05) for K, v in zip(SIZES, results["scaled"])]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2)
    for axes, ending in ((left, ""), (right, "_top")):
        axes.plot(SIZES, results["plain" + ending], "C1s-", label=r"$q \cdot k$")
        axes.plot(SIZES, results["scaled" + ending], "C0o-", label=r"$q \cdot k / \sqrt{K}$")
        axes.set_xscale("log", base=2)
        axes.set_xticks(SIZES, SIZES)
        axes.set_xlabel("head size K")
        grid(axes, "y")
    left.set_yscale("log", base=2)
    left.set_yticks([1, *SIZES], [1, *SIZES])
    left.set(title="Variance of the scores", ylabel="variance")
    right.set(title=f"Largest of {KEYS} weights", ylabel="mean of the largest weight", ylim=(0, 1))
    right.axhline(1 / KEYS, color="C2", linestyle=":", label="uniform")
    left.legend()
    right.legend()
