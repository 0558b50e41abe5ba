"""Learning from examples without a gradient: the error falls as the context grows.

Each sequence has points of another linear function. The parameters stay as training left them; the model learns from
the examples in its context which function it is. With one example it does about as well as least squares, and with a
few more examples than dimensions it knows the function.

Formula: error with k examples = E (f(x) - y)^2, where y = <w, x>; least squares takes the shortest w that fits the k
Source: Lecture on transformers in computer vision, slide 42; Garg et al. 2022; Brown et al. 2020.
Look at: one example halves the error of both methods; on the right, the cloud becomes a line.
"""

from flax import nnx
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from experiments.figures.engine import Criterion, at_least, at_most, near
from experiments.figures.style import grid, ink, split
from experiments.figures.trained import Trainer

CONFIG = "experiments/figures/sequences/icl_regression.py"
ENOUGH, MANY = 5, 11


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 1500, "batch_size": 128, "eval_every": 1500, "checkpoint_every": 1500,
            "model": {"name": "in_context", "width": 32, "depth": 2, "heads": 4},
            "objective": {"name": "regression"},
            "data": {"name": "linear_functions", "length": MANY + 1},
            "optimizer": {"learning_rate": 5e-3, "warmup": 100, "clip": 1.0},
        }
    )  # fmt: skip


def run(seed: int, train: Trainer, *, own_examples: bool = True) -> dict:
    part = train(CONFIG, {"model": {}})["model"]
    held_out = part.run.dataset.evaluation
    batch = held_out.examples(np.arange(len(held_out)))
    points, truth = batch["inputs"]["points"], batch["targets"]
    values = truth if own_examples else np.roll(truth, 1, axis=0)  # those of another function
    predicted = np.array(nnx.jit(lambda model, points, values: model(points, values))(part.model, points, values))
    return {"truth": truth, "model": predicted, "least squares": _least_squares(points.astype(float), truth)}


def _least_squares(points_BTX, values_BT) -> np.ndarray:
    """The predictions `BT` at each point from the examples before it, by the shortest vector that fits them best."""
    predictions_BT = np.zeros(values_BT.shape)
    for k in range(1, values_BT.shape[1]):
        slopes_BX1 = np.linalg.pinv(points_BTX[:, :k]) @ values_BT[:, :k, None]
        predictions_BT[:, k] = (points_BTX[:, k, None] @ slopes_BX1)[:, 0, 0]
    return predictions_BT


def _errors(results: dict, name: str) -> np.ndarray:
    """The mean squared error with 0, 1, ... examples in the context; predicting 0 has an error of about 1."""
    return ((results[name] - results["truth"]) ** 2).mean(0)


def check(results: dict) -> list[Criterion]:
    model, best = _errors(results, "model"), _errors(results, "least squares")
    return [
        near("error with one example (expected: that of least squares)", model[1], best[1], 0.05),
        at_least("error without an example, relative to predicting 0", model[0] / best[0], 0.95),
        at_most(f"largest error with {ENOUGH} examples or more", model[ENOUGH:].max(), 0.06),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = split(figure, 1, 2, width_ratios=[1.9, 1])
    axes, few = left.subplots(), right.subplots(2, 1, sharex=True)
    seen = np.arange(MANY + 1)
    axes.plot(seen, _errors(results, "least squares"), color=ink(), linestyle=":", label="least squares")
    axes.plot(seen, _errors(results, "model"), "C0o-", label="transformer, 2 layers")
    axes.set(xlabel="examples in the context", ylabel="mean squared error", ylim=(-0.03, 1.1))
    axes.set(title="Fixed parameters, falling error", xticks=range(0, MANY + 1, 2))
    axes.legend(loc="upper right")
    grid(axes)
    for axes, k in zip(few, (1, MANY)):
        axes.axline((0, 0), slope=1, color=ink(), linewidth=1, linestyle=":")
        axes.plot(results["truth"][:300, k], results["model"][:300, k], "C0o", markersize=4, alpha=0.5)
        axes.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", xticks=(-3, 0, 3), yticks=(-3, 0, 3))
        axes.set(title=f"{k} example{'s' * (k > 1)}", ylabel="predicted")
        grid(axes)
    axes.set_xlabel("true value")
