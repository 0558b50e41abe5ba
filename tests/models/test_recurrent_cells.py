"""GRU and LSTM compute what PyTorch's do, for sequences of different lengths, and what their equations say.

recurrent.safetensors is written by tests/models/reference_recurrent.py. Where LECTERN_REFERENCE names another folder
("make test-reference"), the one there is read.
"""

import os
from pathlib import Path
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from models.recurrent import Cell, RecurrentLayers
from training.state import merge, split

REFERENCE = load_file(Path(os.environ.get("LECTERN_REFERENCE") or Path(__file__).parent) / "recurrent.safetensors")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(x_TD, kernels, h):
    """Cho et al. 2014, as PyTorch writes it, in NumPy float64."""
    (w, b), (u, _) = kernels
    for x in x_TD:
        r, z, n = np.split(x @ w + b, 3)
        r_h, z_h, n_h = np.split(h @ u, 3)
        z = sigmoid(z + z_h)
        h = (1 - z) * np.tanh(n + sigmoid(r + r_h) * n_h) + z * h
        yield h


def lstm(x_TD, kernels, h):
    """Hochreiter & Schmidhuber 1997 with forget gates (Gers et al. 2000), in NumPy float64."""
    (w, _), (u, b) = kernels
    c = np.zeros_like(h)
    for x in x_TD:
        i, f, g, o = np.split(x @ w + h @ u + b, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        yield h


@pytest.mark.parametrize("kind, equations", [("gru", gru), ("lstm", lstm)])
def test_a_cell_computes_its_equations(kind, equations):
    structure, parameters = split(Cell(kind, 5, 7, rngs=nnx.Rngs(0)))
    random = np.random.default_rng(0)
    parameters = {path: jnp.array(random.normal(0, 0.5, x.shape), "float32") for path, x in parameters.items()}
    x_BTD = jax.random.normal(jax.random.key(3), (3, 11, 5))
    cell: Any = merge(structure, parameters)
    out_BTD, state = jax.jit(lambda x: cell(x, cell.empty(3)))(x_BTD)
    parts = ("kernel", "bias")
    part = lambda name: [np.asarray(parameters.get(f"cell.{name}.{kind}", 0), np.float64) for kind in parts]
    for x_TD, out_TD in zip(np.asarray(x_BTD, np.float64), out_BTD):
        expected = list(equations(x_TD, [part("dense_i"), part("dense_h")], np.zeros(7)))
        np.testing.assert_allclose(out_TD, expected, atol=1e-6)
    np.testing.assert_array_equal(state[-1], out_BTD[:, -1])


def of_pytorch(kind: str, directions: int) -> dict[str, np.ndarray]:
    prefix = f"{kind}.{directions}."
    return {name.removeprefix(prefix): x for name, x in REFERENCE.items() if name.startswith(prefix)}


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_layers_compute_what_pytorch_computes_for_a_padded_batch(kind, directions):
    theirs = of_pytorch(kind, directions)
    (_, T, inputs), units = theirs["inputs"].shape, theirs["h"].shape[-1]
    layers = RecurrentLayers(
        cell=kind, inputs=inputs, width=units * directions, depth=2, bidirectional=directions == 2, rngs=nnx.Rngs(0)
    )
    biased = {"gru": "dense_i", "lstm": "dense_h"}[kind]  # the two biases of PyTorch are added up
    parameters = {}
    for layer in range(2):
        for direction, suffix in [("forward", ""), ("backward", "_reverse")][:directions]:
            path, name = f"{direction}.{layer}.cell", f"l{layer}{suffix}"
            parameters[f"{path}.dense_i.kernel"] = theirs[f"weight_ih_{name}"].T
            parameters[f"{path}.dense_h.kernel"] = theirs[f"weight_hh_{name}"].T
            parameters[f"{path}.{biased}.bias"] = theirs[f"bias_ih_{name}"] + theirs[f"bias_hh_{name}"]
    structure, own = split(layers)
    assert {path: x.shape for path, x in own.items()} == {path: x.shape for path, x in parameters.items()}
    mask = np.arange(T) < theirs["lengths"][:, None]
    outputs, states = jax.jit(lambda x, mask: merge(structure, parameters)(x, mask=mask))(theirs["inputs"], mask)
    np.testing.assert_allclose(np.where(mask[..., None], outputs, 0), theirs["outputs"], atol=1e-6)
    for layer, state in enumerate(states):
        for x, name in zip(state, {"gru": "h", "lstm": "ch"}[kind]):
            np.testing.assert_allclose(x, theirs[name][layer * directions], atol=1e-6)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_what_stands_at_padding_changes_nothing(kind):
    layers = RecurrentLayers(cell=kind, inputs=5, width=14, depth=2, bidirectional=True, rngs=nnx.Rngs(0))
    x, mask = jax.random.normal(jax.random.key(3), (3, 7, 5)), jnp.arange(7) < jnp.array([7, 5, 2])[:, None]
    run = jax.jit(lambda x: layers(x, mask=mask))
    jax.tree.map(np.testing.assert_array_equal, run(jnp.where(mask[..., None], x, 1e6)), run(x))
