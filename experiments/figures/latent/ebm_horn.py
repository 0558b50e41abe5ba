"""Many right y for one x: a latent chooses among them, a plain network takes the mean.

For each x the right answers lie on an ellipse, which grows with x. A network trained with the squared error can give
one answer only, and the best one is the middle, which is never right. The energy model decodes one answer for each
latent, and training pulls the nearest one towards each y.

Formula: min 1/N sum min_z |y - (r_1(x) cos z, r_2(x) sin z)|^2, with r(x) a network with two hidden layers
Source: A. Canziani, conditional latent variable energy based models.
Look at: the decoded ellipses lie on the data for each x, and the plain network is a line through the middle.
"""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax

from data.ellipses import horn, horn_radii
from experiments.figures.engine import Criterion, at_most
from experiments.figures.style import grid, ink
from models import LatentEnergy
from models.vae import Dense
from objectives import energy
from training.state import merge, split

# Seeds 0 and 1: errors of the radii 0.009 and 0.015, sizes of the plain answers 0.061 and 0.057.
STARTS, STEPS = 3, 1000
SIZES: dict[str, Any] = {"width": 16, "depth": 2}


def run(seed: int, *, temperature: float = 0.0) -> dict:
    data = horn(samples=1000)
    batch = data.train.examples(np.arange(1000))
    test = data.evaluation.examples(np.arange(1000))["inputs"]
    inputs = {name: jnp.asarray(value) for name, value in batch["inputs"].items()}
    batch = {"inputs": inputs, "weights": jnp.ones(1000), "targets": inputs["y"]}
    models = [LatentEnergy(inputs=1, **SIZES, rngs=nnx.Rngs(3 * seed + start)) for start in range(STARTS)]
    ends = _fit(models, lambda model: energy(model, batch, None, temperature=temperature)[0])
    plain = Dense((1,), (2,), **SIZES, dtype="float32", rngs=nnx.Rngs(seed))
    ((_, plain),) = _fit([plain], lambda model: ((model(inputs["x"]) - inputs["y"]) ** 2).mean())
    _, best = min(ends, key=lambda end: end[0])  # of the least loss in training
    x = np.linspace(0.02, 0.98, 49, dtype=np.float32)[:, None]
    decoded = np.array(best.decode(jnp.array([0.0, jnp.pi / 2]), jnp.asarray(x)))
    radii = np.abs(np.stack([decoded[:, 0, 0], decoded[:, 1, 1]], axis=1))
    size = lambda y: float(np.linalg.norm(y, axis=1).mean())
    return {
        "error": float(np.abs(radii / horn_radii(x[:, 0]) - 1).mean()),
        "ratio": size(np.array(plain(jnp.asarray(test["x"])))) / size(test["y"]),
        "x": x[:, 0], "radii": radii, "plain": np.array(plain(jnp.asarray(x))), "points": test,
    }  # fmt: skip


def _fit(models: list, loss_of) -> list:
    """Trains models of one shape at once. Returns each one's last loss and itself."""
    structure, parameters = split(models[0])
    optimizer = optax.adam(optax.cosine_decay_schedule(0.02, STEPS))
    loss = lambda p: loss_of(merge(structure, p))

    def fit(parameters):
        def step(carry, _):
            parameters, state = carry
            updates, state = optimizer.update(jax.grad(loss)(parameters), state)
            return (optax.apply_updates(parameters, updates), state), None

        (parameters, _), _ = jax.lax.scan(step, (parameters, optimizer.init(parameters)), length=STEPS)
        return loss(parameters), parameters

    stacked = jax.tree.map(lambda *x: jnp.stack(x), *(split(model)[1] for model in models))
    losses, fitted = jax.jit(jax.vmap(fit))(stacked)
    one = lambda number: merge(structure, jax.tree.map(lambda x: x[number], fitted))
    return [(float(losses[number]), one(number)) for number in range(len(models))]


def check(results: dict) -> list[Criterion]:
    return [
        at_most("mean relative error of the radii", results["error"], 0.05),
        at_most("plain network: size of its answers, of that of the data", results["ratio"], 0.1),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2)
    x, y = results["points"]["x"][:, 0], results["points"]["y"]
    for number, axes in enumerate((left, right)):
        axes.plot(x, y[:, number], ".", color=ink(), alpha=0.35, markersize=5)
        for sign in (1, -1):
            label = "energy model, ends of the ellipse" if sign == 1 else None
            axes.plot(results["x"], sign * results["radii"][:, number], "C0", linewidth=3, label=label)
        axes.plot(results["x"], results["plain"][:, number], "C1", linewidth=3, label="plain network")
        axes.set(xlabel="x", ylabel=f"y{number + 1}", ylim=(-3.2, 4.4))
        grid(axes)
    left.legend(fontsize=13, loc="upper left")
    left.set_title("Many right answers for each x")
    right.set_title(f"{100 * results['error']:.1f} % error of the radii")
