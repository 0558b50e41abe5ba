"""Some heads look near, others far: attention may be as local as a convolution.

The same model and images as for the learned positions: what is missing of a smooth image is best read off its
neighbours, and at least one head learns to look there. How far a head looks is the mean distance of what it weighs.

Formula: d_h = mean over queries t of sum_s w_hts |place t - place s|
Source: Lecture on transformers in computer vision, slide 62; Dosovitskiy et al. 2021, figure 7.
Look at: the distance of each head against that of looking everywhere alike, and where the nearest one looks.
"""

import numpy as np

from experiments.figures.engine import at_most
from experiments.figures.style import ink, tiles
from experiments.figures.vision.vit_positions import CONFIG, SIDE
from experiments.inside.attention_maps import attention_distance, attention_maps, grid_distances


def run(seed: int, train, *, scale: float = 1.5) -> dict:
    part = train(CONFIG, {"field": {"data.scale": scale}})["field"]
    batch = part.run.dataset.evaluation.examples(np.arange(500))
    (weights,) = attention_maps(part.model, batch["inputs"]).values()
    distances = grid_distances(SIDE, SIDE)
    heads = attention_distance(weights, distances)
    return {
        "heads": heads,
        "uniform": float(distances.mean()),
        "near": weights[:, heads.argmin()].mean(0),
        "far": weights[:, heads.argmax()].mean(0),
    }


def check(found: dict) -> list:
    share = found["heads"].min() / found["uniform"]
    return [at_most("distance of the nearest head, as a share of the uniform one", share, 0.7)]


def plot(figure, found: dict) -> None:
    left, middle, right = figure.subplots(1, 3, width_ratios=[0.75, 1, 1])
    order = np.sort(found["heads"])
    numbers = range(1, len(order) + 1)
    left.bar(numbers, order, color="C0", width=0.6)
    left.axhline(found["uniform"], color=ink(), linestyle=":")
    left.text(0.62, 1.01 * found["uniform"], "everywhere alike", va="bottom", fontsize=13)
    left.set(xlabel="head, nearest first", ylabel="mean distance (places)", ylim=(0, 1.15 * found["uniform"]))
    left.set_xticks(list(numbers))
    for axes, name, title in zip(
        (middle, right), ("near", "far"), ("The nearest head looks", "The farthest head looks")
    ):
        tiles(axes, found[name].reshape(SIDE, SIDE, SIDE, SIDE), vmin=0, cmap="cividis")
        axes.set(title=title, xlabel="from each place")
