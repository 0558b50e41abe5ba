"""One layer of attention cannot continue a pattern that it has just seen; two layers can.

Each text consists of pairs of tokens that repeat, and each text has other pairs. To predict what follows a token, the
model must find where the token stood before and copy what came next. The first layer notes at each token which one
preceded it (a previous-token head); the second layer searches these notes for the current token (an induction head).

Formula: ... A B ... A -> B: the second layer's query "A" matches the key "my predecessor was A" of B
Source: Lecture on transformers in computer vision, slide 42; Olsson et al. 2022; Elhage et al. 2021.
Look at: the head of layer 1 looks one token back; the head of layer 2 looks at what followed the token last time.
"""

from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import bars, matrix
from experiments.figures.trained import Trainer
from experiments.inside.attention_maps import attention_maps

CONFIG = "experiments/figures/sequences/induction.py"
LENGTH = 16


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 1500, "batch_size": 64, "eval_every": 1500, "checkpoint_every": 1500,
            "model": {"name": "gpt", "width": 64, "depth": 2, "heads": 1, "positions": "rotary"},
            "objective": {"name": "language_modeling"},
            "data": {"name": "repeats", "length": LENGTH, "pairs": 8},
            # One head per layer, so that the model has to learn the known circuit; Muon, which learns it sooner; and no
            # clipping, with which the head of layer 1 stayed soft (0.69 on the previous token with seed 1).
            "optimizer": {"name": "muon", "learning_rate": 0.02, "warmup": 100, "schedule": "wsd"},
        }
    )  # fmt: skip


def run(seed: int, train: Trainer, *, layers: int = 2) -> dict:
    trained = train(CONFIG, {"one layer": {"model.depth": 1}, "two layers": {"model.depth": layers}})
    batch = trained["two layers"].run.dataset.evaluation.examples(np.arange(500))
    maps = list(attention_maps(trained["two layers"].model, batch["inputs"]).values())
    previous_H = np.diagonal(maps[0], -1, 2, 3).mean((0, 2))
    behind_H = _on_successors(maps[-1], batch)
    return {
        "accuracy": {name: part.metrics["test/accuracy"] for name, part in trained.items()},
        "previous": previous_H,
        "behind": behind_H,
        "first": maps[0][0, previous_H.argmax()],
        "last": maps[-1][0, behind_H.argmax()],
    }


def _on_successors(weights_BHTS, batch) -> np.ndarray:
    """The mean weight `H` of each head on the places that follow an earlier occurrence of the current token."""
    tokens_BT, counted_BT = batch["inputs"]["tokens"], batch["weights"]
    before_BT = np.pad(tokens_BT, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
    same_BTS = (tokens_BT[:, :, None] == before_BT[:, None]) & np.tri(2 * LENGTH - 1, dtype=bool)
    on_BHT = (weights_BHTS * same_BTS[:, None]).sum(-1)
    return (on_BHT * counted_BT[:, None]).sum((0, 2)) / counted_BT.sum()


def check(results: dict) -> list[Criterion]:
    return [
        at_most("one layer: accuracy", results["accuracy"]["one layer"], 0.26),
        at_least("two layers: accuracy", results["accuracy"]["two layers"], 0.99),
        at_least("layer 1: weight of a head on the previous token", results["previous"].max(), 0.9),
        at_least("layer 2: weight of a head on what followed the token before", results["behind"].max(), 0.9),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, middle, right = figure.subplots(1, 3, width_ratios=[0.6, 1, 1])
    bars(left, ["one\nlayer", "two\nlayers"], [100 * x for x in results["accuracy"].values()], ".0f")
    left.set(xlim=(0, 145), xticks=[0, 50, 100], xlabel="accuracy (%)", title="Repeated tokens")
    titles = ("Layer 1: previous token", "Layer 2: what followed")
    for axes, name, title in zip((middle, right), ("first", "last"), titles):
        matrix(axes, results[name], vmin=0, vmax=1, cmap="cividis")
        axes.set(title=title, xlabel="attends to token", ylabel="token")
        axes.set_xticks(range(0, 2 * LENGTH - 1, 6), range(1, 2 * LENGTH, 6))
        axes.set_yticks(range(0, 2 * LENGTH - 1, 6), range(1, 2 * LENGTH, 6))
