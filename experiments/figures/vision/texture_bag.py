"""For textures a bag of patches is enough: shuffled, they get the same answer.

A Vision Transformer without positions reads its patches as a set. It tells the direction of stripes well, because
every patch shows it. What an image shows as a whole such a model cannot see, and much of what is called seeing is
texture.

Formula: f(P patches) = f(patches) for every order P, where the patches carry no positions
Source: Lecture on transformers in computer vision, slide 63; Brendel & Bethge 2019; Geirhos et al. 2019.
Look at: the logits of an image and of the same image with its patches shuffled, one on the other.
"""

from einops import rearrange
from flax import nnx
import jax
from ml_collections import ConfigDict
import numpy as np

from experiments.figures.engine import at_least, at_most
from experiments.figures.style import grid, tiles

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


def run(seed: int, train, *, positions: str = "none") -> dict:
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


def check(found: dict) -> list:
    image, shuffled = found["logits"].values()
    return [
        at_least("accuracy, held out", found["accuracy"], 0.95),
        at_most("largest change of a logit when the patches are shuffled", np.abs(image - shuffled).max(), 1e-5),
    ]


def plot(figure, found: dict) -> None:
    left, axes = figure.subplots(1, 2, width_ratios=[1.3, 1])
    tiles(left, np.stack(list(found["images"].values())), cmap="gray")
    left.set_yticks(left.get_yticks(), ["image", "patches\nshuffled"])
    classes = range(1, found["logits"]["image"].shape[1] + 1)
    axes.plot(classes, found["logits"]["image"][0], "C0o-", markersize=13, label="image")
    crosses = {"markersize": 11, "markeredgewidth": 3, "label": "patches shuffled"}
    axes.plot(classes, found["logits"]["shuffled"][0], "C1x", **crosses)
    axes.set(xlabel="class: direction of the stripes", ylabel="logit", title="What the first image gets")
    axes.set_ylim(top=1.35 * found["logits"]["image"][0].max())
    axes.legend(loc="upper left")
    grid(axes, "y")
