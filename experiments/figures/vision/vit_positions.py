"""Learned positions discover by themselves that an image has two dimensions.

The model reads an image as a row of 25 tokens, and each place has its own vector, random at first. The task is to fill
in missing pixels of smooth random images. Neighbouring pixels have similar values, so the vectors of neighbours become
similar, in both directions. A classifier of digits has no need for that, and does not show it.

Formula: cos(p_i, p_j) against the distance of i and j on the grid
Source: Lecture on transformers in computer vision, slide 59; Dosovitskiy et al. 2021, figure 7; Bao et al. 2022.
Look at: each small picture shows how similar one place's vector is to all others; it is brightest at that place. The
  curve falls, but not for the classifier.
"""

from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np
from scipy.stats import spearmanr

from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import grid, split, tiles
from experiments.figures.trained import Trainer
from experiments.figures.vision import vit_data
from experiments.inside.attention_maps import grid_distances, similarity

CONFIG = "experiments/figures/vision/vit_positions.py"
SIDE = 5


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 1000, "batch_size": 64, "eval_every": 1000, "checkpoint_every": 1000,
            "model": {"name": "bert", "width": 32, "depth": 1, "heads": 4, "norm_order": "pre", "head": "masked"},
            "objective": {"name": "masked_language_modeling", "rate": 0.3},
            "data": {"name": "random_fields", "side": SIDE},
            "optimizer": {"learning_rate": 3e-3, "warmup": 100, "clip": 1.0},
        }
    )  # fmt: skip


def run(seed: int, train: Trainer, *, scale: float = 1.5) -> dict:
    part = train(CONFIG, {"field": {"data.scale": scale}})["field"]
    examples = part.run.dataset.evaluation.examples(np.arange(3) + seed % 1000)["inputs"]["tokens"]
    # This is one of the runs of the figure `vit_data`.
    classifier = train(vit_data.CONFIG, {"digits": vit_data.VIT | {"data.train": f"train[:{vit_data.SIZES[-1]}]"}})
    of_positions = lambda model: similarity(np.array(model.positions.table[...]))
    return {
        "similarity": of_positions(part.model),
        "classifier": of_positions(classifier["digits"].model),
        "accuracy": part.metrics["test/accuracy"],
        "examples": examples.reshape(-1, SIDE, SIDE),
    }


def check(results: dict) -> list[Criterion]:
    correlation = lambda name: spearmanr(*_pairs(results[name]))[0]
    return [
        at_most("rank correlation of distance and similarity", correlation("similarity"), -0.6),
        at_least("rank correlation of distance and similarity, classifier of digits", correlation("classifier"), -0.3),
    ]


def _pairs(similarity_TT) -> tuple[np.ndarray, np.ndarray]:
    """The distances and the similarities of all pairs of places on a square grid."""
    side = round(len(similarity_TT) ** 0.5)
    pairs = np.triu_indices(side * side, 1)
    return grid_distances(side, side)[pairs], similarity_TT[pairs]


def plot(figure: Figure, results: dict) -> None:
    left, right = split(figure, 1, 2, width_ratios=[1.1, 1])
    axes = left.subplots()
    tiles(axes, results["similarity"].reshape(SIDE, SIDE, SIDE, SIDE), vmin=-0.6, vmax=1)
    axes.set_title("Similarity of each place to all others")
    top, bottom = split(right, 2, 1, height_ratios=[1, 1.6])
    axes = top.subplots()
    tiles(axes, results["examples"][None], cmap="gray")
    axes.set_title("Training images")
    axes = bottom.subplots()
    axes.plot(*_pairs(results["similarity"]), "C0o", markersize=5, alpha=0.35, markeredgewidth=0)
    for name, label, style in (("similarity", "mean", "C1-"), ("classifier", "mean, classifier", "C2--")):
        distances, alike = _pairs(results[name])
        steps = np.unique(distances.round(6))
        axes.plot(steps, [alike[np.isclose(distances, step)].mean() for step in steps], style, label=label)
    axes.set(xlabel="distance on the grid (places)", ylabel="cosine")
    axes.legend(loc="upper right", ncols=2)
    axes.set_ylim(-1, 1.4)
    grid(axes)
