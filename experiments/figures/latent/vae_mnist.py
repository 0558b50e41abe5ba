"""A variational autoencoder on MNIST, and how far its bound is from the evidence.

The loss is an upper bound on -log p(x). With more draws from the posterior, the bound becomes tighter without any
further training: the importance-weighted bound with 200 draws is lower by several nats.

Formula: -log p(x) <= -E log mean_k p(x, z_k) / q(z_k | x) <= KL(q || p) - E_q log p(x | z), with z_k drawn from q
Source: V. Roth; Kingma & Welling 2014; Burda et al. 2016; the example of Flax, examples/vae (about 104 nats).
Look at: the decoded draws from the prior. Their pixels are grey, so their nats do not compare with binary MNIST.
"""

from einops import rearrange
import jax
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_least, at_most, near
from experiments.figures.style import tiles
from experiments.figures.trained import Trainer
from objectives.variational import variational

NEEDS = ("mnist",)
CONFIG = "configs/vae_mnist.py"


def run(seed: int, train: Trainer, *, latents: int = 20) -> dict:
    kinds = {"grey": {}, "binary": {"data.name": "binary_mnist"}}
    trained = train(CONFIG, {name: {"model.latents": latents} | fields for name, fields in kinds.items()})
    part = trained["grey"]
    batch = part.run.dataset.evaluation.examples(np.arange(7))
    bounds = _bounds(part) | {"binary": _bounds(trained["binary"])["importance_bound"]}
    z = jax.random.normal(jax.random.key(seed), (70, latents))
    return bounds | {
        "loss": part.metrics["test/loss"],
        "images": batch["targets"][..., 0],
        "decoded": np.array(jax.nn.sigmoid(part.model(batch["inputs"]["images"])))[..., 0],
        "samples": np.array(jax.nn.sigmoid(part.model.decode(z)["logits"]))[..., 0],
    }


def _bounds(part) -> dict[str, float]:
    """The bounds with one draw and with 200 draws, on 1,000 held-out images."""
    batch = part.run.dataset.evaluation.examples(np.arange(1000))
    _, metrics = jax.jit(lambda batch: variational(part.model, batch, None, evaluation_samples=200))(batch)
    return {name: float(metrics[name][0] / metrics[name][1]) for name in ("elbo", "importance_bound")}


def check(results: dict) -> list[Criterion]:
    return [
        at_most("held-out loss, nats per image", results["loss"], 104),
        # benchmark_VAE reports 89.8 to 89.9, but trains for more than 10 epochs. After 10, training and held-out images
        # still have the same loss. Seeds 0, 1 and 2 give 92.9, 92.9 and 93.3.
        near("-log p(x) of a binary image with 200 draws, nats", -results["binary"], 92.9, 1.0),
        at_least("gain of 200 draws over one, nats", results["importance_bound"] - results["elbo"], 1.0),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[2, 10])
    rows = np.stack([results["images"], results["decoded"]])
    tiles(left, rearrange(rows, "two i h w -> i two h w"), cmap="gray", vmin=0, vmax=1)
    left.set_xticks(left.get_xticks(), ["image", "decoded"], fontsize=10)
    left.set_title("Held out")
    tiles(right, rearrange(results["samples"], "(r c) h w -> r c h w", c=10), cmap="gray", vmin=0, vmax=1)
    gain = results["importance_bound"] - results["elbo"]
    summary = f"held-out loss {results['loss']:.1f} nats per image; 200 draws lower it by {gain:.1f}"
    summary += f"\nbinary images: {-results['binary']:.1f} nats"
    right.set(title="Draws from the prior", xlabel=summary)
