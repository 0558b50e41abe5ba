"""For textures a bag of patches is enough: shuffling them does not change the answer.

A Vision Transformer without positions reads its patches as a set. It recognises the direction of stripes well, because
every patch shows it. Such a model cannot see the shape of a whole object, but much of what models recognise is texture.

Formula: f(P patches) = f(patches) for every order P, if the patches carry no positions
Source: Lecture on transformers in computer vision, slide 63; Brendel & Bethge 2019; Geirhos et al. 2019.
Look at: the logits of an image and of the same image with shuffled patches coincide.
"""

from einops import rearrange
from flax import nnx
import jax
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import grid, tiles
from experiments.figures.trained import Trainer

CONFIG = "experiments/figures/vision/texture_bag.py"
SIDE, PATCH = 16, 4


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 400, "batch_size": 64, "eval_every": 400, "checkpoint_every": 400, "best": "accuracy",
            "model": {"name": "vit", "patch": PATCH, "width": 48, "depth": 2, "heads": 4, "positions": "none"},
            "objective": {"name": "classification"},
            "data": {"name": "textures", "side": SIDE},
            "optimizer": {"learning_rate": 2e-3, "warmup": 50, "clip": 1.0},
        }
    )  # fmt: skip


def run(seed: int, train: Trainer, *, positions: str = "none") -> dict:
    part = train(CONFIG, {"bag": {"model.positions": positions}})["bag"]
    batch = part.run.dataset.evaluation.examples(np.arange(200))
    images = batch["inputs"]["images"]
    order = np.array(jax.random.permutation(jax.random.key(seed), (SIDE // PATCH) ** 2))
    cut = rearrange(images, "b (r p) (c q) d -> b (r c) p q d", p=PATCH, q=PATCH)[:, order]
    shuffled = rearrange(cut, "b (r c) p q d -> b (r p) (c q) d", r=SIDE // PATCH)
    logits = nnx.jit(lambda model, images: model(images))
    return {
        "accuracy": part.metrics["test/accuracy"],
        "logits": {name: np.array(logits(part.model, x)) for name, x in (("image", images), ("shuffled", shuffled))},
        "images": {"image": images[:3, :, :, 0], "shuffled": shuffled[:3, :, :, 0]},
    }


def check(results: dict) -> list[Criterion]:
    image, shuffled = results["logits"].values()
    return [
        at_least("accuracy on held-out images", results["accuracy"], 0.95),
        at_most("largest change of a logit when the patches are shuffled", np.abs(image - shuffled).max(), 1e-5),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, axes = figure.subplots(1, 2, width_ratios=[1.3, 1])
    tiles(left, np.stack(list(results["images"].values())), cmap="gray")
    left.set_yticks(left.get_yticks(), ["image", "patches\nshuffled"])
    classes = range(1, results["logits"]["image"].shape[1] + 1)
    axes.plot(classes, results["logits"]["image"][0], "C0o-", markersize=13, label="image")
    crosses = {"markersize": 11, "markeredgewidth": 3, "label": "patches shuffled"}
    axes.plot(classes, results["logits"]["shuffled"][0], "C1x", **crosses)
    axes.set(xlabel="class: direction of the stripes", ylabel="logit", title="Logits of the first image")
    axes.set_ylim(top=1.35 * results["logits"]["image"][0].max())
    axes.legend(loc="upper left")
    grid(axes, "y")
