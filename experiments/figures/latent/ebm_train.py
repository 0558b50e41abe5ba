"""Trained cold, the model finds the ellipse; trained warm, it averages its latents away.

Twenty-four points of an ellipse are all there is. Trained at temperature 0, each point pulls the one decoded point
that is nearest, and both axes are learned. The warmer, the more latents each point pulls at once. At last every latent
has to be close to every point, and the best that can be done is to shrink the ellipse to the mean of the data: the
answer of the squared error.

Formula: min_w 1/24 sum_y F_beta(y), with E(y, z) = |y - (w_1 cos z, w_2 sin z)|^2
Source: A. Canziani, latent variable energy based models: training.
Look at: the learned ellipses shrink to a point as beta falls.
"""

from typing import cast

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax

from data.ellipses import RADII, ellipse
from experiments.figures.engine import Criterion, at_most
from experiments.figures.style import grid, ink
from models import LatentEnergy
from objectives import energy
from training.state import merge, split

BETAS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
STEPS = 400


def run(seed: int, *, coldest: float = 0.0) -> dict:
    source = ellipse().train
    batch = source.examples(np.arange(len(source)))
    fit = jax.jit(lambda temperature: _fit(seed, batch, temperature))
    cold = jax.jit(lambda: _fit(seed, batch, coldest))()  # a temperature of 0 is another program
    warm = jax.vmap(fit)(1 / jnp.array(BETAS))
    return {"points": batch["inputs"]["y"], "cold": np.abs(cold), "warm": np.abs(warm)}


def _fit(seed: int, batch: dict, temperature):
    """Returns the radii after training with the whole data set in each step."""
    structure, parameters = split(LatentEnergy(rngs=nnx.Rngs(seed)))
    optimizer = optax.adam(optax.cosine_decay_schedule(0.05, STEPS))

    def step(carry, _):
        parameters, state = carry
        loss = lambda p: energy(merge(structure, p), batch, None, temperature=temperature)[0]
        updates, state = optimizer.update(jax.grad(loss)(parameters), state)
        return (optax.apply_updates(parameters, updates), state), None

    (parameters, _), _ = jax.lax.scan(step, (parameters, optimizer.init(parameters)), length=STEPS)
    return cast(dict, parameters)["radii"]


def check(results: dict) -> list[Criterion]:
    return [
        at_most("cold: largest error of an axis", np.abs(results["cold"] - RADII).max(), 0.05),
        at_most(f"beta {BETAS[-1]}: longer axis", results["warm"][-1].max(), 0.05),
        at_most("largest growth of an axis as beta falls", np.diff(results["warm"], axis=0).max(), 0.01),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2)
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    left.plot(*results["points"].T, "o", color=ink(), label="24 points")
    left.plot(*(results["cold"][:, None] * circle), "C0", label="beta = inf")
    for number, beta in enumerate((3.0, 0.3, 0.01), 1):
        left.plot(*(results["warm"][BETAS.index(beta)][:, None] * circle), f"C{number}", label=f"beta = {beta:g}")
    left.set(xlabel="y1", ylabel="y2", title="What is decoded", aspect="equal", ylim=(-2.2, 3.6))
    left.legend(fontsize=12, loc="upper center", ncol=2)
    for number, radius in enumerate(RADII):
        right.semilogx(BETAS, results["warm"][:, number], f"C{number}o-", label=f"w{number + 1}")
        right.axhline(radius, color=f"C{number}", linestyle=":")
    right.set(xlabel="beta (log scale)", ylabel="learned axis", title="Warm training shrinks the model")
    right.legend()
    grid(right)
