"""Softargmax turns into argmax as beta grows.

The inverse temperature beta says how decisive the choice is. At 0 all keys count equally; at large values only the best
key counts. What most libraries call softmax is this softargmax.

Formula: w_s = exp(beta a_s) / sum_r exp(beta a_r); entropy H = -sum_s w_s ln w_s, from ln n down to 0
Source: A. Canziani, threads on attention: hard and soft attention.
Look at: the entropy starts at ln 6 = 1.79 nats and never rises.
"""

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_most, near
from experiments.figures.style import grid, ink
from models.scores import hardargmax, softargmax

N = 6


def run(seed: int, *, sign: int = 1) -> dict:
    scores = jax.random.permutation(jax.random.key(seed), jnp.linspace(-1.0, 1.0, N))
    betas = np.concatenate([[0.0], np.logspace(-2, 4, 121)])
    weights = np.array([softargmax(scores, beta=sign * beta) for beta in betas], np.float64)
    entropy = -(weights * np.log(np.where(weights > 0, weights, 1))).sum(-1)
    return {"betas": betas, "weights": weights, "entropy": entropy, "hard": np.array(hardargmax(scores))}


def check(results: dict) -> list[Criterion]:
    from_argmax = np.abs(results["weights"][-1] - results["hard"]).max()
    return [
        near("entropy at beta = 0, nats", results["entropy"][0], np.log(N), 1e-6),
        at_most("largest rise of the entropy as beta grows", np.diff(results["entropy"]).max(), 1e-6),
        at_most("largest difference from argmax at beta = 10,000", from_argmax, 1e-6),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2)
    inside = slice(1, 101)
    for number, weights in enumerate(results["weights"].T):
        best = results["hard"][number] == 1
        style = dict(color="C1", linewidth=4, label="the best key") if best else dict(color="C0", linewidth=2)
        left.semilogx(results["betas"][inside], weights[inside], **style)
    left.plot([], [], color="C0", label="the other five")
    left.legend(loc="upper left", bbox_to_anchor=(0, 0.9))
    left.set(xlabel=r"inverse temperature $\beta$", ylabel="weight", title="Weights")
    right.semilogx(results["betas"][inside], results["entropy"][inside], color="C2", linewidth=4)
    right.axhline(np.log(N), color=ink(), linewidth=1.5, linestyle=":")
    right.text(1e3, np.log(N) - 0.05, "ln 6", ha="right", va="top")
    right.set(xlabel=r"inverse temperature $\beta$", ylabel="entropy (nats)", title="Entropy of the weights")
    for axes in (left, right):
        grid(axes)
