"""Two ways to differentiate an expectation through random draws.

The aim is the gradient of an expectation over q with respect to a parameter of q. Written as mean plus deviation times
noise, the draw itself can be differentiated. The score-function estimator does not need that, but has more variance.

Formula: d/dmu E[z^2] = 2 mu = E[2 (mu + s e)] = E[z^2 (z - mu) / s^2], with z = mu + s e, e ~ N(0, 1)
Source: V. Roth, Neural Encoder-Decoder Models; Kingma & Welling 2014, section 2.4.
Look at: both have mean 2, but variances 4 and 30. The score function's peak at 0 is cut off at the top.
"""

import jax
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_most, near
from experiments.figures.style import grid, ink

DRAWS, MEAN, DEVIATION = 200_000, 1.0, 1.0


def run(seed: int, *, through_the_draw: bool = True) -> dict:
    noise = jax.random.normal(jax.random.key(seed), (DRAWS,))

    def path(mean, e):
        z = mean + DEVIATION * e
        return (z if through_the_draw else jax.lax.stop_gradient(z)) ** 2

    def score(mean, e):
        z = jax.lax.stop_gradient(mean + DEVIATION * e)
        return z**2 * -(((z - mean) / DEVIATION) ** 2) / 2

    gradients = lambda value: np.array(jax.jit(jax.vmap(jax.grad(value), (None, 0)))(MEAN, noise), np.float64)
    return {"path": gradients(path), "score": gradients(score)}


def check(results: dict) -> list[Criterion]:
    return [
        near("mean of the reparameterised gradient", results["path"].mean(), 2 * MEAN, 0.02),
        near("mean of the score-function gradient", results["score"].mean(), 2 * MEAN, 0.1),
        at_most("variance, reparameterised over score-function", results["path"].var() / results["score"].var(), 0.2),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2)
    names = {"score": "score function", "path": "reparameterised"}
    counts = 2 ** np.arange(0, 12)
    for number, (name, label) in enumerate(names.items()):
        colour = f"C{1 - number}"
        left.hist(results[name], np.linspace(-8, 12, 81), density=True, color=colour, alpha=0.65, label=label)
        means = [results[name][: len(results[name]) // c * c].reshape(-1, c).mean(1).std() for c in counts]
        right.loglog(counts, means, colour + "so"[number] + "-", label=label)
    left.axvline(2 * MEAN, ymax=0.8, color=ink(), linestyle=":")
    left.set(xlabel="gradient from one draw", ylabel="density", title="One draw (dotted: true value)", ylim=(0, 0.45))
    left.legend(loc="upper right", fontsize=12)
    right.set(xlabel="draws averaged", ylabel="standard deviation", title="Error of the mean of several draws")
    right.legend()
    grid(right)
