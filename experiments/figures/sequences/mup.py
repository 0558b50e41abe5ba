"""The best learning rate falls as a model gets wider; in muP it stays where it is.

Left, activations after four steps: how far they have moved from where they started. A coordinate check: in muP the
distance does not depend on the width. Right, the loss after training with each learning rate, in four widths.

Formula: hidden weights learn with rate / r, r = width / base width; see models/parametrization.py
Source: Yang et al. 2022 (arXiv 2203.03466), figures 1 and 5
Look at: in muP all widths are best at one rate, so it can be found at width 16. How low the loss gets is another
question: in these 200 steps the standard parametrization, tuned again for each width, gets lower.
"""

import jax
import jax.numpy as jnp
import matplotlib
from matplotlib.figure import Figure
import numpy as np

from core.parameters import merge
from experiments.figures.engine import Criterion, at_least, at_most, near
from experiments.figures.style import grid
from experiments.figures.trained import Trained, Trainer

CONFIG = "configs/gpt.py"
WIDTHS = (16, 32, 64, 128)
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
MUP = {"model.parametrization": "mup", "model.base_width": WIDTHS[0]}
SMALL = {
    "model.depth": 2, "data.context": 32, "optimizer.warmup": 20, "steps": 200, "eval_every": 200,
    "checkpoint_every": 200,
}  # fmt: skip
FEW = {"steps": 4, "optimizer.warmup": 0, "optimizer.schedule": "constant", "optimizer.learning_rate": 1e-2}


def run(seed: int, train: Trainer, *, scaled: bool = True) -> dict:
    kinds = {"standard": {}, "muP": MUP if scaled else {}}
    moved, losses = {}, {}
    for kind, fields in kinds.items():
        few = train(CONFIG, {f"{width}": SMALL | FEW | fields | {"model.width": width} for width in WIDTHS})
        moved[kind] = np.array([distances(few[f"{width}"]) for width in WIDTHS])
        losses[kind] = np.array([losses_of(width, fields, train) for width in WIDTHS])
    return {"moved": moved, "losses": losses}


def losses_of(width: int, fields: dict, train: Trainer) -> list[float]:
    """Returns the loss on held-out text after training with each rate."""
    wide = SMALL | fields | {"model.width": width}
    trained = train(CONFIG, {f"{rate}": wide | {"optimizer.learning_rate": rate} for rate in RATES})
    return [trained[f"{rate}"].metrics["validation/loss"] for rate in RATES]


def distances(trained: Trained) -> list[float]:
    """Returns how far training has moved the output of the first block and the logits, as root mean squares."""
    run = trained.run
    structure, create = run.initialise()
    first = merge(structure, create(jax.random.key(run.fields.seed)).parameters)
    tokens = run.dataset.evaluation.examples(np.arange(16))["inputs"]["tokens"]
    activations = lambda model: (model.blocks.outputs(model.embedding(tokens))[1], model(tokens))
    pairs = zip(activations(trained.model), activations(first))
    return [float(jnp.sqrt(jnp.mean((after - before) ** 2))) for after, before in pairs]


def check(results: dict) -> list[Criterion]:
    growth = {kind: np.polyfit(np.log(WIDTHS), np.log(moved), 1)[0] for kind, moved in results["moved"].items()}
    criteria = []
    for place, what in enumerate(("output of the first block", "logits")):
        criteria += [
            near(f"muP: exponent of the width in the step of the {what}", growth["muP"][place], 0, 0.2),
            at_least(f"standard: exponent of the width in the step of the {what}", growth["standard"][place], 0.4),
        ]
    return [
        *criteria,
        at_most("muP: loss of the widest with the best rate of the narrowest, above its best", loss_of_transfer(
            results["losses"]["muP"]), 0.15),
        at_least("standard: loss of the widest with the best rate of the narrowest, above its best", loss_of_transfer(
            results["losses"]["standard"]), 0.3),
    ]  # fmt: skip


def loss_of_transfer(losses: np.ndarray) -> float:
    """Returns what the widest model loses by taking the best learning rate of the narrowest instead of its own."""
    return float(losses[-1, losses[0].argmin()] - losses[-1].min())


def plot(figure: Figure, results: dict) -> None:
    left, *panels = figure.subplots(1, 3, width_ratios=[1, 1.1, 1.1])
    for number, (kind, moved) in enumerate(results["moved"].items()):
        left.loglog(WIDTHS, moved[:, 1], f"C{number}o-", label=kind)
    left.set_xticks(WIDTHS, [f"{width}" for width in WIDTHS])
    left.set_yticks([0.25, 0.5, 1, 2], ["0.25", "0.5", "1", "2"])
    left.minorticks_off()
    left.set(xlabel="width", ylabel="change of the logits", title="After four steps")
    left.legend()
    grid(left)
    colours = matplotlib.colormaps["viridis"](np.linspace(0.1, 0.85, len(WIDTHS)))
    low = min(losses.min() for losses in results["losses"].values()) - 0.1
    for axes, (kind, losses) in zip(panels, results["losses"].items()):
        for colour, width, row in zip(colours, WIDTHS, losses):
            axes.semilogx(RATES, row, "o-", color=colour, label=f"{width}")
            axes.plot(RATES[row.argmin()], row.min(), "o", color=colour, markersize=14, markerfacecolor="none")
        axes.set(xlabel="learning rate", title=kind, ylim=(low, losses[0].max() + 0.1))
        grid(axes)
    panels[0].set_ylabel("validation loss, nats")
    panels[1].legend(title="width")
