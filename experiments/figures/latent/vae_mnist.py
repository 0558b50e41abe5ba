"""A variational autoencoder on MNIST, and how far its bound is from the evidence.

The loss bounds -log p(x) from above. With more draws from the posterior the bound becomes tighter, without any
training: the importance-weighted one with 200 draws is lower by several nats.

Formula: -log p(x) <= -E log mean_k p(x, z_k) / q(z_k | x) <= KL(q || p) - E_q log p(x | z), with z_k drawn from q
Source: V. Roth; Kingma & Welling 2014; Burda et al. 2016; the example of Flax, examples/vae (about 104 nats).
Look at: decoded draws from the prior. Pixels are grey, and their nats not those of binary MNIST, on the right below.
"""

from einops import rearrange
import jax
import numpy as np

from experiments.figures.engine import at_least, at_most, near
from experiments.figures.style import tiles
from objectives.variational import variational

NEEDS = ("mnist",)
CONFIG = "configs/vae_mnist.py"


def run(seed: int, train, *, latents: int = 20) -> dict:
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
    """The bound with one draw and with 200, of 1,000 held-out images."""
    batch = part.run.dataset.evaluation.examples(np.arange(1000))
    _, metrics = jax.jit(lambda batch: variational(part.model, batch, None, evaluation_samples=200))(batch)
    return {name: float(metrics[name][0] / metrics[name][1]) for name in ("elbo", "importance_bound")}


def check(found: dict) -> list:
    return [
        at_most("held-out loss, nats an image", found["loss"], 104),
        # Not 89.8 to 89.9, as benchmark_VAE reports: these take more than 10 epochs, after which held-out and training
        # images still cost the same. Seeds 0, 1 and 2 give 92.9, 92.9 and 93.3.
        near("-log p of a binary image by 200 draws, nats", -found["binary"], 92.9, 1.0),
        at_least("what 200 draws gain on one, nats", found["importance_bound"] - found["elbo"], 1.0),
    ]


def plot(figure, found: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[2, 10])
    rows = np.stack([found["images"], found["decoded"]])
    tiles(left, rearrange(rows, "two i h w -> i two h w"), cmap="gray", vmin=0, vmax=1)
    left.set_xticks(left.get_xticks(), ["image", "decoded"], fontsize=10)
    left.set_title("Held out")
    tiles(right, rearrange(found["samples"], "(r c) h w -> r c h w", c=10), cmap="gray", vmin=0, vmax=1)
    gain = found["importance_bound"] - found["elbo"]
    said = f"{found['loss']:.1f} nats a held-out image, of which 200 draws save {gain:.1f}"
    said += f"\nbinary images: {-found['binary']:.1f} nats"
    right.set(title="Draws from the prior", xlabel=said)
