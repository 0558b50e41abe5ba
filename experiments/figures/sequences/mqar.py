"""Attention recalls every pair at every width; a state of fixed size needs room for them.

Each sequence states four pairs of a key and a value, then asks for every key again. Attention keeps all tokens. Linear
attention keeps a state that does not grow with the sequence, so pairs compete for room in it: it recalls them if the
state is wide enough. GRU and LSTM have still less room, and a window forgets what it has passed. All are trained alike.

Formula: numbers kept for L layers of width D: attention 2 L D T, linear L D (D + 1), GRU L D, LSTM 2 L D
Source: Arora et al. 2023 (Zoology), figure 2, with the axis of Arora et al. 2024 (Based), figure 2.
Look at: attention on top at every width; linear attention joins it when its state is wide enough.
"""

import jax
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import grid, ink
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
WIDTHS, SYMBOLS = (16, 32, 64), 24
PAIRS = 4  # in a sequence, the default of the data set
REACH = DECODER["depth"] * (MODELS["window"]["window"] - 1)  # tokens back, through all layers


def get_config(model: str = "attention") -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 1500, "batch_size": 32, "eval_every": 1500, "checkpoint_every": 1500,
            "model": MODELS[model] | {"width": WIDTHS[0]},
            "objective": {"name": "language_modeling"},
            "data": {"name": "mqar", "symbols": SYMBOLS, "length": 16},
            "optimizer": {"learning_rate": 5e-3, "warmup": 100},
        }
    )  # fmt: skip


def run(seed: int, train: Trainer, *, attention: str = "attention") -> dict:
    """`attention` is the name of the model that takes the place of attention."""
    trained = {}
    for name in MODELS:
        config = f"{CONFIG}:{attention if name == 'attention' else name}"
        trained[name] = train(config, {str(width): {"model.width": width} for width in WIDTHS}).values()
    return {
        "recall": {name: np.array([x.metrics["test/accuracy"] for x in parts]) for name, parts in trained.items()},
        "state": {name: np.array([_state_size(x) for x in parts]) for name, parts in trained.items()},
        "within reach": _share_within_reach(next(iter(trained["window"]))),
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
    # Guessing among the values of a sequence is right in a quarter, and only pairs within reach can be known.
    guessed = (1 - reach) / PAIRS
    return [
        at_least("attention: lowest recall", recall["attention"].min(), 0.99),
        at_least(f"linear: recall with width {WIDTHS[-1]}", recall["linear"][-1], 0.99),
        at_most(f"linear: recall with width {WIDTHS[0]}", recall["linear"][0], 0.9),
        at_most("GRU: highest recall", recall["GRU"].max(), 0.9),
        at_most("LSTM: highest recall", recall["LSTM"].max(), 0.9),
        at_most("window: highest recall", recall["window"].max(), reach + guessed + 0.05),
    ]


def plot(figure: Figure, results: dict) -> None:
    axes = figure.subplots()
    for number, (name, recall) in enumerate(results["recall"].items()):
        axes.semilogx(results["state"][name], 100 * recall, f"C{number}o-", label=name)
    axes.axhline(100 / PAIRS, color=ink(), linewidth=1, linestyle="dotted", label="guessing one of the values")
    axes.set(xlabel="numbers kept of a sequence", ylabel="values recalled (%)", ylim=(-3, 105))
    grid(axes)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center")
