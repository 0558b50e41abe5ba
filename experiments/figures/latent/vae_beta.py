"""The knob of a variational autoencoder: beta says what a nat about the image is worth.

If beta is small, no information is worth its price: the posterior equals the prior, and the latents say nothing. If
beta is large, the latents carry everything that helps. In the usual beta-VAE, beta weighs the other term, so small and
large change places.

Formula: loss = KL(q(z | x) || p(z)) - beta E_q log p(x | z), with a Gaussian of variance 0.05
Source: V. Roth, Neural Encoder-Decoder Models; Tishby et al. 1999. The usual beta (Higgins et al. 2017) is 1 / beta.
Look at: the KL rises from zero with beta. From beta = 1 on, only the training images are reconstructed better.
"""

from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_least, near
from experiments.figures.style import grid, tiles
from experiments.figures.trained import Trainer

CONFIG = "configs/vae.py"
BETAS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
NATS = (0.005, 0.45, 2.5, 4.7, 6.4, 7.9)  # the KL to expect at each beta
PLANE = {
    "eval_every": 3000, "checkpoint_every": 3000, "model.width": 128, "model.likelihood": "gaussian",
    "model.variance": 0.05,
}  # fmt: skip


def run(seed: int, train: Trainer, *, beta_weighs: str = "likelihood") -> dict:
    runs = {f"{beta:g}": PLANE | {"objective.beta_weighs": beta_weighs, "objective.beta": beta} for beta in BETAS}
    trained = train(CONFIG, runs)
    metric = lambda name: np.array([run.metrics[name] for run in trained.values()])
    images = next(iter(trained.values())).run.dataset.evaluation.examples(np.arange(6))["targets"]
    decoded = {name: np.array(trained[name].model(images)) for name in ("0.03", "0.3", "10")}
    reconstruction = {split: metric(f"{split}/reconstruction") for split in ("train", "test")}
    return {"kl": metric("test/kl"), "reconstruction": reconstruction, "images": images, "decoded": decoded}


def check(results: dict) -> list[Criterion]:
    kl = results["kl"]
    return [
        *(near(f"KL at beta {beta:g}, nats", x, nats, 0.1 + 0.1 * nats) for beta, x, nats in zip(BETAS, kl, NATS)),
        at_least("smallest rise of the KL from one beta to the next", np.diff(kl).min(), 0.0),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    left.semilogx(BETAS, results["reconstruction"]["test"], "C1s--", label="-log p(x | z), held-out images")
    left.semilogx(BETAS, results["reconstruction"]["train"], "C1s-", label="-log p(x | z), training images")
    left.semilogx(BETAS, results["kl"], "C0o-", label="KL, the cost of the latents")
    left.set(xlabel="beta (log scale)", ylabel="nats per image", title="Two latents, 8x8 digits")
    left.set_xticks(BETAS, [f"{beta:g}" for beta in BETAS])
    left.minorticks_off()
    left.set_ylim(top=20)
    left.legend(loc="upper right")
    grid(left)
    rows = {"image": results["images"]} | {f"beta {name}": x for name, x in results["decoded"].items()}
    tiles(right, np.stack(list(rows.values()))[..., 0], cmap="gray", vmin=0, vmax=1)
    right.set_yticks(right.get_yticks(), list(rows))
    right.set_title("Held-out images, decoded")
