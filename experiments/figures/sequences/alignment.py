"""Attention aligns words with their translations, although nobody has told it which belong together.

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
from experiments.figures.style import bars
from experiments.figures.trained import Trainer
from experiments.inside.attention_maps import attention_maps, draw_map

CONFIG = "experiments/figures/sequences/bottleneck.py"
COUNT = 500


def run(seed: int, train: Trainer, *, steps: int = 1000) -> dict:
    (trained,) = train(CONFIG, {"": {"model.attention": "additive", "steps": steps}}).values()
    batch = trained.run.dataset.evaluation.examples(np.arange(COUNT))
    weights_BTS = attention_maps(trained.model, batch["inputs"])["cross"][:, 0]
    sources, mask, targets = batch["inputs"]["source"], batch["inputs"]["source_mask"], batch["targets"]
    lengths_B = mask.sum(1)
    words = sources.max() - len(SPECIALS) + 1
    example = int(np.flatnonzero(lengths_B == 9)[0])
    n = lengths_B[example]
    return {
        "lengths": lengths_B,
        "weights": weights_BTS,
        "example": weights_BTS[example, :n, :n],
        "source": [f"s{token - len(SPECIALS) + 1}" for token in sources[example, :n]],
        "target": [f"t{token - len(SPECIALS) - words + 1}" for token in targets[example, :n]],
    }


def distances(results: dict) -> np.ndarray:
    """Returns how far the largest weight of each word lies from the place of the word that it translates."""
    pairs = zip(results["weights"], results["lengths"])
    return np.concatenate([np.abs(weights[:n].argmax(-1) - np.arange(n)[::-1]) for weights, n in pairs])


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
    draw_map(results["example"], queries=results["target"], keys=results["source"], axes=left)
    left.set(title="one new sentence", xlabel="word of the source", ylabel="word that is written")
    figure.colorbar(left.images[0], ax=left, label="weight", shrink=0.8)
    shares = [100 * (distances(results) == distance).mean() for distance in (0, 1)]
    bars(right, ["at the word", "one beside it", "further away"], [*shares, 100 - sum(shares)], ".1f")
    right.set(title=f"largest weight, {COUNT} sentences", xlabel="% of the words", xlim=(0, 119))
