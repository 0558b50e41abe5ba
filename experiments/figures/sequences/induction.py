"""One layer of attention cannot continue a pattern that it has just seen; two can.

A text is made of pairs of tokens, others in each text, that come again. To know what follows on a token the model must
find where it stood before, and copy what came after it. The first layer writes beside each token which one was before
it (a previous-token head); the second looks for the present token among these (an induction head).

Formula: ... A B ... A -> B: the second layer's query "A" meets the key "A was before me" of B
Source: Lecture on transformers in computer vision, slide 42; Olsson et al. 2022; Elhage et al. 2021.
Look at: the head of layer 1 that looks one back, the head of layer 2 that looks one behind the last time.
"""

from ml_collections import ConfigDict
import numpy as np

from experiments.figures.engine import at_least, at_most
from experiments.figures.style import bars, matrix
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
            # One head a layer, so that it is the known circuit that is found, and Muon, which finds it sooner; without
            # clipping, under which the head of layer 1 stayed soft (0.69 on the token before with seed 1).
            "optimizer": {"name": "muon", "learning_rate": 0.02, "warmup": 100, "schedule": "wsd"},
        }
    )  # fmt: skip


def run(seed: int, train, *, layers: int = 2) -> dict:
    trained = train(CONFIG, {"one layer": {"model.depth": 1}, "two layers": {"model.depth": layers}})
    batch = trained["two layers"].run.dataset.evaluation.examples(np.arange(500))
    maps = [x for x in attention_maps(trained["two layers"].model, batch["inputs"]).values()]
    previous_H = np.diagonal(maps[0], -1, 2, 3).mean((0, 2))
    behind_H = _on_what_came_next(maps[-1], batch)
    return {
        "accuracy": {name: part.metrics["test/accuracy"] for name, part in trained.items()},
        "previous": previous_H,
        "behind": behind_H,
        "first": maps[0][0, previous_H.argmax()],
        "last": maps[-1][0, behind_H.argmax()],
    }


def _on_what_came_next(weights_BHTS, batch) -> np.ndarray:
    """The mean weight of each head on the places where the token before was the present one, `H`."""
    tokens_BT, counted_BT = batch["inputs"]["tokens"], batch["weights"]
    before_BT = np.pad(tokens_BT, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
    same_BTS = (tokens_BT[:, :, None] == before_BT[:, None]) & np.tri(2 * LENGTH - 1, dtype=bool)
    on_BHT = (weights_BHTS * same_BTS[:, None]).sum(-1)
    return (on_BHT * counted_BT[:, None]).sum((0, 2)) / counted_BT.sum()


def check(found: dict) -> list:
    return [
        at_most("one layer: accuracy", found["accuracy"]["one layer"], 0.26),
        at_least("two layers: accuracy", found["accuracy"]["two layers"], 0.99),
        at_least("layer 1: weight of a head on the token before", found["previous"].max(), 0.9),
        at_least("layer 2: weight of a head on what came next before", found["behind"].max(), 0.9),
    ]


def plot(figure, found: dict) -> None:
    left, middle, right = figure.subplots(1, 3, width_ratios=[0.6, 1, 1])
    bars(left, ["one\nlayer", "two\nlayers"], [100 * x for x in found["accuracy"].values()], ".0f")
    left.set(xlim=(0, 145), xticks=[0, 50, 100], xlabel="right (%)", title="Repeated tokens")
    titles = ("Layer 1: one back", "Layer 2: what came next")
    for axes, name, title in zip((middle, right), ("first", "last"), titles):
        matrix(axes, found[name], vmin=0, vmax=1, cmap="cividis")
        axes.set(title=title, xlabel="looks at token", ylabel="token")
        axes.set_xticks(range(0, 2 * LENGTH - 1, 6), range(1, 2 * LENGTH, 6))
        axes.set_yticks(range(0, 2 * LENGTH - 1, 6), range(1, 2 * LENGTH, 6))
