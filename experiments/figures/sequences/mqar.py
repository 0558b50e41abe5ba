"""Attention recalls every pair at every width; a state of fixed size needs room for them.

Each sequence states pairs of a key and a value, then asks for every key again. Attention keeps all tokens. Linear
attention keeps a state that does not grow with the sequence, so pairs compete for room in it: it recalls less of more
pairs, and more with a wider state. GRU and LSTM have still less room, and a window forgets what it has passed. All are
trained alike.

Formula: numbers kept for L layers of width D: attention 2 L D T, linear L D (D + 1), GRU L D, LSTM 2 L D
Source: Arora et al. 2023 (Zoology), figure 2, with the axis of Arora et al. 2024 (Based), figure 2.
Look at: attention on top in both panels at every width; linear attention joins it when its state is wide enough.
"""

import jax
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import grid
from experiments.figures.trained import Trained, Trainer

CONFIG = "experiments/figures/sequences/mqar.py"
DECODER = {"name": "gpt", "depth": 2, "heads": 1, "tied": False, "initial_scale": 0.5}
RECURRENT = {"name": "recurrent", "tied": False}
MODELS = {
    "attention": DECODER,
    "linear": DECODER | {"attention": "linear"},
    "window": DECODER | {"window": 4},
    "GRU": RECURRENT,
    "LSTM": RECURRENT | {"cell": "lstm"},
}
WIDTHS, PAIRS, SYMBOLS = (16, 64), (2, 4), 24
REACH = DECODER["depth"] * (MODELS["window"]["window"] - 1)  # tokens back, through all layers


def get_config(model: str = "attention") -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 1500, "batch_size": 32, "eval_every": 1500, "checkpoint_every": 1500,
            "model": MODELS[model] | {"width": WIDTHS[0]},
            "objective": {"name": "language_modeling"},
            "data": {"name": "mqar", "symbols": SYMBOLS, "length": 16, "pairs": PAIRS[0]},
            "optimizer": {"learning_rate": 5e-3, "warmup": 100},
        }
    )  # fmt: skip


def run(seed: int, train: Trainer, *, attention: str = "attention") -> dict:
    models = {name: attention if name == "attention" else name for name in MODELS}
    trained = {
        name: train(f"{CONFIG}:{model}", {
            f"{width}, {pairs}": {"model.width": width, "data.pairs": pairs} for width in WIDTHS for pairs in PAIRS
        })
        for name, model in models.items()
    }  # fmt: skip
    table = lambda number, parts: np.array(
        [[number(parts[f"{width}, {pairs}"]) for width in WIDTHS] for pairs in PAIRS]
    )
    return {
        "recall": {name: table(lambda part: part.metrics["test/accuracy"], parts) for name, parts in trained.items()},
        "state": {name: table(_state_size, parts)[0] for name, parts in trained.items()},
        "within reach": np.array([_share_within_reach(trained["window"][f"{WIDTHS[0]}, {p}"]) for p in PAIRS]),
    }


def _state_size(part: Trained) -> int:
    """How many numbers the model keeps of a sequence."""
    cache = jax.eval_shape(lambda: part.model.new_cache(1))
    return sum(x.size for x in jax.tree.leaves(cache) if x.ndim)


def _share_within_reach(part: Trained) -> float:
    """The share of the questions whose pair is not further back than the layers of the window reach."""
    source = part.run.dataset.evaluation
    batch = source.examples(np.arange(len(source)))
    tokens_BT, counted_BT = batch["inputs"]["tokens"], batch["weights"] > 0
    same_BTS = (tokens_BT[:, :, None] == tokens_BT[:, None]) & np.tri(tokens_BT.shape[1], k=-1, dtype=bool)
    distance_BT = np.arange(tokens_BT.shape[1]) - same_BTS.argmax(-1) - 1  # to the value, which follows the key
    return float((distance_BT[counted_BT] <= REACH).mean())


def check(results: dict) -> list[Criterion]:
    recall, reach = results["recall"], results["within reach"]
    guessed = (1 - reach) / (SYMBOLS // 2 - np.array(PAIRS) + 1)  # what is not within reach is none of the values there
    criteria = [
        at_least("attention: lowest recall", recall["attention"].min(), 0.99),
        at_most("window: recall above the share within reach and guesses", (recall["window"].max(1) - reach - guessed)
                .max(), 0.02),
    ]  # fmt: skip
    narrow, wide = recall["linear"].T
    criteria += [
        at_least(f"linear: lowest recall with width {WIDTHS[1]}", wide.min(), 0.99),
        at_most(f"linear: recall of {PAIRS[1]} pairs with width {WIDTHS[0]}", narrow[1], 0.9),
    ]
    # Guessing among the values of a sequence is right in half of two pairs, and in a quarter of four.
    for name in ("GRU", "LSTM"):
        criteria.append(at_most(f"{name}: highest recall of {PAIRS[1]} pairs", recall[name][1].max(), 0.9))
    return criteria


def plot(figure: Figure, results: dict) -> None:
    panels = figure.subplots(1, len(PAIRS), sharey=True)
    for row, (axes, pairs) in enumerate(zip(panels, PAIRS)):
        for number, (name, recall) in enumerate(results["recall"].items()):
            axes.semilogx(results["state"][name], 100 * recall[row], f"C{number}o-", label=name)
        axes.set(title=f"{pairs} pairs", xlabel="numbers kept of a sequence", ylim=(-3, 105))
        grid(axes)
    panels[0].set_ylabel("values recalled (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(MODELS))
