"""A gated graph network tells eight kinds of graphs apart by who is joined with whom.

Each node knows only its degree, and nodes are numbered at random. With each layer a node hears from one step farther
away, and for each edge and each channel a gate decides how much. The mean over the nodes is classified. Without the
edges only the degrees remain, and wheels, grids and ladders look alike.

Formula: x_i + relu(norm(U x_i + sum_j g_ij * V x_j)), g_ij = s(e_ij) / sum_j s(e_ij)
Source: A. Canziani, graph convolutional networks; Bresson & Laurent 2017; the kinds are those of DGL's MiniGC.
Look at: the diagonal of the table, which is for graphs that were not in training.
"""

from matplotlib.figure import Figure
import numpy as np

from data.graph_classes import KINDS
from experiments.figures.engine import Criterion, at_least
from experiments.figures.style import ink, matrix, split
from experiments.figures.trained import Trainer

CONFIG = "configs/gated_gcn.py"


def run(seed: int, train: Trainer, *, edges: bool = True) -> dict:
    trained = train(CONFIG, {"gated": {}})["gated"]
    data = trained.run.dataset.evaluation
    batch = data.examples(np.arange(len(data)))
    inputs = batch["inputs"] if edges else batch["inputs"] | {"edge_mask": np.zeros_like(batch["inputs"]["edge_mask"])}
    predicted = np.array(trained.model(**inputs)).argmax(-1)
    table = np.zeros((len(KINDS), len(KINDS)))
    np.add.at(table, (batch["targets"], predicted), 1)
    examples = {name: kind(12, np.random.default_rng(seed)) for name, kind in KINDS.items()}
    return {"accuracy": float((predicted == batch["targets"]).mean()), "table": table, "examples": examples}


def check(results: dict) -> list[Criterion]:
    return [at_least("accuracy on held-out graphs", results["accuracy"], 0.95)]


def plot(figure: Figure, results: dict) -> None:
    left, right = split(figure, 1, 2, width_ratios=[1.25, 1])
    for axes, (name, pairs) in zip(left.subplots(2, 4).flat, results["examples"].items()):
        angle = 2 * np.pi * np.arange(pairs.max() + 1) / (pairs.max() + 1)
        place = np.stack([np.sin(angle), np.cos(angle)], axis=1)
        if name in ("star", "wheel"):
            angle = 2 * np.pi * np.arange(pairs.max()) / pairs.max()
            place = np.concatenate([[[0, 0]], np.stack([np.sin(angle), np.cos(angle)], axis=1)])
        axes.plot(*place[pairs].transpose(2, 1, 0), color=ink(), linewidth=0.8, alpha=0.6)
        axes.plot(*place.T, "C0o", markersize=5)
        axes.set_title(name, fontsize=13)
        axes.set_aspect("equal")
        axes.axis("off")
    axes = right.subplots()
    matrix(axes, results["table"], ".0f", cmap="cividis")
    axes.set_yticks(range(len(KINDS)), list(KINDS), fontsize=12)
    axes.set_xticks(range(len(KINDS)), list(KINDS), fontsize=12, rotation=90)
    axes.set(title=f"{100 * results['accuracy']:.0f} % right", xlabel="predicted")
