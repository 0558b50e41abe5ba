"""A graph convolution is attention with given weights: the normalised adjacency.

Attention computes its weights from the nodes; a graph convolution is given them. Everything else stays: the values are
a linear map of the nodes, and each node takes the weighted sum. A node therefore depends on its neighbours and on
nothing else. The layer that trains on large graphs sums over the edges only, and never forms the matrix.

Formula: X' = A^ X W, with A^ = D^-1/2 (A + I) D^-1/2, which is mix(as_given(A^), X W)
Source: A. Canziani, graph convolutional networks; Kipf & Welling 2017, eq. 2.
Look at: what one node's output depends on (right) has its holes where the matrix (left) has them.
"""

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_most
from experiments.figures.style import matrix
from models.edges import edges_of
from models.graph_layers import GraphConvolution
from models.scores import as_given, mix, softargmax

N, F, D, SHARE = 12, 5, 7, 0.2


def run(seed: int, *, weigh: str = "given") -> dict:
    generator = np.random.default_rng(seed)
    upper = np.triu(generator.random((N, N)) < SHARE, 1)
    A = (upper | upper.T).astype(float)
    degree = 1 + A.sum(1)
    normalised = (A + np.eye(N)) / np.sqrt(degree[:, None] * degree)
    nodes = jnp.asarray(generator.normal(size=(1, N, F)), jnp.float32)
    layer = GraphConvolution(F, D, dropout=0.0, dtype="float32", rngs=nnx.Rngs(seed))
    graph = edges_of(jnp.asarray(np.argwhere(A)[None]), N)

    @jax.jit
    def dense(nodes):
        weights = {"given": as_given, "scored": softargmax}[weigh](jnp.asarray(normalised, jnp.float32)[None, None])
        return mix(weights, layer.value(nodes)[:, :, None])[:, :, 0]

    on_edges = jax.jit(lambda nodes: layer(nodes, None, graph)[0])
    product = normalised @ np.asarray(nodes[0], np.float64) @ np.asarray(layer.value.kernel[...], np.float64)
    jacobian = np.abs(np.array(jax.jacobian(dense)(nodes))[0, :, :, 0]).max((1, 3))
    distance = lambda out: float(np.abs(np.array(out[0]) - product).max())
    return {
        "normalised": normalised,
        "jacobian": jacobian,
        "off edges": float(jacobian[normalised == 0].max()),
        "distance": {"attention": distance(dense(nodes)), "edges": distance(on_edges(nodes))},
    }


def check(results: dict) -> list[Criterion]:
    return [
        at_most("attention with given weights, distance from A^ X W", results["distance"]["attention"], 1e-6),
        at_most("layer that sums over edges, distance from A^ X W", results["distance"]["edges"], 1e-6),
        at_most("derivative by nodes that are no neighbours", results["off edges"], 0.0),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2)
    for axes, name, values in (
        (left, "The weights that are given, A^", results["normalised"]),
        (right, "What each node depends on", results["jacobian"] / results["jacobian"].max()),
    ):
        matrix(axes, np.where(values > 0, values, np.nan), ".2f", size=9, cmap="viridis", vmin=0, vmax=1)
        axes.set(title=name, xlabel="of this node", ylabel="a node takes")
        axes.set_xticks(range(N), [str(n + 1) for n in range(N)])
        axes.set_yticks(range(N), [str(n + 1) for n in range(N)])
    right.set(xlabel="this node's features", ylabel="output of a node")
