"""Learned positions find out by themselves that an image has two dimensions.

The model reads an image as a row of 25 tokens, and each place gets a vector of its own, random at first. It is to fill
in what is missing of smooth random images. Places whose values are alike are then told apart least: the vectors of
neighbours, in both directions, become similar. A classifier of digits has no need of that, and does not show it.

Formula: cos(p_i, p_j) against the distance of i and j on the grid
Source: Lecture on transformers in computer vision, slide 59; Dosovitskiy et al. 2021, figure 7; Bao et al. 2022.
Look at: each small picture shows how alike one place's vector is to all others: brightest at that place. The curve
  falls, but not for the classifier.
"""

from ml_collections import ConfigDict
import numpy as np
from scipy.stats import spearmanr

from experiments.figures.engine import at_least, at_most
from experiments.figures.style import grid, tiles
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
            "data": {"name": "random_fields", "side": SIDE, "scale": 1.5},
            "optimizer": {"learning_rate": 3e-3, "warmup": 100, "clip": 1.0},
        }
    )  # fmt: skip


def run(seed: int, train, *, scale: float = 1.5) -> dict:
    part = train(CONFIG, {"field": {"data.scale": scale}})["field"]
    examples = part.run.dataset.evaluation.examples(np.arange(3) + seed % 1000)["inputs"]["tokens"]
    # One of the runs of the figure `vit_data`.
    classifier = train(vit_data.CONFIG, {"digits": vit_data.VIT | {"data.train": f"train[:{vit_data.SIZES[-1]}]"}})
    alike = lambda model: similarity(np.array(model.positions.table[...]))
    return {
        "similarity": alike(part.model),
        "classifier": alike(classifier["digits"].model),
        "accuracy": part.metrics["test/accuracy"],
        "examples": examples.reshape(-1, SIDE, SIDE),
    }


def check(found: dict) -> list:
    return [
        at_most("rank correlation of distance and similarity", spearmanr(*_pairs(found["similarity"])).statistic, -0.6),
        at_least("the same of a classifier of digits", spearmanr(*_pairs(found["classifier"])).statistic, -0.3),
    ]


def _pairs(similarity_TT) -> tuple[np.ndarray, np.ndarray]:
    """The distance and the similarity of each two places of a square grid."""
    side = round(len(similarity_TT) ** 0.5)
    pairs = np.triu_indices(side * side, 1)
    return grid_distances(side, side)[pairs], similarity_TT[pairs]


def plot(figure, found: dict) -> None:
    left, right = figure.subfigures(1, 2, width_ratios=[1.1, 1])
    axes = left.subplots()
    tiles(axes, found["similarity"].reshape(SIDE, SIDE, SIDE, SIDE), vmin=-0.6, vmax=1)
    axes.set_title("Similarity of each place to all places")
    top, bottom = right.subfigures(2, 1, height_ratios=[1, 1.6])
    axes = top.subplots()
    tiles(axes, found["examples"][None], cmap="gray")
    axes.set_title("Images it learned from")
    axes = bottom.subplots()
    axes.plot(*_pairs(found["similarity"]), "C0o", markersize=5, alpha=0.35, markeredgewidth=0)
    for name, label, style in (("similarity", "mean", "C1-"), ("classifier", "of a classifier", "C2--")):
        distances, alike = _pairs(found[name])
        steps = np.unique(distances.round(6))
        axes.plot(steps, [alike[np.isclose(distances, step)].mean() for step in steps], style, label=label)
    axes.set(xlabel="distance on the grid (places)", ylabel="cosine")
    axes.legend(loc="upper right", ncols=2)
    axes.set_ylim(-1, 1.4)
    grid(axes)
