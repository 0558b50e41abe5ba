"""Learned positions find out by themselves that an image has two dimensions.

The model reads an image as a row of 25 tokens, and each place gets a vector of its own, random at first. It is to fill
in what is missing of smooth random images. Places whose values are alike are then told apart least: the vectors of
neighbours, in both directions, become similar. (A classifier of digits of this size does not need that, nor show it.)

Formula: cos(p_i, p_j) against the distance of i and j on the grid
Source: Lecture on transformers in computer vision, slide 59; Dosovitskiy et al. 2021, figure 7; Bao et al. 2022.
Look at: each small picture shows how alike one place's vector is to all others: brightest at that place.
"""

from ml_collections import ConfigDict
import numpy as np
from scipy.stats import spearmanr

from experiments.attention_maps import grid_distances, similarity
from experiments.figure import at_most
from experiments.slides import grid, tiles

CONFIG = "experiments/figures/vit_positions.py"
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
    return {
        "similarity": similarity(np.array(part.model.positions.table[...])),
        "accuracy": part.metrics["test/accuracy"],
        "examples": examples.reshape(-1, SIDE, SIDE),
    }


def check(found: dict) -> list:
    pairs = np.triu_indices(SIDE * SIDE, 1)
    rank = spearmanr(grid_distances(SIDE, SIDE)[pairs], found["similarity"][pairs]).statistic
    return [at_most("rank correlation of distance and similarity", rank, -0.6)]


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
    pairs = np.triu_indices(SIDE * SIDE, 1)
    distances, alike = grid_distances(SIDE, SIDE)[pairs], found["similarity"][pairs]
    axes.plot(distances, alike, "C0o", markersize=5, alpha=0.35, markeredgewidth=0)
    steps = np.unique(distances.round(6))
    axes.plot(steps, [alike[np.isclose(distances, step)].mean() for step in steps], "C1-", label="mean")
    axes.set(xlabel="distance on the grid (places)", ylabel="cosine")
    axes.legend()
    grid(axes)
