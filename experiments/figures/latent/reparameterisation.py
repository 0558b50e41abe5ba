"""Two ways to differentiate through a draw.

The gradient of an expectation over q is wanted, by a parameter of q. Written as mean plus deviation times noise, the
draw itself has a derivative. The score-function estimator needs none, and pays with variance.

Formula: d/dmu E[z^2] = 2 mu = E[2 (mu + s e)] = E[z^2 (z - mu) / s^2], with z = mu + s e, e ~ N(0, 1)
Source: V. Roth, Neural Encoder-Decoder Models; Kingma & Welling 2014, section 2.4.
Look at: both have the mean 2, with variances 4 and 30. The peak of the wider one at 0 goes beyond the picture.
"""

import jax
import numpy as np

from experiments.figures.engine import at_most, near
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

    each = lambda value: np.array(jax.jit(jax.vmap(jax.grad(value), (None, 0)))(MEAN, noise), np.float64)
    return {"path": each(path), "score": each(score)}


def check(found: dict) -> list:
    return [
        near("mean of the reparameterised gradient", found["path"].mean(), 2 * MEAN, 0.02),
        near("mean of the score-function gradient", found["score"].mean(), 2 * MEAN, 0.1),
        at_most("variance, reparameterised over score-function", found["path"].var() / found["score"].var(), 0.2),
    ]


def plot(figure, found: dict) -> None:
    left, right = figure.subplots(1, 2)
    names = {"score": "score function", "path": "reparameterised"}
    counts = 2 ** np.arange(0, 12)
    for number, (name, label) in enumerate(names.items()):
        colour = f"C{1 - number}"
        left.hist(found[name], np.linspace(-8, 12, 81), density=True, color=colour, alpha=0.65, label=label)
        means = [found[name][: len(found[name]) // c * c].reshape(-1, c).mean(1).std() for c in counts]
        right.loglog(counts, means, colour + "so"[number] + "-", label=label)
    left.axvline(2 * MEAN, ymax=0.8, color=ink(), linestyle=":")
    left.set(xlabel="gradient from one draw", ylabel="density", title="One draw (dotted: the truth)", ylim=(0, 0.45))
    left.legend(loc="upper right", fontsize=12)
    right.set(xlabel="draws averaged", ylabel="standard deviation", title="How far off their mean is")
    right.legend()
    grid(right)
