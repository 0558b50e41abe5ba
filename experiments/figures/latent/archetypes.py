"""Deep archetypal analysis finds the extremes that examples were mixed from.

Each example is a mixture of three planted archetypes, bent into eight dimensions. The model places every example inside
a triangle with fixed corners. Because each corner has to be a mixture of examples in turn, the corners come to lie on
the planted archetypes, and the weights of an example are its shares of them. Classic, linear archetypal analysis does
well on these data too; what the deep one adds is a decoder that can walk between the corners.

Formula: z = a V + noise, |V - B A V|^2 -> 0; a: softmax over archetypes, B: softmax over the examples of a batch
Source: Keller et al. 2020, "Learning extreme representations with deep archetypal analysis".
Look at: the colours, which are the planted shares, are pure in the corners and mix evenly between them.
"""

from matplotlib.figure import Figure
import numpy as np
from scipy.optimize import linear_sum_assignment

from data.mixtures import planted_weights
from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import grid
from experiments.figures.trained import Trainer

CONFIG = "configs/archetypes.py"
ARCHETYPES = 3


def run(seed: int, train: Trainer, *, archetype_weight: float = 100.0) -> dict:
    fields = {"model.archetypes": ARCHETYPES, "objective.archetype_weight": archetype_weight}
    trained = train(CONFIG, {"archetypes": fields})["archetypes"]
    test = trained.run.dataset.evaluation
    images = test.examples(np.arange(len(test)))["inputs"]["images"]
    weights, planted = np.array(trained.model.mixtures(images)[0]), planted_weights(ARCHETYPES)[-len(images) :]
    correlations = np.corrcoef(weights.T, planted.T)[:ARCHETYPES, ARCHETYPES:]
    order = linear_sum_assignment(correlations, maximize=True)[1]  # which corner is which archetype is not determined
    corners = np.array(trained.model.corners())
    return {
        "archetype": trained.metrics["test/archetype"],
        "correlations": correlations[np.arange(ARCHETYPES), order],
        "weights": weights,
        "planted": planted[:, order],
        "places": weights @ corners,
        "corners": corners,
    }


def check(results: dict) -> list[Criterion]:
    return [
        at_most("squared distance of the archetypes from mixtures of examples", results["archetype"], 1e-3),
        at_least("smallest correlation of learned and planted weights", min(results["correlations"]), 0.97),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2)
    outline = np.vstack([results["corners"], results["corners"][:1]])
    left.plot(*outline.T, color="C0", linewidth=1.5)
    left.scatter(*results["places"].T, c=np.clip(results["planted"], 0, 1), s=16, linewidths=0)
    left.set(title="Latents, coloured by planted shares", aspect="equal", xticks=[], yticks=[])
    left.spines[:].set_visible(False)
    for number in range(ARCHETYPES):
        right.plot(results["planted"][:, number], results["weights"][:, number], "o", markersize=3, alpha=0.6,
                   label=f"archetype {number + 1}")  # fmt: skip
    right.set(xlabel="planted share", ylabel="weight in the model", title="Held-out examples", aspect="equal")
    right.legend(markerscale=2)
    grid(right)
