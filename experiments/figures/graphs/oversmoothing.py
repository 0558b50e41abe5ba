"""With depth the nodes of a graph become alike, at the rate of the second eigenvalue.

Each graph convolution is a step of averaging with the neighbours. What is left after many of them is the leading
eigenvector of the adjacency, which says how many neighbours a node has and nothing about its features. All other parts
shrink, the slowest by the second largest eigenvalue, so two nodes at opposite ends of the graph can be told apart less
with each layer. A node that keeps a part of its first features escapes that.

Formula: |X_l - P X_l| ~ |lambda_2|^l, where P is the projection on the leading eigenvector of D^-1/2 (A + I) D^-1/2
Source: Li et al. 2018, theorem 1; Oono & Suzuki 2020; for the way out Gasteiger et al. 2019.
Look at: after the first layers the lines are straight and parallel to the dotted ones.
"""

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from data.graph_classes import KINDS
from data.graphs import both_directions
from experiments.figures.engine import Criterion, at_least, near
from experiments.figures.style import grid, ink
from models.edges import dense, edges_of, normalised_adjacency, with_self_loops
from models.graph_layers import GraphConvolution

F, LAYERS, TAIL = 5, 100, 10
GRAPHS = {"lollipop": 16, "grid": 16, "wheel": 16}
SHOWN = "grid"


def run(seed: int, *, kept: float = 0.0) -> dict:
    generator = np.random.default_rng(seed)
    curves, eigenvalues, farthest = {}, {}, {}
    for name, size in GRAPHS.items():
        pairs = KINDS[name](size, generator)
        nodes = int(pairs.max()) + 1
        graph = edges_of(jnp.asarray(both_directions(pairs))[None], nodes)
        loops = with_self_loops(graph)
        values, vectors = np.linalg.eigh(np.array(dense(normalised_adjacency(loops), loops)[0, 0], np.float64))
        eigenvalues[name] = float(np.abs(values[:-1]).max())
        start = generator.normal(size=(nodes, F))
        curves[name], states = _averaged(start, graph, vectors[:, -1], kept)
        # In units of the leading eigenvector, all nodes would be alike at the end.
        first, last = 0, nodes - 1
        scaled = states / vectors[:, -1][:, None]
        farthest[name] = np.linalg.norm(scaled[:, first] - scaled[:, last], axis=-1)
        farthest[name] /= np.abs(scaled).max((1, 2))
    return {"curves": curves, "eigenvalues": eigenvalues, "farthest": farthest}


def _averaged(start: np.ndarray, graph, leading: np.ndarray, kept: float):
    """Returns what is left beside the leading eigenvector after each layer, as a share of the start, and the states.

    The layers are graph convolutions without weights of their own. After each, the state is divided by its size, which
    is multiplied back into the share: the last ones would otherwise be lost in the rounding of the leading part.
    """
    layer = GraphConvolution(F, F, dropout=0.0, dtype="float32", rngs=nnx.Rngs(0))
    layer.value.kernel.set_value(jnp.eye(F))
    apply = jax.jit(lambda x: layer(x[None], None, graph)[0][0])
    beside = lambda x: x - np.outer(leading, leading @ x)
    rest, state = beside(start), start
    shares, states, size = [1.0], [start], np.linalg.norm(beside(start))
    first, log_share = rest / size, 0.0
    rest = first
    for _ in range(LAYERS):
        rest = beside(np.array(apply(jnp.asarray(rest, jnp.float32)), np.float64))
        rest = (1 - kept) * rest + kept * first / np.exp(log_share)
        norm = np.linalg.norm(rest)
        rest, log_share = rest / norm, log_share + np.log(norm)
        shares.append(np.exp(log_share))
        state = (1 - kept) * np.array(apply(jnp.asarray(state, jnp.float32)), np.float64) + kept * start
        states.append(state)
    return np.array(shares), np.array(states)


def check(results: dict) -> list[Criterion]:
    rates = {name: (curve[-1] / curve[-1 - TAIL]) ** (1 / TAIL) for name, curve in results["curves"].items()}
    return [
        *(near(f"{name}: rate of a layer", rates[name], results["eigenvalues"][name], 1e-3) for name in rates),
        at_least(f"{SHOWN}: distance of its ends at the start, of that after {LAYERS} layers",
                 results["farthest"][SHOWN][0] / results["farthest"][SHOWN][-1], 1000.0),
    ]  # fmt: skip


def plot(figure: Figure, results: dict) -> None:
    axes = figure.subplots()
    layers = np.arange(LAYERS + 1)
    for number, (name, curve) in enumerate(results["curves"].items()):
        rate = results["eigenvalues"][name]
        axes.semilogy(layers, curve, f"C{number}", label=f"{name}: second eigenvalue {rate:.3f}")
        axes.semilogy(layers, 0.5 * curve[-1] * rate ** (layers - LAYERS), color=ink(), linestyle=":", linewidth=1.5)
    axes.set(xlabel="layers", ylabel="what tells nodes apart (share of the start)", ylim=(1e-9, 2), xlim=(0, LAYERS))
    axes.set_title("Features of the nodes become alike")
    axes.legend(loc="lower left")
    grid(axes)
