"""An information bottleneck as a regulariser: digits classified from 17 nats.

The classifier reads a random draw of 256 latents, and every nat that they carry about the image costs beta. What does
not help to name the class is left out, and this improves generalisation.

Formula: minimise E_q[-log p(y | z)] + beta KL(q(z | x) || N(0, I)), with beta = 0.001
Source: V. Roth, Neural Encoder-Decoder Models; Alemi et al. 2017, table 1: 1.13 % errors (200 epochs; here 60).
Look at: misclassified images cost fewer nats: if the class is unclear, the code stays close to the prior.
"""

import jax
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, near
from experiments.figures.style import grid, tiles
from experiments.figures.trained import Trainer
from objectives.variational import kl_to_standard_normal

NEEDS = ("mnist",)
CONFIG = "configs/vib_mnist.py"


def run(seed: int, train: Trainer, *, beta: float = 0.001) -> dict:
    trained = train(CONFIG, {"vib": {"objective.beta": beta}})["vib"]
    batch = trained.run.dataset.evaluation.examples(np.arange(10_000))
    outputs = jax.jit(lambda images: (trained.model(images), trained.model.encode(images)))
    logits, (mean, log_variance) = outputs(batch["inputs"]["images"])
    predicted, labels = np.array(logits.argmax(-1)), batch["targets"]
    wrong = np.flatnonzero(predicted != labels)
    return {
        "error": 1 - trained.metrics["test/accuracy"],
        "kl": np.array(kl_to_standard_normal(mean, log_variance).sum(-1)),
        "right": predicted == labels,
        "images": batch["inputs"]["images"][wrong[:20], :, :, 0],
        "words": [f"{label}, read {answer}" for label, answer in zip(labels[wrong[:20]], predicted[wrong[:20]])],
    }


def check(results: dict) -> list[Criterion]:
    return [near("errors on held-out images, %", 100 * results["error"], 1.13, 0.2)]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1.2, 1])
    tiles(left, results["images"].reshape(4, 5, 28, 28), cmap="gray")
    left.set_title(f"Misread: {100 * results['error']:.2f} % of the held-out images")
    for number, words in enumerate(results["words"]):
        left.text(29 * (number % 5) + 13.5, 29 * (number // 5) + 27, words, color="white", fontsize=10, ha="center")
    edges = np.linspace(0, np.quantile(results["kl"], 0.999), 40)
    for number, (is_right, name) in enumerate(((True, "right"), (False, "misread"))):
        kl = results["kl"][results["right"] == is_right]
        right.hist(kl, edges, density=True, color=f"C{number}", alpha=0.7, label=name)
    right.set(xlabel="nats in the latents of an image (KL)", ylabel="density of images", title="Cost of an image")
    right.legend()
    grid(right, "y")
