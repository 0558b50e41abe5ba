"""Attention is a kernel smoother, if all keys are equally long.

A Gaussian kernel compares by distance, attention by inner product. For keys of one length the two differ by a
constant for each query, which softargmax does not see. Keys of different lengths get another weight: longer, louder.

Formula: <q, k> / sqrt(d) = -|q - k|^2 / (2 h^2) + (|q|^2 + |k|^2) / (2 h^2), with h^2 = sqrt(d)
Source: V. Roth, Neural Encoder-Decoder Models: attention as a Nadaraya-Watson smoother.
Look at: on the left all points lie on the diagonal.
"""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.figures.engine import at_least, at_most
from experiments.figures.style import grid, ink
from models.attention import dot_product, gaussian, softargmax

T, S, D = 8, 12, 16


def run(seed: int, *, equal_norms: bool = True) -> dict:
    with jax.enable_x64(True):
        query_key, key_key = jax.random.split(jax.random.key(seed))
        query_BTHK = jax.random.normal(query_key, (1, T, 1, D), jnp.float64)
        uneven = jax.random.normal(key_key, (1, S, 1, D), jnp.float64)
        even = uneven / jnp.linalg.norm(uneven, axis=-1, keepdims=True) * D**0.5
        found = {}
        for name, key_BSHK in {"equal": even if equal_norms else uneven, "unequal": uneven}.items():
            smoother = softargmax(gaussian(query_BTHK, key_BSHK, bandwidth=D**0.25))
            found[name] = (np.array(smoother).ravel(), np.array(softargmax(dot_product(query_BTHK, key_BSHK))).ravel())
    return found


def check(found: dict) -> list:
    far = lambda name: np.abs(found[name][0] - found[name][1]).max()
    return [
        at_most("largest difference of weights, keys of equal length", far("equal"), 1e-15),
        at_least("largest difference of weights, keys of different lengths", far("unequal"), 0.01),
    ]


def plot(figure, found: dict) -> None:
    titles = {"equal": "Keys of equal length", "unequal": "Keys of different lengths"}
    for number, (axes, name) in enumerate(zip(figure.subplots(1, 2, sharex=True, sharey=True), titles)):
        axes.axline((0, 0), slope=1, color=ink(), linewidth=1, linestyle=":")
        axes.plot(*found[name], f"C{number}" + "os"[number], markersize=7)
        axes.set(title=titles[name], xlabel="weight of the Gaussian smoother", aspect="equal")
        if number == 0:
            axes.set_ylabel("weight of attention")
        grid(axes)
