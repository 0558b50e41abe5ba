"""Some heads look nearby, others far away: attention can be as local as a convolution.

Model and images are those of the figure on learned positions. A missing pixel of a smooth image is best predicted from
its neighbours, and at least one head learns to look there. A head's distance is the average distance from a query to
the places it attends to, weighted by its attention.

Formula: d_h = mean over queries t of sum_s w_hts |place t - place s|
Source: Lecture on transformers in computer vision, slide 62; Dosovitskiy et al. 2021, figure 7.
Look at: the distance of each head compared with uniform attention, and where the most local head looks.
"""

from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_most
from experiments.figures.style import ink, tiles
from experiments.figures.trained import Trainer
from experiments.figures.vision.vit_positions import CONFIG, SIDE
from experiments.inside.attention_maps import attention_distance, attention_maps, grid_distances


def run(seed: int, train: Trainer, *, scale: float = 1.5) -> dict:
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


def check(results: dict) -> list[Criterion]:
    share = results["heads"].min() / results["uniform"]
    return [at_most("distance of the most local head, relative to uniform attention", share, 0.7)]


def plot(figure: Figure, results: dict) -> None:
    left, middle, right = figure.subplots(1, 3, width_ratios=[0.75, 1, 1])
    order = np.sort(results["heads"])
    numbers = range(1, len(order) + 1)
    left.bar(numbers, order, color="C0", width=0.6)
    left.axhline(results["uniform"], color=ink(), linestyle=":")
    left.text(0.62, 1.01 * results["uniform"], "uniform attention", va="bottom", fontsize=13)
    left.set(xlabel="head, most local first", ylabel="mean distance (places)", ylim=(0, 1.15 * results["uniform"]))
    left.set_xticks(list(numbers))
    for axes, name, title in zip(
        (middle, right), ("near", "far"), ("The most local head", "The least local head")
    ):
        tiles(axes, results[name].reshape(SIDE, SIDE, SIDE, SIDE), vmin=0, cmap="cividis")
        axes.set(title=title, xlabel="attention from each place")
