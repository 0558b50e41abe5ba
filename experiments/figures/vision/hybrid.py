"""A few convolutions below a Vision Transformer replace many images.

The hybrid reads the feature map of a small ResNet instead of patches. That neighbouring pixels belong together and that
a stroke is the same stroke anywhere is built into these convolutions; the transformer above has to relate what they
found. It has as many tokens as the transformer alone, and fewer parameters.

Formula: test accuracy against the number of training images n, both trained for the same number of steps
Source: Lecture on transformers in computer vision, slide 65; Dosovitskiy et al. 2021, section 3.1 and figure 5.
Look at: the lead of the hybrid at 200 images, which closes with all of them.
"""

from matplotlib.figure import Figure
import numpy as np

from core.parameters import split
from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.trained import Trainer
from experiments.figures.vision import vit_data

CONFIG = "experiments/figures/vision/vit_data.py"
SIZES = vit_data.SIZES
HYBRID = vit_data.VIT | {"model.width": 36}  # the stem makes up for the width


def run(seed: int, train: Trainer, *, stem: str = "resnet") -> dict:
    models = {"hybrid": HYBRID | {"model.stem": stem}, "ViT": vit_data.VIT}
    runs = {
        f"{name}, {size}": fields | {"data.train": f"train[:{size}]"}
        for name, fields in models.items()
        for size in SIZES
    }
    trained = train(CONFIG, runs)
    count = lambda model: sum(x.size for x in split(model)[1].values())
    return {
        name: {
            "accuracy": np.array([trained[f"{name}, {size}"].metrics["test/accuracy"] for size in SIZES]),
            "parameters": count(trained[f"{name}, {SIZES[0]}"].model),
        }
        for name in models
    }


def check(results: dict) -> list[Criterion]:
    hybrid, vit = results["hybrid"], results["ViT"]
    lead = hybrid["accuracy"] - vit["accuracy"]
    return [
        at_least("lead of the hybrid at 200 images", lead[SIZES.index(200)], 0.05),
        at_most("lead of the hybrid at all images", lead[-1], 0.06),
        at_most("parameters of the hybrid for each one of the ViT", hybrid["parameters"] / vit["parameters"], 1),
    ]


def plot(figure: Figure, results: dict) -> None:
    label = lambda name: f"{name}, {results[name]['parameters']:,} parameters"
    vit_data.plot_by_size(figure, {label(name): result["accuracy"] for name, result in results.items()}, 45)
