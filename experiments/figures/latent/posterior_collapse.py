"""A strong decoder leaves the latents empty, unless a part of what they cost is free.

A decoder that sees the tokens before the next one predicts texts well by itself. Information in z costs KL at once and
helps later, so training leaves z as it is before anything is learned: the prior. With free bits the first nats of
each latent dimension cost nothing, so the latents are filled, and the text is restored better. A decoder that sees no
earlier token has no choice: it uses z.

Formula: loss = -log p(x | z) + sum_i max(KL_i, free bits), KL_i averaged over a batch
Source: Bowman et al. 2016 (the collapse); Kingma et al. 2016, appendix C.8 (free bits).
Look at: the KL of the strong decoder is 0 and that with free bits is not; what it restores becomes cheaper by about
that much.
"""

from matplotlib.figure import Figure

from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import bars
from experiments.figures.trained import Trainer

CONFIG = "configs/chemical_vae.py"
SMALL = {
    "steps": 600, "eval_every": 600, "checkpoint_every": 600, "model.latents": 8, "model.width": 64,
    "objective.beta": 1.0, "objective.property_weight": 0.0,
}  # fmt: skip
NAMES = ("no earlier tokens", "strong", "strong, free bits")


def run(seed: int, train: Trainer, *, free_bits: float = 0.5) -> dict:
    blind, strong, free = NAMES
    runs = train(CONFIG, {
        blind: SMALL | {"model.autoregressive": False}, strong: SMALL, free: SMALL | {"objective.free_bits": free_bits},
    })  # fmt: skip
    metrics = lambda trained: {part: trained.metrics[f"test/{part}"] for part in ("kl", "reconstruction")}
    return {name: metrics(trained) for name, trained in runs.items()}


def check(results: dict) -> list[Criterion]:
    blind, strong, free = (results[name] for name in NAMES)
    gained = strong["reconstruction"] - free["reconstruction"]
    return [
        at_most("KL of the strong decoder, in nats", strong["kl"], 0.5),
        at_least("KL with free bits", free["kl"], 2.0),
        at_least("KL where the decoder sees no earlier token", blind["kl"], 2.0),
        at_least("nats by which free bits make a text cheaper to restore", gained, 1.0),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2)
    for axes, part, title in ((left, "kl", "KL, nats"), (right, "reconstruction", "Restoring a text, nats")):
        bars(axes, list(results), [results[name][part] for name in results], ".1f")
        axes.set(title=title)
