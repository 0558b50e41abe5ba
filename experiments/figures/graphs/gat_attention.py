"""Graph attention finds the neighbour that matters; a convolution has to take the mean.

Each node has eight neighbours with a colour, one of which is marked, and has to name the colour of the marked one. The
weights of a graph convolution are given by the degrees, so the marked neighbour counts as much as the others, and the
linear map of the mean cannot tell to whom the mark belongs. In graph attention the weights are scores again, as in a
transformer, and the mark makes them.

Formula: a_ij = softargmax_j(leaky_relu(a . W x_j + b . W x_i)) over the neighbours j of i
Source: A. Canziani, attention and graphs; Velickovic et al. 2018, eq. 1 to 4.
Look at: nearly all of the weight lies on the edge from the marked neighbour.
"""

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax

from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import bars, ink, matrix
from experiments.inside.attention_maps import attention_maps
from models import GraphNetwork
from objectives import classification
from training.state import merge, split

ASKERS, SOURCES, NEIGHBOURS, COLOURS, STEPS = 200, 120, 8, 4, 400


def run(seed: int, *, marked: bool = True) -> dict:
    batches = [_graph(np.random.default_rng((seed, part)), marked) for part in range(2)]
    make = lambda layer: GraphNetwork(
        features=COLOURS + 1, classes=COLOURS, layer=layer, width=8, depth=1, rngs=nnx.Rngs(seed)
    )
    models = {layer: _fit(make(layer), batches[0]) for layer in ("gat", "gcn")}
    accuracy = {
        layer: float(_accuracy(classification(model, batches[1], None)[1])) for layer, model in models.items()
    }
    weights_NN = attention_maps(models["gat"], batches[1]["inputs"])["blocks.0"][0, 0]
    edges = batches[1]["inputs"]["edges"][0]
    # Edges are listed by asker, the one from the marked neighbour first.
    on_edges = weights_NN[edges[:, 1], edges[:, 0]].reshape(ASKERS, NEIGHBOURS)
    return {"accuracy": accuracy, "weights": on_edges}


def _graph(generator: np.random.Generator, marked: bool) -> dict:
    """One graph as a batch: first the nodes that ask, then the ones that are asked, half of which are marked."""
    colours = generator.integers(COLOURS, size=SOURCES)
    nodes = np.zeros((ASKERS + SOURCES, COLOURS + 1), np.float32)
    nodes[ASKERS + np.arange(SOURCES), colours] = 1
    if marked:
        nodes[ASKERS : ASKERS + SOURCES // 2, COLOURS] = 1
    asked = np.stack([
        np.append(generator.integers(SOURCES // 2),
                  generator.choice(np.arange(SOURCES // 2, SOURCES), NEIGHBOURS - 1, replace=False))
        for _ in range(ASKERS)
    ])  # fmt: skip
    edges = np.stack([ASKERS + asked, np.broadcast_to(np.arange(ASKERS)[:, None], asked.shape)], axis=-1)
    targets = np.append(colours[asked[:, 0]], np.zeros(SOURCES, int))
    weights = np.append(np.ones(ASKERS), np.zeros(SOURCES)).astype(np.float32)
    inputs = {"nodes": nodes[None], "edges": edges.reshape(1, -1, 2)}
    return {"inputs": jax.tree.map(jnp.asarray, inputs), "targets": targets[None], "weights": weights[None]}


def _fit(model: nnx.Module, batch: dict):
    structure, parameters = split(model)
    optimizer = optax.adam(0.03)

    def step(carry, _):
        parameters, state = carry
        gradient = jax.grad(lambda p: classification(merge(structure, p), batch, None)[0])(parameters)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(parameters, updates), state), None

    (parameters, _), _ = jax.jit(lambda p: jax.lax.scan(step, (p, optimizer.init(p)), length=STEPS))(parameters)
    return merge(structure, parameters)


def _accuracy(metrics: dict):
    total, count = metrics["accuracy"]
    return total / count


def check(results: dict) -> list[Criterion]:
    return [
        at_least("attention: weight of the marked neighbour, mean", results["weights"][:, 0].mean(), 0.9),
        at_least("attention: accuracy on another graph", results["accuracy"]["gat"], 0.95),
        at_most("convolution: accuracy on another graph", results["accuracy"]["gcn"], 0.75),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
    matrix(left, results["weights"][:10], ".2f", size=12, cmap="cividis", vmin=0, vmax=1)
    left.set_xticks(range(NEIGHBOURS), ["marked"] + [f"{n + 1}" for n in range(1, NEIGHBOURS)], fontsize=13)
    left.set(title="Attention of ten nodes", ylabel="node", xlabel="neighbour", yticks=[])
    names = ["attention", "convolution", "guessing"]
    values = [results["accuracy"]["gat"], results["accuracy"]["gcn"], 1 / COLOURS]
    bars(right, names, values, ".2f", color=["C0", "C1", ink()])
    right.set(title="Colour of the marked neighbour", xlabel="accuracy on another graph", xlim=(0, 1.2))
