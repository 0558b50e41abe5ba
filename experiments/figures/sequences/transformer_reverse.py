"""A transformer writes a string backwards, if it knows where each token stands.

The decoder asks with what it has written so far, the encoder's outputs are keys and values. To write the t-th token it
must look at the t-th from the end. Without positions all places look alike and no string comes out right.

Formula: target t = source n + 1 - t; cross-attention softargmax(Q K' / sqrt(d)), Q from the decoder, K from the encoder
Source: Lecture on transformers in computer vision, slides 25 and 29; V. Roth; Vaswani et al. 2017, figure 1.
Look at: the cross-attention lies on the reversed diagonal. The last row is the end of the text, which needs no source.
"""

from ml_collections import ConfigDict
import numpy as np

from experiments.figures.engine import at_least, at_most
from experiments.figures.style import matrix
from experiments.inside.attention_maps import attention_maps

CONFIG = "experiments/figures/sequences/transformer_reverse.py"
LENGTH = 8


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 600, "batch_size": 64, "eval_every": 600, "checkpoint_every": 600, "best": "exact",
            "model": {"name": "encoder_decoder", "width": 64, "depth": 2, "heads": 4, "positions": "sinusoidal"},
            "objective": {"name": "seq2seq"},
            "data": {"name": "reversal", "length": LENGTH},
            "optimizer": {"learning_rate": 2e-3, "warmup": 100, "clip": 1.0},
        }
    )  # fmt: skip


def run(seed: int, train, *, positions: str = "sinusoidal") -> dict:
    trained = train(CONFIG, {"with": {"model.positions": positions}, "without": {"model.positions": "none"}})
    batch = trained["with"].run.dataset.evaluation.examples(np.arange(200))
    found = {"exact": {name: part.metrics["test/exact"] for name, part in trained.items()}}
    for name, part in trained.items():
        maps = attention_maps(part.model, batch["inputs"])
        # Of each string: the mean over the heads of the last layer.
        found[name] = maps["decoder.blocks.1.cross"].mean(1)
    return found


def _on_the_diagonal(weights_BTS) -> float:
    """How often the largest weight is at most one place from where the token to write stands."""
    written = np.arange(LENGTH)
    return float((np.abs(weights_BTS[:, :LENGTH].argmax(-1) - (LENGTH - 1 - written)) <= 1).mean())


def check(found: dict) -> list:
    return [
        at_least("with positions: strings without any error", found["exact"]["with"], 1.0),
        at_most("without positions: strings without any error", found["exact"]["without"], 0.0),
        at_least("with positions: largest weight on the reversed diagonal +- 1", _on_the_diagonal(found["with"]), 0.95),
    ]


def plot(figure, found: dict) -> None:
    for axes, name in zip(figure.subplots(1, 2), ("with", "without")):
        image = matrix(axes, found[name].mean(0), vmin=0, vmax=1, cmap="cividis")
        right = f"{100 * found['exact'][name]:.0f} % of the strings right"
        axes.set(title=f"{name} positions:\n{right}", xlabel="token of the source", ylabel="token to write")
        axes.set_xticks(range(LENGTH), range(1, LENGTH + 1))
        axes.set_yticks(range(LENGTH + 1), [*range(1, LENGTH + 1), "end"])
    figure.colorbar(image, ax=figure.axes, label="weight, mean of the last layer", shrink=0.8)
