"""A point has an energy for each latent; the least is its distance from the model.

The model knows an ellipse. For each angle z it decodes one point of it, and the energy is the squared distance to what
was observed. In the middle of the ellipse two angles are equally good, up and down, where the ellipse is flattest. The
least energy over the angle no longer depends on it: it is zero on the ellipse and grows away from it.

Formula: E(y, z) = |y - (2 cos z, 1.5 sin z)|^2, F_inf(y) = min_z E(y, z), over 48 angles
Source: A. Canziani, latent variable energy based models, inference.
Look at: the energy of the middle has its two least values at the ends of the short axis.
"""

from flax import nnx
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_most, near
from experiments.figures.style import grid, ink
from models import LatentEnergy
from objectives.energy import free_energy

RADII = (2.0, 1.5)
ON = (2 * np.cos(0.7), 1.5 * np.sin(0.7))
POINTS = {"the middle": (0.0, 0.0), "a point of the ellipse": ON, "outside": (2.5, 1.5)}
SIDE = 81


def model_of(radii: tuple[float, float] = RADII, latents: int = 48) -> LatentEnergy:
    """Returns the model of an ellipse."""
    model = LatentEnergy(latents=latents, rngs=nnx.Rngs(0))
    assert model.radii is not None
    model.radii.set_value(jnp.array(radii))
    return model


def run(seed: int, *, radii: tuple[float, float] = RADII) -> dict:
    model = model_of(radii)
    energies = {name: np.array(model(jnp.array([point]))[0]) for name, point in POINTS.items()}
    across = np.linspace(-3, 3, SIDE)
    plane = jnp.asarray(np.stack(np.meshgrid(across, across), -1).reshape(-1, 2))
    middle = energies["the middle"]
    return {
        "latents": np.array(model.grid),
        "energies": energies,
        "free": np.array(free_energy(model(plane), 0.0)).reshape(SIDE, SIDE),
        "least": float(middle.min()),
        "best": np.array(model.grid)[np.argsort(middle)[:2]],
        "descent": [float(energy[0]) for energy in (model.infer(jnp.array([point]))[1] for point in POINTS.values())],
    }


def check(results: dict) -> list[Criterion]:
    low, high = sorted(results["best"])
    grid_energies = [energies.min() for energies in results["energies"].values()]
    return [
        near("least energy of the middle", results["least"], 2.25, 1e-5),
        near("its first angle", low, np.pi / 2, 1e-5),
        near("its second angle", high, 3 * np.pi / 2, 1e-5),
        at_most("least energy by descent, above that on the grid",
                max(np.subtract(results["descent"], grid_energies)), 1e-5),
    ]  # fmt: skip


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2)
    for number, (name, energies) in enumerate(results["energies"].items()):
        left.plot(results["latents"], energies, f"C{number}o-", markersize=4, label=name)
    left.plot(results["best"], [results["least"]] * 2, "o", markersize=14, fillstyle="none", color=ink())
    left.set(xlabel="latent z (an angle)", ylabel="energy E(y, z)", title="Energy over the latent", ylim=(-1, 31))
    left.set_xticks(np.arange(5) * np.pi / 2, ["0", "pi/2", "pi", "3 pi/2", "2 pi"])
    left.legend(fontsize=13)
    grid(left)
    image = right.imshow(results["free"], extent=(-3, 3, -3, 3), origin="lower", cmap="viridis", vmax=6)
    figure.colorbar(image, ax=right, shrink=0.8)
    for number, point in enumerate(POINTS.values()):
        right.plot(*point, f"C{number}o", markersize=11, markeredgecolor="white")
    right.set(xlabel="y1", ylabel="y2", title="Least energy of a point y")
