"""Regression as a lookup: predictions are weighted sums of the observed values.

Kernel ridge regression solves a linear system for its weights. They may be negative and need not sum to 1, so it is not
attention. The Nadaraya-Watson smoother takes its weights from softargmax. It always averages, and so it flattens peaks.

Formula: f(x) = K(x, X) (K + lambda I)^-1 y, against sum_i softargmax_i(-(x - x_i)^2 / (2 h^2)) y_i
Source: V. Roth, Neural Encoder-Decoder Models; Murphy, Probabilistic Machine Learning (2022), figure 16.6.
Look at: the smoother misses the peaks; on the right, some weights of ridge regression at the marked x are negative.
"""

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
from sklearn.kernel_ridge import KernelRidge

from experiments.figures.engine import Criterion, at_most, near
from experiments.figures.style import grid, ink
from models.scores import gaussian, mix, ridge, softargmax

N, BANDWIDTH, STRENGTH = 50, 1.0, 0.5
QUERY = np.linspace(0, 5, 200)


def run(seed: int, *, strength: float = STRENGTH) -> dict:
    generator = np.random.default_rng(seed)
    x = np.sort(generator.uniform(0, 5, N))
    y = _truth(x) + generator.normal(0, 0.5, N)
    with jax.enable_x64(True):
        one = lambda values: jnp.asarray(values, jnp.float64).reshape(1, -1, 1, 1)
        score = lambda a, b: gaussian(one(a), one(b), bandwidth=BANDWIDTH)
        solve = ridge(jnp.exp(score(x, x)), strength)
        weights = {"ridge": solve(jnp.exp(score(QUERY, x)), None), "smoother": softargmax(score(QUERY, x))}
        curves = {name: np.array(mix(w, one(y))).ravel() for name, w in weights.items()}
    sklearn = KernelRidge(kernel="rbf", gamma=1 / (2 * BANDWIDTH**2)).set_params(alpha=STRENGTH).fit(x[:, None], y)
    return {
        "x": x, "y": y, "curves": curves | {"mean": np.full(len(QUERY), y.mean())},
        "sklearn": sklearn.predict(QUERY[:, None]),
        "weights": {name: np.array(w)[0, 0] for name, w in weights.items()},
    }  # fmt: skip


def _truth(x):
    return 2 * np.sin(x) + x**0.8


def _error(results: dict, name: str) -> float:
    return float(np.sqrt(np.mean((results["curves"][name] - _truth(QUERY)) ** 2)))


def check(results: dict) -> list[Criterion]:
    difference = np.abs(results["curves"]["ridge"] - results["sklearn"]).max() / np.abs(results["sklearn"]).max()
    return [
        at_most("largest difference from scikit-learn, relative to the largest value", difference, 1e-14),
        Criterion("error of kernel ridge regression", _error(results, "ridge"), 0.15, 0.28),
        # The smoother's error depends on the 50 points: 0.53 to 0.74 over eight draws.
        Criterion("error of the smoother", _error(results, "smoother"), 0.5, 0.78),
        near("error of predicting the mean", _error(results, "mean"), 0.94, 0.03),
        at_most("smallest weight of kernel ridge regression", results["weights"]["ridge"].min(), -0.01),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
    left.plot(results["x"], results["y"], "o", color=ink(), markersize=5, alpha=0.5)
    left.plot(QUERY, _truth(QUERY), color=ink(), linestyle=":", label="truth")
    names = {"ridge": "kernel ridge", "smoother": "smoother", "mean": "mean"}
    for number, (name, label) in enumerate(names.items()):
        text = f"{label}: error {_error(results, name):.2f}"
        left.plot(QUERY, results["curves"][name], f"C{number}", label=text)
    left.axvline(QUERY[60], color="C3", linestyle="--", linewidth=1.5)
    left.set(xlabel="x", ylabel="y", title=f"{N} points, three predictions", ylim=(-1, 7.8))
    left.legend(loc="upper right", fontsize=12)
    for number, name in enumerate(results["weights"]):
        weights = results["weights"][name][60]
        right.plot(results["x"], weights, f"C{number}" + "os"[number] + "-", markersize=5, label=names[name])
    right.axhline(0, color=ink(), linewidth=1)
    right.axvline(QUERY[60], color="C3", linestyle="--", linewidth=1.5)
    right.set(xlabel="x of the point", ylabel="weight", title=f"Weights for x = {QUERY[60]:.1f}")
    right.legend(loc="upper right", fontsize=12)
    for axes in (left, right):
        grid(axes)
