"""Attention aligns words with their translations, although nobody told it how.

A recurrent network with additive attention has learned to translate word by word and to reverse the order, from pairs
of sentences alone. Its weights show which word it read to write the next one. They may lie one place beside it: each
state of the bidirectional encoder knows its neighbours too.

Formula: a_ti = softargmax_i(v . tanh(W s_(t-1) + U h_i)); word t of the target translates word n + 1 - t of the source
Source: Bahdanau et al. 2015, figure 3; V. Roth; lecture on transformers in computer vision, slide 11.
Look at: the largest weight of each row. It lies on the reversed diagonal, or directly beside it.
"""

from matplotlib.figure import Figure
import numpy as np

from data.subwords import SPECIALS
from experiments.figures.engine import Criterion, at_least, near
from experiments.figures.style import grid
from experiments.figures.trained import Trainer
from experiments.inside.attention_maps import attention_maps, draw_map

CONFIG = "experiments/figures/sequences/bottleneck.py"
COUNT, SHOWN, FARTHEST = 500, 9, 4


def run(seed: int, train: Trainer, *, steps: int = 1000) -> dict:
    (trained,) = train(CONFIG, {"": {"model.attention": "additive", "steps": steps}}).values()
    batch = trained.run.dataset.evaluation.examples(np.arange(COUNT))
    weights_BTS = attention_maps(trained.model, batch["inputs"])["decoder.cross"][:, 0]
    sources, lengths_B = batch["inputs"]["source"], batch["inputs"]["source_mask"].sum(1)
    different_B = np.array([len(set(row[:n].tolist())) == n for row, n in zip(sources, lengths_B)])
    example = int(np.flatnonzero(different_B & (lengths_B == SHOWN))[0])
    return {
        "lengths": lengths_B,
        "weights": weights_BTS,
        "example": example,
        "words": [str(token - len(SPECIALS) + 1) for token in sources[example, :SHOWN]],
    }


def distances(results: dict) -> np.ndarray:
    """Returns how far the largest weight of each word lies from the place of the word that it translates."""
    pairs = zip(results["weights"], results["lengths"])
    return np.concatenate([np.abs(weights[:n].argmax(-1) - np.arange(n)[::-1]) for weights, n in pairs])


def mean_weights(results: dict, farthest: int) -> np.ndarray:
    """Returns the mean weight of the words at each distance, from -farthest to farthest, from the translated word."""
    totals, counts = np.zeros(2 * farthest + 1), np.zeros(2 * farthest + 1)
    for weights, n in zip(results["weights"], results["lengths"]):
        offset = np.arange(n) - np.arange(n)[::-1, None] + farthest
        near_by = (offset >= 0) & (offset <= 2 * farthest)
        np.add.at(totals, offset[near_by], weights[:n, :n][near_by])
        np.add.at(counts, offset[near_by], 1)
    return totals / counts


# Seeds 0 and 1 gave 1.0; asking for the exact place would fail where a state knows its neighbours well.
def check(results: dict) -> list[Criterion]:
    pairs = list(zip(results["weights"], results["lengths"]))
    sums = np.concatenate([weights[: n + 1].sum(-1) for weights, n in pairs])
    beyond = max(float(weights[:, n:].sum()) for weights, n in pairs)
    return [
        at_least("largest weight within 1 of the translated word", (distances(results) <= 1).mean(), 0.95),
        near("sum of the weights, furthest from 1", sums[np.abs(sums - 1).argmax()], 1, 1e-5),
        near("weight of padding", beyond, 0, 0),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    words, weights = results["words"], results["weights"][results["example"], :SHOWN, :SHOWN]
    draw_map(weights, queries=[f"t{word}" for word in words[::-1]], keys=[f"s{word}" for word in words], axes=left)
    left.set(title="one new sentence; t7 translates s7", xlabel="word of the source", ylabel="word that is written")
    figure.colorbar(left.images[0], ax=left, label="weight", shrink=0.8)
    right.bar(np.arange(-FARTHEST, FARTHEST + 1), mean_weights(results, FARTHEST))
    right.set(title=f"mean, {COUNT} sentences", xlabel="distance from the translated word", ylabel="weight")
    right.set_ylim(0, 1)
    grid(right, "y")
