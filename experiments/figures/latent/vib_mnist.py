"""A bottleneck as a regulariser: the class of an image through 17 nats of noise.

The classifier reads a draw of 256 latents, and every nat that they tell of the image has its price, beta. What does
not help to name the class is left out, and that generalises.

Formula: minimise E_q[-log p(y | z)] + beta KL(q(z | x) || N(0, I)), with beta = 0.001
Source: V. Roth, Neural Encoder-Decoder Models; Alemi et al. 2017, table 1: 1.13 % errors (200 epochs; here 60).
Look at: the images that are misread. They cost fewer nats: what is not known for sure stays close to the prior.
"""

import jax
import numpy as np

from experiments.figures.engine import near
from experiments.figures.style import grid, tiles
from objectives.variational import kl_to_standard_normal

NEEDS = ("mnist",)
CONFIG = "configs/vib_mnist.py"


def run(seed: int, train, *, beta: float = 0.001) -> dict:
    part = train(CONFIG, {"vib": {"objective.beta": beta}})["vib"]
    batch = part.run.dataset.evaluation.examples(np.arange(10_000))
    logits, (mean, log_variance) = jax.jit(lambda x: (part.model(x), part.model.encode(x)))(batch["inputs"]["images"])
    read, labels = np.array(logits.argmax(-1)), batch["targets"]
    wrong = np.flatnonzero(read != labels)
    return {
        "error": 1 - part.metrics["test/accuracy"],
        "kl": np.array(kl_to_standard_normal(mean, log_variance).sum(-1)),
        "right": read == labels,
        "images": batch["inputs"]["images"][wrong[:20], :, :, 0],
        "read": [f"{label}, read {answer}" for label, answer in zip(labels[wrong[:20]], read[wrong[:20]])],
    }


def check(found: dict) -> list:
    return [near("errors on held-out images, %", 100 * found["error"], 1.13, 0.2)]


def plot(figure, found: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1.2, 1])
    tiles(left, found["images"].reshape(4, 5, 28, 28), cmap="gray")
    left.set_title(f"Misread: {100 * found['error']:.2f} % of the held-out images")
    for number, words in enumerate(found["read"]):
        left.text(29 * (number % 5) + 13.5, 29 * (number // 5) + 27, words, color="white", fontsize=10, ha="center")
    edges = np.linspace(0, np.quantile(found["kl"], 0.999), 40)
    for number, (right_, name) in enumerate(((True, "read right"), (False, "misread"))):
        kl = found["kl"][found["right"] == right_]
        right.hist(kl, edges, density=True, color=f"C{number}", alpha=0.7, label=name)
    right.set(xlabel="nats that the latents tell of an image", ylabel="share of images (a nat)", title="What it costs")
    right.legend()
    grid(right, "y")
