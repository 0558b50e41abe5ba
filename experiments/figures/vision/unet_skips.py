"""Skip connections tell a U-Net where exactly the edges of a shape are.

Two U-Nets say of each pixel which shape it belongs to. They differ in the skip connections only. Both have to pass an
image of 3 x 3 pixels; without skips all that the decoder knows has come from there.

Formula: decoder input of a level = [features of the encoder at this level; 2 x 2 upsampled features from below]
Source: Lecture on transformers in computer vision, the U-Net; Ronneberger et al. 2015, figure 1.
Look at: without skips the shapes are in the right places, but pixels at edges are wrong at least ten times as often.
"""

from flax import nnx
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import bars, split
from experiments.figures.trained import Trainer

CONFIG = "configs/unet_shapes.py"
COUNT = 500
SHOWN = 4


def run(seed: int, train: Trainer, *, skips: bool = True) -> dict:
    nets = train(CONFIG, {"with skips": {"model.skips": skips}, "without": {"model.skips": False}})
    results = {"iou": {}, "near": {}, "far": {}, "predicted": {}}
    for name, net in nets.items():
        batch = net.run.dataset.evaluation.examples(np.arange(COUNT))
        images, labels = np.asarray(batch["inputs"]["images"]), np.asarray(batch["targets"])
        predicted = np.asarray(nnx.jit(lambda model, images: model(images).argmax(-1))(net.model, images))
        wrong, edge = predicted != labels, at_an_edge(labels)
        results["iou"][name] = net.metrics["test/iou"]
        results["near"][name], results["far"][name] = float(wrong[edge].mean()), float(wrong[~edge].mean())
        results["predicted"][name] = predicted[:SHOWN]
        results |= {"images": images[:SHOWN], "labels": labels[:SHOWN]}
    return results


def at_an_edge(labels: np.ndarray) -> np.ndarray:
    """Returns which pixels of `labels` (N, rows, columns) have another class above, below, to the left or right."""
    padded = np.pad(labels, ((0, 0), (1, 1), (1, 1)), mode="edge")
    neighbours = padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]
    return np.any([neighbour != labels for neighbour in neighbours], axis=0)


def check(results: dict) -> list[Criterion]:
    iou, near, far = results["iou"], results["near"], results["far"]
    return [
        at_least("mean intersection over union with skips", iou["with skips"], 0.9),
        at_least("what it lacks to 1: without skips, by with", (1 - iou["without"]) / (1 - iou["with skips"]), 3),
        at_least("without skips: errors at edges, by those elsewhere", near["without"] / far["without"], 3),
        at_most("errors at edges with skips, by those without", near["with skips"] / near["without"], 0.5),
    ]


def plot(figure: Figure, results: dict) -> None:
    pictures, numbers = split(figure, 1, 2, width_ratios=[1.25, 1])
    names = ["image", "labels", "skips", "without"]
    columns = [results["images"], results["labels"], *results["predicted"].values()]
    rows = pictures.subplots(SHOWN, len(names))
    for row, examples in zip(rows, zip(*columns)):
        for axes, name, example in zip(row, names, examples):
            axes.imshow(example, **({} if name == "image" else {"vmin": 0, "vmax": 5, "cmap": "viridis"}))
            axes.set(xticks=[], yticks=[])
    for axes, name in zip(rows[0], names):
        axes.set_title(name)
    above, below = numbers.subplots(2, 1)
    bars(above, list(results["iou"]), list(results["iou"].values()), ".2f", ["C0", "C1"])
    above.set(xlabel="mean IoU", xlim=(0, 1.25), xticks=[0, 0.5, 1])
    labels = [f"{name}, {place}" for place in ("edges", "elsewhere") for name in results["near"]]
    shares = [100 * share for kind in ("near", "far") for share in results[kind].values()]
    bars(below, labels, shares, ".1f", ["C0", "C1"] * 2)
    below.set(xlabel="wrong pixels (%)", xlim=(0, 1.25 * max(shares)))
