"""Attention is a kernel smoother if all keys have the same length.

A Gaussian kernel compares a query with a key by their distance, attention by their inner product. If all keys have the
same length, the two differ only by a constant per query, which softargmax cancels. If they do not, attention gives
longer keys more weight.

Formula: <q, k> / sqrt(d) = -|q - k|^2 / (2 h^2) + (|q|^2 + |k|^2) / (2 h^2), with h^2 = sqrt(d)
Source: V. Roth, Neural Encoder-Decoder Models: attention as a Nadaraya-Watson smoother.
Look at: all points on the left lie on the diagonal.
"""

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import grid, ink
from models.scores import dot_product, gaussian, softargmax

T, S, D = 8, 12, 16


def run(seed: int, *, equal_norms: bool = True) -> dict:
    with jax.enable_x64(True):
        query_key, key_key = jax.random.split(jax.random.key(seed))
        query_BTHK = jax.random.normal(query_key, (1, T, 1, D), jnp.float64)
        uneven = jax.random.normal(key_key, (1, S, 1, D), jnp.float64)
        even = uneven / jnp.linalg.norm(uneven, axis=-1, keepdims=True) * D**0.5
        results = {}
        for name, key_BSHK in {"equal": even if equal_norms else uneven, "unequal": uneven}.items():
            smoother = softargmax(gaussian(query_BTHK, key_BSHK, bandwidth=D**0.25))
            attention = softargmax(dot_product(query_BTHK, key_BSHK))
            results[name] = (np.array(smoother).ravel(), np.array(attention).ravel())
    return results


def check(results: dict) -> list[Criterion]:
    difference = lambda name: np.abs(results[name][0] - results[name][1]).max()
    return [
        at_most("largest difference of the weights, keys of equal length", difference("equal"), 1e-15),
        at_least("largest difference of the weights, keys of different lengths", difference("unequal"), 0.01),
    ]


def plot(figure: Figure, results: dict) -> None:
    titles = {"equal": "Keys of equal length", "unequal": "Keys of different lengths"}
    for number, (axes, name) in enumerate(zip(figure.subplots(1, 2, sharex=True, sharey=True), titles)):
        axes.axline((0, 0), slope=1, color=ink(), linewidth=1, linestyle=":")
        axes.plot(*results[name], f"C{number}" + "os"[number], markersize=7)
        axes.set(title=titles[name], xlabel="weight of the Gaussian smoother", aspect="equal")
        if number == 0:
            axes.set_ylabel("weight of attention")
        grid(axes)
