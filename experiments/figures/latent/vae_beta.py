"""The knob of a variational autoencoder: beta says what a nat about the image is worth.

With a small beta nothing is worth its price: the posterior is the prior and the latents say nothing. With a large one
they say all that helps. In the usual beta-VAE the number weighs the other term, so large and small change places.

Formula: loss = KL(q(z | x) || p(z)) - beta E_q log p(x | z), with a Gaussian of variance 0.05
Source: V. Roth, Neural Encoder-Decoder Models; Tishby et al. 1999. The usual beta (Higgins et al. 2017) is 1 / beta.
Look at: what the latents cost rises with beta, from nothing. From 1 on they pay off for the training images only.
"""

import numpy as np

from experiments.figures.engine import at_least, near
from experiments.figures.style import grid, tiles

CONFIG = "configs/vae.py"
BETAS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
NATS = (0.005, 0.45, 2.5, 4.7, 6.4, 7.9)
PLANE = {
    "eval_every": 3000, "checkpoint_every": 3000, "model.width": 128, "model.likelihood": "gaussian",
    "model.variance": 0.05,
}  # fmt: skip


def run(seed: int, train, *, beta_weighs: str = "likelihood") -> dict:
    runs = {f"{beta:g}": PLANE | {"objective.beta_weighs": beta_weighs, "objective.beta": beta} for beta in BETAS}
    trained = train(CONFIG, runs)
    of = lambda name: np.array([part.metrics[name] for part in trained.values()])
    images = next(iter(trained.values())).run.dataset.evaluation.examples(np.arange(6))["targets"]
    decoded = {name: np.array(trained[name].model(images)) for name in ("0.03", "0.3", "10")}
    left = {split: of(f"{split}/reconstruction") for split in ("train", "test")}
    return {"kl": of("test/kl"), "left": left, "images": images, "decoded": decoded}


def check(found: dict) -> list:
    kl = found["kl"]
    return [
        *(near(f"KL at beta {beta:g}, nats", x, nats, 0.1 + 0.1 * nats) for beta, x, nats in zip(BETAS, kl, NATS)),
        at_least("least rise of the KL from one beta to the next", np.diff(kl).min(), 0.0),
    ]


def plot(figure, found: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    left.semilogx(BETAS, found["left"]["test"], "C1s--", label="-log p(x | z), held-out images")
    left.semilogx(BETAS, found["left"]["train"], "C1s-", label="-log p(x | z), training images")
    left.semilogx(BETAS, found["kl"], "C0o-", label="KL, what the latents cost")
    left.set(xlabel="beta (log scale)", ylabel="nats an image", title="Two latents, 8x8 digits")
    left.set_xticks(BETAS, [f"{beta:g}" for beta in BETAS])
    left.minorticks_off()
    left.set_ylim(top=20)
    left.legend(loc="upper right")
    grid(left)
    rows = {"image": found["images"]} | {f"beta {name}": x for name, x in found["decoded"].items()}
    tiles(right, np.stack(list(rows.values()))[..., 0], cmap="gray", vmin=0, vmax=1)
    right.set_yticks(right.get_yticks(), list(rows))
    right.set_title("Held out, decoded")
