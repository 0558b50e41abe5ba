"""How many latents contribute to the free energy: few when it is cold, all when it is warm.

The gradient of the free energy is a mean over the latents, weighted by softargmax(-beta E). Its perplexity counts how
many of the 48 latents take part. In the middle of the ellipse, the two ends of the short axis win when it is cold, and
when it is warm every latent has the same say.

Formula: exp(H(p)) with p = softargmax(-beta E(0, z)) and H the entropy
Source: A. Canziani, latent variable energy based models: which latents contribute.
Look at: the bars around the ellipse, which are the shares of the latents, become equal.
"""

import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, near
from experiments.figures.latent.ebm_energies import RADII, model_of
from experiments.figures.style import ink
from objectives.energy import responsibilities

EXPECTED = {10.0: 11.0, 1.0: 40.6, 0.1: 47.9}


def run(seed: int, *, radii: tuple[float, float] = RADII) -> dict:
    model = model_of(radii)
    energies = model(jnp.zeros((1, 2)))[0]
    shares = {beta: np.array(responsibilities(energies, 1 / beta), np.float64) for beta in EXPECTED}
    count = {beta: float(np.exp(-(p * np.log(p)).sum())) for beta, p in shares.items()}
    return {"shares": shares, "count": count, "points": np.array(model.decode(model.grid))}


def check(results: dict) -> list[Criterion]:
    return [
        near(f"latents that contribute at beta {beta:g}", results["count"][beta], count, 0.06)
        for beta, count in EXPECTED.items()
    ]


def plot(figure: Figure, results: dict) -> None:
    for axes, (beta, shares) in zip(figure.subplots(1, 3), results["shares"].items()):
        points = results["points"]
        ends = points * (1 + 9 * shares[:, None])
        axes.plot(*np.stack([points, ends]).transpose(2, 0, 1), "C1", linewidth=3)
        axes.plot(*points.T, "C0o", markersize=4)
        axes.plot(0, 0, "+", color=ink(), markersize=14, markeredgewidth=2)
        axes.set_title(f"beta = {beta:g}", loc="center")
        axes.text(0, -3.6, f"{results['count'][beta]:.1f} of 48 contribute", ha="center", fontsize=15)
        axes.set(xlim=(-3, 3), ylim=(-4, 3.4), aspect="equal")
        axes.axis("off")
