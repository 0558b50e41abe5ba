"""Learning from examples without a gradient: the error falls as the context grows.

In each sequence the points belong to another linear function. The parameters stay as training left them; which function
it is, the model learns from the examples in its context. With one example it does about as well as least squares, and
with a few more than there are dimensions it knows the function.

Formula: error with k examples = E (f(x) - y)^2, where y = <w, x>; least squares take the shortest w that fits the k
Source: Lecture on transformers in computer vision, slide 42; Garg et al. 2022; Brown et al. 2020.
Look at: one example halves the error, for the model as for least squares; then the cloud on the right becomes a line.
"""

from flax import nnx
from ml_collections import ConfigDict
import numpy as np

from experiments.figures.engine import at_least, at_most, near
from experiments.figures.style import grid, ink

CONFIG = "experiments/figures/sequences/icl_regression.py"
ENOUGH, MANY = 5, 11


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 1500, "batch_size": 128, "eval_every": 1500, "checkpoint_every": 1500,
            "model": {"name": "in_context", "width": 32, "depth": 2, "heads": 4},
            "objective": {"name": "regression"},
            "data": {"name": "linear_functions", "dimensions": 2, "length": MANY + 1},
            "optimizer": {"learning_rate": 5e-3, "warmup": 100, "clip": 1.0},
        }
    )  # fmt: skip


def run(seed: int, train, *, own_examples: bool = True) -> dict:
    part = train(CONFIG, {"model": {}})["model"]
    held_out = part.run.dataset.evaluation
    batch = held_out.examples(np.arange(len(held_out)))
    points, truth = batch["inputs"]["points"], batch["targets"]
    shown = truth if own_examples else np.roll(truth, 1, axis=0)  # the values of another function
    predicted = np.array(nnx.jit(lambda model, points, values: model(points, values))(part.model, points, shown))
    return {"truth": truth, "model": predicted, "least squares": _least_squares(points.astype(float), truth)}


def _least_squares(points_BTX, values_BT) -> np.ndarray:
    """The prediction at each point from the examples before it, by the shortest vector that fits them best, `BT`."""
    predictions_BT = np.zeros(values_BT.shape)
    for k in range(1, values_BT.shape[1]):
        slopes_BX1 = np.linalg.pinv(points_BTX[:, :k]) @ values_BT[:, :k, None]
        predictions_BT[:, k] = (points_BTX[:, k, None] @ slopes_BX1)[:, 0, 0]
    return predictions_BT


def _errors(found: dict, name: str) -> np.ndarray:
    """The mean squared error with 0, 1, ... examples seen, where saying 0 of all makes about 1."""
    return ((found[name] - found["truth"]) ** 2).mean(0)


def check(found: dict) -> list:
    model, best = _errors(found, "model"), _errors(found, "least squares")
    return [
        near("error with one example, as that of least squares", model[1], best[1], 0.05),
        at_least("error without an example, as a share of saying 0", model[0] / best[0], 0.95),
        at_most(f"largest error with {ENOUGH} examples and more", model[ENOUGH:].max(), 0.06),
    ]


def plot(figure, found: dict) -> None:
    left, right = figure.subfigures(1, 2, width_ratios=[1.9, 1])
    axes, few = left.subplots(), right.subplots(2, 1, sharex=True)
    seen = np.arange(MANY + 1)
    axes.plot(seen, _errors(found, "least squares"), color=ink(), linestyle=":", label="least squares")
    axes.plot(seen, _errors(found, "model"), "C0o-", label="transformer, 2 layers")
    axes.set(xlabel="examples in the context", ylabel="mean squared error", ylim=(-0.03, 1.1))
    axes.set(title="Parameters stay, the error falls", xticks=range(0, MANY + 1, 2))
    axes.legend(loc="upper right")
    grid(axes)
    for axes, k in zip(few, (1, MANY)):
        axes.axline((0, 0), slope=1, color=ink(), linewidth=1, linestyle=":")
        axes.plot(found["truth"][:300, k], found["model"][:300, k], "C0o", markersize=4, alpha=0.5)
        axes.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", xticks=(-3, 0, 3), yticks=(-3, 0, 3))
        axes.set(title=f"{k} example{'s' * (k > 1)}", ylabel="predicted")
        grid(axes)
    axes.set_xlabel("true value")
