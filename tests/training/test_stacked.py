"""Scanned layers, whose parameters are stacked in one array each, are trained as layers by themselves are."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.parameters import split
from models import MODELS
from tests.models.rows import ROWS, TRANSFORMERS
from training.optimizer import OPTIMIZERS, make_optimizer
from training.stacked import is_stacked

# Shapes in one layer. Adafactor factors the moments of matrices with both sides of 128 or more.
SHAPES = {
    "attention.query.kernel": (131, 137), "mlp.up.kernel": (5, 7), "mlp.up.bias": (131,), "mlp_norm.scale": (3,),
    "attention.gate": (),
}  # fmt: skip
OTHERS = {"embedding.embedding": (139, 131), "blocks.norm.scale": (131,), "head.kernel": (131, 2)}


def trained(name: str, parameters: dict, gradients: list[dict], compiled=jax.jit) -> dict:
    optimizer, _ = make_optimizer(steps=20, learning_rate=0.02, name=name, weight_decay=0.1, clip=3.0)

    def step(parameters, state, gradients):
        updates, state = optimizer.update(gradients, state, parameters)
        return jax.tree.map(jnp.add, parameters, updates), state

    state, step = optimizer.init(parameters), compiled(step)
    for each in gradients:
        parameters, state = step(parameters, state, each)
    return parameters


def assert_stacked_trains_as_unrolled(name: str, shapes: dict, layers: int, steps: int, compiled=jax.jit) -> None:
    """Trains stacked layers, and the same ones by themselves. Sizes differ very much from layer to layer."""
    random = np.random.default_rng(0)
    sizes = 10.0 ** random.uniform(-2, 1, layers).astype(np.float32)
    draw = lambda shape: np.float32(random.normal(size=(layers, *shape))) * sizes.reshape(-1, *[1] * len(shape))

    def stacked():
        inside = {f"blocks.blocks.{path}": draw(shape) for path, shape in shapes.items()}
        return inside | {path: np.float32(random.normal(size=shape)) for path, shape in OTHERS.items()}

    def unrolled(tree):
        layer = lambda path, i: path.replace("blocks.blocks.", f"blocks.blocks.{i}.")
        inside = {layer(path, i): tree[path][i] for i in range(layers) for path in tree if is_stacked(path)}
        return inside | {path: x for path, x in tree.items() if path in OTHERS}

    parameters, gradients = stacked(), [stacked() for _ in range(steps)]
    scanned = unrolled(trained(name, parameters, gradients, compiled))
    expected = trained(name, unrolled(parameters), [unrolled(each) for each in gradients], compiled)
    for path, x in expected.items():
        np.testing.assert_allclose(scanned[path], x, rtol=2e-5, atol=2e-6, err_msg=path)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_takes_stacked_layers_one_by_one(name):
    assert_stacked_trains_as_unrolled(name, SHAPES, layers=3, steps=12)


def test_so_many_layers_that_their_axis_looks_like_the_side_of_a_matrix():
    shapes = {"mlp.up.bias": (131,)}
    assert_stacked_trains_as_unrolled("adafactor", shapes, layers=149, steps=2, compiled=lambda step: step)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_stacked_parameters_are_those_that_scan_gives_a_further_axis(name):
    fields, *_ = ROWS[name]
    make = lambda **scan: split(nnx.eval_shape(lambda: MODELS[name](**fields | scan, rngs=nnx.Rngs(0))))[1]
    unrolled, scanned = make(), make(scan=True)
    assert {path for path in scanned if is_stacked(path)} == set(scanned) - set(unrolled)
    assert not any(is_stacked(path) for path in unrolled)
