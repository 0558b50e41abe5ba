"""A Vision Transformer has to learn what is built into a convolution, and that takes images.

With few images the transformer is behind; with more, the gap shrinks. A convolution has two things built in:
neighbouring pixels belong together, and a stroke is the same stroke anywhere. A transformer can learn this only through
its positions; without them it reads a bag of patches.

Formula: test accuracy against the number of training images n, all models trained for the same number of steps
Source: Lecture on transformers in computer vision, slide 61; Dosovitskiy et al. 2021, figure 4.
Look at: the gap to the convolutional net, which closes, and how much the positions help.
"""

from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from experiments.figures.engine import Criterion, at_least, at_most, near
from experiments.figures.style import grid
from experiments.figures.trained import Trainer

CONFIG = "experiments/figures/vision/vit_data.py"
SIZES = (50, 200, 1400)
EXPECTED = {
    "convolutional net": (0.80, 0.93, 0.97),
    "ViT": (0.60, 0.79, 0.95),
    "ViT without positions": (0.44, 0.58, 0.72),
}
VIT = {"model.name": "vit", "model.patch": 2, "model.heads": 4, "model.depth": 3, "model.width": 48}
# The convolutional classifier is the bottleneck's encoder with a linear map, trained without the bottleneck's cost.
CNN = {"model.name": "variational", "model.encoder": "convolutional", "model.likelihood": "categorical",
       "model.latents": 32, "model.width": 32, "model.depth": 2, "model.decoder_depth": 0}  # fmt: skip
MODELS = {"convolutional net": CNN, "ViT": VIT, "ViT without positions": VIT | {"model.positions": "none"}}


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 500, "batch_size": 50, "eval_every": 500, "checkpoint_every": 500, "best": "accuracy",
            "model": {"name": "vit"},
            "objective": {"name": "classification"},
            "data": {"name": "digits"},
            "optimizer": {"learning_rate": 3e-3, "warmup": 50, "weight_decay": 0.1, "clip": 1.0},
        }
    )  # fmt: skip


def run(seed: int, train: Trainer, *, positions: str = "learned") -> dict:
    runs = {
        f"{name}, {size}": fields | {"data.train": f"train[:{size}]"}
        for name, fields in (MODELS | {"ViT": VIT | {"model.positions": positions}}).items()
        for size in SIZES
    }
    trained = train(CONFIG, runs)
    return {name: np.array([trained[f"{name}, {size}"].metrics["test/accuracy"] for size in SIZES]) for name in MODELS}


def check(results: dict) -> list[Criterion]:
    cnn, vit, bag = results.values()
    # The choice of the 50 images changes the accuracy by many points. All models have the same images, so differences
    # between models have tighter bounds.
    each = [
        near(f"{name}, {size:,} images", x, expected, 0.15 if size == SIZES[0] else 0.1)
        for name in results
        for size, x, expected in zip(SIZES, results[name], EXPECTED[name])
    ]
    return each + [
        at_least(f"lead of the convolutional net at {SIZES[0]} images", cnn[0] - vit[0], 0.1),
        at_most("lead of the convolutional net at all images", cnn[-1] - vit[-1], 0.05),
        at_least("smallest gain from positions", (vit - bag).min(), 0.05),
    ]


def plot(figure: Figure, results: dict) -> None:
    plot_by_size(figure, results, 25)


def plot_by_size(figure: Figure, accuracies: dict[str, np.ndarray], lowest: float) -> None:
    """Draws accuracies (sizes,) by the number of training images, from `lowest` per cent on."""
    axes = figure.subplots()
    for number, (name, accuracy) in enumerate(accuracies.items()):
        axes.semilogx(SIZES, 100 * accuracy, f"C{number}" + "os^"[number] + "-", label=name)
        for size, share in zip(SIZES, accuracy):
            place = {"xytext": (0, -20 if number else 9), "textcoords": "offset points", "ha": "center"}
            axes.annotate(f"{100 * share:.0f}", (size, 100 * share), **place, fontsize=13)
    axes.set_xticks(SIZES, [f"{size:,}" for size in SIZES])
    axes.minorticks_off()
    axes.set(xlabel="training images (log scale)", ylabel="accuracy on held-out images (%)", ylim=(lowest, 106))
    axes.set_title("8x8 digits, 500 steps each")
    axes.legend(loc="lower right")
    grid(axes, "y")
