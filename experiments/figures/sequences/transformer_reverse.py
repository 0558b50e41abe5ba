"""A transformer can write a string backwards if it knows the position of each token.

The decoder's queries come from what it has written so far; keys and values come from the encoder. To write token t,
the decoder must look at the t-th token from the end. Without positions all places look alike, and no string comes out
right.

Formula: target t = source n + 1 - t; cross-attention softargmax(Q K' / sqrt(d)), Q from the decoder, K from the encoder
Source: Lecture on transformers in computer vision, slides 25 and 29; V. Roth; Vaswani et al. 2017, figure 1.
Look at: the cross-attention follows the reversed diagonal. The last row is the end of the text and needs no source.
"""

from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import matrix
from experiments.figures.trained import Trainer
from experiments.inside.attention_maps import attention_maps

CONFIG = "experiments/figures/sequences/transformer_reverse.py"
LENGTH = 8


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 600, "batch_size": 64, "eval_every": 600, "checkpoint_every": 600, "best": "exact",
            "model": {"name": "encoder_decoder", "width": 64, "depth": 2, "heads": 4},
            "objective": {"name": "seq2seq"},
            "data": {"name": "reversal", "length": LENGTH},
            "optimizer": {"learning_rate": 2e-3, "warmup": 100, "clip": 1.0},
        }
    )  # fmt: skip


def run(seed: int, train: Trainer, *, positions: str = "sinusoidal") -> dict:
    trained = train(CONFIG, {"with": {"model.positions": positions}, "without": {"model.positions": "none"}})
    batch = trained["with"].run.dataset.evaluation.examples(np.arange(200))
    results = {"exact": {name: part.metrics["test/exact"] for name, part in trained.items()}}
    for name, part in trained.items():
        maps = attention_maps(part.model, batch["inputs"])
        # For each string, the mean over the heads of the last layer.
        results[name] = maps["decoder.blocks.1.cross"].mean(1)
    return results


def _on_the_diagonal(weights_BTS) -> float:
    """The share of tokens whose largest weight is at most one place away from the token to write."""
    written = np.arange(LENGTH)
    return float((np.abs(weights_BTS[:, :LENGTH].argmax(-1) - (LENGTH - 1 - written)) <= 1).mean())


def check(results: dict) -> list[Criterion]:
    diagonal = _on_the_diagonal(results["with"])
    return [
        at_least("with positions: strings without any error", results["exact"]["with"], 1.0),
        at_most("without positions: strings without any error", results["exact"]["without"], 0.0),
        at_least("with positions: largest weight within 1 of the reversed diagonal", diagonal, 0.95),
    ]


def plot(figure: Figure, results: dict) -> None:
    panels = figure.subplots(1, 2)
    for axes, name in zip(panels, ("with", "without")):
        matrix(axes, results[name].mean(0), vmin=0, vmax=1, cmap="cividis")
        accuracy = f"{100 * results['exact'][name]:.0f} % of the strings right"
        axes.set(title=f"{name} positions:\n{accuracy}", xlabel="token of the source", ylabel="token to write")
        axes.set_xticks(range(LENGTH), range(1, LENGTH + 1))
        axes.set_yticks(range(LENGTH + 1), [*range(1, LENGTH + 1), "end"])
    figure.colorbar(panels[0].images[0], ax=panels, label="weight, mean over heads", shrink=0.8)
