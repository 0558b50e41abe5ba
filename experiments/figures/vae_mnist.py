"""A variational autoencoder on MNIST, and how far its bound is from the evidence.

The loss bounds -log p(x) from above. With more draws from the posterior the bound becomes tighter, without any
training: the importance-weighted one with 200 draws is lower by several nats.

Formula: -log p(x) <= -E log mean_k p(x, z_k) / q(z_k | x) <= KL(q || p) - E_q log p(x | z), with z_k drawn from q
Source: V. Roth; Kingma & Welling 2014; Burda et al. 2016; the example of Flax, examples/vae (about 104 nats).
Look at: decoded draws from the prior. Pixels are grey and not binarised, so the nats are not those of binary MNIST.
"""

from einops import rearrange
import jax
import numpy as np

from experiments.figure import at_least, at_most
from experiments.slides import tiles
from objectives.variational import variational

NEEDS = ("mnist",)
CONFIG = "configs/vae_mnist.py"


def run(seed: int, train, *, latents: int = 20) -> dict:
    part = train(CONFIG, {"vae": {"model.latents": latents}})["vae"]
    batch = part.run.dataset.evaluation.examples(np.arange(500))
    _, metrics = jax.jit(lambda batch: variational(part.model, batch, None, evaluation_samples=200))(batch)
    bounds = {name: float(metrics[name][0] / metrics[name][1]) for name in ("elbo", "importance_bound")}
    z = jax.random.normal(jax.random.key(seed), (70, latents))
    return bounds | {
        "loss": part.metrics["test/loss"],
        "images": batch["targets"][:7, :, :, 0],
        "decoded": np.array(jax.nn.sigmoid(part.model(batch["inputs"]["images"][:7])))[..., 0],
        "samples": np.array(jax.nn.sigmoid(part.model.decode(z)["logits"]))[..., 0],
    }


def check(found: dict) -> list:
    return [
        at_most("held-out loss, nats an image", found["loss"], 104),
        at_least("what 200 draws gain on one, nats", found["importance_bound"] - found["elbo"], 1.0),
    ]


def plot(figure, found: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.05])
    rows = np.stack([found["images"], found["decoded"]])
    tiles(left, rearrange(rows, "two i h w -> i two h w"), cmap="gray", vmin=0, vmax=1)
    left.set_xticks(left.get_xticks(), ["image", "decoded"], fontsize=10)
    left.set_title(f"Held out: {found['loss']:.1f} nats an image")
    tiles(right, rearrange(found["samples"], "(r c) h w -> r c h w", c=10), cmap="gray", vmin=0, vmax=1)
    gain = found["importance_bound"] - found["elbo"]
    right.set(title="Draws from the prior", xlabel=f"the bound with 200 draws is {gain:.1f} nats tighter")
