"""CLIP learns most from hard negatives: the more similar a wrong text, the harder its push.

Of all wrong texts in the batch, those that are almost right have nearly all of the probability, and the gradient of
the loss is that probability. The temperature decides how much the hardest ones stand out. So a larger batch helps: it
has harder negatives.

Formula: dL/ds_ij = (p_ij + q_ij) / 2B for i != j, with p the softmax over the texts, q over the images
Source: Lecture on transformers in computer vision, slide 46; Radford et al. 2021, figure 3; Wang & Liu 2021.
Look at: the push on each wrong pair over its cosine, at three temperatures.
"""

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import grid, matrix
from objectives.contrastive import contrastive

PAIRS = 10
TEMPERATURES = (0.5, 0.2, 0.07)


def run(seed: int, *, temperatures: tuple[float, ...] = TEMPERATURES) -> dict:
    generator = np.random.default_rng(seed)
    # Unit vectors of images on a circle, and of their texts close by.
    images = 2 * np.pi * (np.arange(PAIRS) + generator.uniform(-0.3, 0.3, PAIRS)) / PAIRS
    texts = images + generator.normal(0, 0.1, PAIRS)
    cosines = np.cos(images[:, None] - texts).astype(np.float32)
    gradients = {temperature: _gradient(cosines / temperature) for temperature in temperatures}
    differences = [np.abs(gradients[t] - _formula(cosines / t)).max() for t in temperatures]
    push = gradients[temperatures[-1]]
    ratios = []
    for i in range(PAIRS):  # the negatives of each image: the most similar and the least similar text
        wrong = np.delete(np.arange(PAIRS), i)
        hardest, easiest = wrong[cosines[i, wrong].argmax()], wrong[cosines[i, wrong].argmin()]
        ratios.append(push[i, hardest] / push[i, easiest])
    return {
        "cosines": cosines,
        "gradients": gradients,
        "difference": float(max(differences)),
        "smallest ratio": float(min(ratios)),
        "lowest push": float(min(push[~np.eye(PAIRS, dtype=bool)].min() for push in gradients.values())),
    }


def check(results: dict) -> list[Criterion]:
    return [
        at_most("largest difference between the gradient and the formula", results["difference"], 1e-6),
        at_least("push on the hardest wrong text over that on the easiest", results["smallest ratio"], 1000),
        at_least("lowest push on a wrong pair", results["lowest push"], 0),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
    drawn = matrix(left, results["cosines"], vmin=-1, vmax=1)
    left.set(xticks=[], yticks=[], xlabel="texts", ylabel="images", title="Cosines; right pairs: diagonal")
    figure.colorbar(drawn, ax=left, shrink=0.7)
    wrong = ~np.eye(PAIRS, dtype=bool)
    for number, (temperature, gradient) in enumerate(results["gradients"].items()):
        right.semilogy(results["cosines"][wrong], gradient[wrong], f"C{number}o", label=f"temperature {temperature:g}")
    right.set(xlabel="cosine of a wrong pair", ylabel="gradient of the loss", title="How hard it is pushed away")
    right.legend()
    grid(right)


def _gradient(similarities: np.ndarray) -> np.ndarray:
    """The gradient of the objective itself, as a model would get it, (images, texts)."""
    targets, weights = np.arange(PAIRS), np.ones(PAIRS, np.float32)
    model = lambda similarities, key: similarities

    def loss(similarities: jax.Array) -> jax.Array:
        batch = {"inputs": {"similarities": similarities}, "targets": targets, "weights": weights}
        return contrastive(model, batch, None)[0]

    return np.array(jax.grad(loss)(jnp.asarray(similarities)))


def _formula(similarities: np.ndarray) -> np.ndarray:
    """The probability of each wrong partner in both directions, and that of the right one minus 1, over 2B."""
    exponentials = np.exp(similarities.astype(np.float64))
    probabilities = exponentials / exponentials.sum(1, keepdims=True) + exponentials / exponentials.sum(0)
    return (probabilities - 2 * np.eye(len(similarities))) / (2 * len(similarities))
