"""From cold to warm: the free energy of an ellipse turns into one well.

At temperature 0 only the best latent counts, and the free energy has its minima on the ellipse. The warmer, the more
latents share in it: F becomes smooth, the wells of the ellipse approach each other, merge first along the short axis,
then along the long one, and in the end only the mean of all energies is left, a bowl around the middle. Here beta is an
inverse temperature; in variational autoencoders it weighs a divergence.

Formula: F_beta(y) = -1/beta log (1/48 sum_z exp(-beta E(y, z))); the 1/48 makes the limit for beta = 0 the mean energy
Source: A. Canziani, latent variable energy based models: zero-temperature limit and free energy.
Look at: along the short axis the two wells become one between beta = 1 and beta = 0.1.
"""

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
from scipy.optimize import brentq

from experiments.figures.engine import Criterion, near
from experiments.figures.latent.ebm_energies import model_of
from experiments.figures.style import grid, ink
from objectives.energy import free_energy

BETAS = {"inf": 0.0, "10": 0.1, "1": 1.0, "0.1": 10.0, "0": 1e5}  # beta: temperature
EXPECTED = {"inf": 2.25, "10": 2.449, "1": 2.942, "0": 3.125}
MERGE = {"y1": 0.2853, "y2": 0.3816}


def run(seed: int, *, mean: bool = True) -> dict:
    model = model_of()
    # Without the 1/N, as "softmin" is often written, F has T log N less.
    less = lambda temperature: 0.0 if mean else temperature * float(np.log(48))
    energy_of = lambda y, temperature: free_energy(model(y[None])[0], temperature) - less(temperature)
    along = np.linspace(-3.2, 3.2, 161)
    axes = {"y1": np.stack([along, 0 * along], 1), "y2": np.stack([0 * along, along], 1)}
    profile = jax.jit(jax.vmap(energy_of, (0, None)), static_argnums=1)
    profiles = {
        (axis, beta): np.array(profile(jnp.asarray(points, jnp.float32), temperature))
        for axis, points in axes.items() for beta, temperature in BETAS.items()
    }  # fmt: skip
    middle = {beta: float(energy_of(jnp.zeros(2), temperature)) for beta, temperature in BETAS.items()}
    curvature = jax.jit(lambda beta: jnp.diag(jax.hessian(energy_of)(jnp.zeros(2), 1 / beta))) if mean else None
    merge = {}
    for number, axis in enumerate(axes):
        bend = lambda beta, number=number: float(curvature(beta)[number]) if curvature else beta - 0.5
        merge[axis] = brentq(bend, 0.1, 2.0, xtol=1e-6)
    return {"along": along, "profiles": profiles, "middle": middle, "merge": merge}


def check(results: dict) -> list[Criterion]:
    return [
        *(near(f"F of the middle at beta {beta}", results["middle"][beta], F, 6e-4) for beta, F in EXPECTED.items()),
        *(near(f"beta at which the wells along {axis} merge", results["merge"][axis], beta, 1e-4)
          for axis, beta in MERGE.items()),
    ]  # fmt: skip


def plot(figure: Figure, results: dict) -> None:
    for axes, (axis, name) in zip(figure.subplots(1, 2, sharey=True), {"y1": "long", "y2": "short"}.items()):
        for number, beta in enumerate(BETAS):
            axes.plot(results["along"], results["profiles"][axis, beta], f"C{number}", label=f"beta = {beta}")
        axes.set(xlabel=axis, title=f"The {name} axis", ylim=(-1, 10.5))
        axes.text(0.03, 0.03, f"one well below beta = {results['merge'][axis]:.3f}", transform=axes.transAxes,
                  fontsize=13, color=ink())  # fmt: skip
        grid(axes)
    figure.axes[0].set_ylabel("free energy")
    figure.axes[0].legend(fontsize=12, loc="upper center", ncol=2)
