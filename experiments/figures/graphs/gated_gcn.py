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
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import shortest_path

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
    left, right = split(figure, 1, 2, width_ratios=[1.1, 1])
    pictures = left.subplots(3, 3)
    for axes, (name, pairs) in zip(pictures.flat, results["examples"].items()):
        place = places(name, pairs)
        axes.plot(*place[pairs].transpose(2, 1, 0), color=ink(), linewidth=0.8, alpha=0.6)
        axes.plot(*place.T, "C0o", markersize=4)
        axes.set_title(name, fontsize=13)
        axes.set_aspect("equal", "datalim")
    for axes in pictures.flat:
        axes.axis("off")
    axes = right.subplots()
    matrix(axes, results["table"], ".0f", cmap="cividis")
    axes.set_yticks(range(len(KINDS)), list(KINDS), fontsize=12)
    axes.set_xticks(range(len(KINDS)), list(KINDS), fontsize=12, rotation=90)
    axes.set(title=f"{100 * results['accuracy']:.0f} % right", xlabel="predicted", ylabel="kind")


def places(name: str, pairs: np.ndarray) -> np.ndarray:
    """Returns where the nodes of a graph are drawn, (N, 2): on circles, or as far apart as they are in the graph."""
    count = pairs.max() + 1
    circle = lambda n: np.stack([np.sin(2 * np.pi * np.arange(n) / n), np.cos(2 * np.pi * np.arange(n) / n)], axis=1)
    if name in ("star", "wheel"):
        return np.concatenate([[[0, 0]], circle(count - 1)])
    if name in ("cycle", "clique", "lollipop"):
        return circle(count)
    if name == "circular ladder":
        return np.concatenate([circle(count // 2), circle(count // 2) / 2])
    edges = csr_matrix((np.ones(len(pairs)), pairs.T), shape=(count, count))
    apart = shortest_path(edges, directed=False, unweighted=True)
    # Distances to all nodes, seen along the two directions in which they differ most: classical scaling.
    centred = apart**2 - (apart**2).mean(0) - (apart**2).mean(1, keepdims=True) + (apart**2).mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    return vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 0))
