"""Optimizers and schedules against values worked out by hand."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from models import MODELS
from training.optimizer import OPTIMIZERS, decayed, make_optimizer
from training.state import split

RATE, DECAY = 0.5, 0.1
PATH = "blocks.0.mlp.up.kernel"


def moved(name: str, parameters, *gradients, **settings):
    """The parameters after one step for each of the gradients, at the constant rate RATE."""
    optimizer, _ = make_optimizer(steps=100, learning_rate=RATE, schedule="constant", name=name, **settings)
    state = optimizer.init(parameters)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, parameters)
        parameters = jax.tree.map(jnp.add, parameters, updates)
    return parameters


def numbers(seed: int, *shape: int):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    "name, direction",
    [
        ("sgd", lambda p, g: 1.9 * g),  # Nesterov: the momentum 0.9 g, and g once more
        ("lion", lambda p, g: np.sign(g)),
        ("adamw", lambda p, g: g / (np.abs(g) + 1e-8)),  # both moments, unbiased, are those of g
        ("adafactor", lambda p, g: np.sign(g) * np.sqrt(np.mean(p**2))),  # steps are as large as the parameters are
    ],
)
def test_first_step(name, direction):
    p, g = numbers(0, 3, 5), numbers(1, 3, 5)
    expected = p - RATE * (direction(p, g) + DECAY * p)
    change = moved(name, {PATH: jnp.array(p)}, {PATH: jnp.array(g)}, weight_decay=DECAY)[PATH]
    np.testing.assert_allclose(change, expected, rtol=1e-4)


def test_the_penalty_is_rescaled_as_the_gradient_is_and_is_not_clipped():
    p, g = numbers(0, 3, 5), numbers(1, 3, 5)
    clipped = g / np.linalg.norm(g)
    for name, direction in (("sgd", lambda g: 1.9 * g), ("adamw", lambda g: g / (np.abs(g) + 1e-8))):
        change = moved(name, {PATH: jnp.array(p)}, {PATH: jnp.array(g)}, l2=0.3, clip=1.0)[PATH]
        np.testing.assert_allclose(change, p - RATE * direction(clipped + 0.3 * p), rtol=1e-4)
    bias = moved("adamw", {"bias": jnp.array(p)}, {"bias": jnp.zeros((3, 5))}, l2=0.3)["bias"]
    np.testing.assert_array_equal(bias, p)


def test_second_step_of_sgd():
    p, g, h = numbers(0, 3), numbers(1, 3), numbers(2, 3)
    trace = h + 0.7 * g
    expected = p - RATE * (g + 0.7 * g) - RATE * (h + 0.7 * trace)
    change = moved("sgd", {"a": p}, {"a": g}, {"a": h}, momentum=0.7)["a"]
    np.testing.assert_allclose(change, expected, rtol=1e-5)


def test_muon_turns_gradients_into_nearly_orthogonal_matrices():
    g = numbers(1, 3, 5)
    update = -moved("muon", {PATH: jnp.zeros((3, 5))}, {PATH: jnp.array(g)})[PATH] / RATE
    u, _, v = np.linalg.svd(g, full_matrices=False)
    in_their_axes = u.T @ np.asarray(update) @ v.T / (0.2 * np.sqrt(5))
    np.testing.assert_allclose(in_their_axes, np.diag(np.diag(in_their_axes)), atol=1e-2)
    assert np.all((0.6 < np.diag(in_their_axes)) & (np.diag(in_their_axes) < 1.4))


def test_muon_takes_scanned_layers_one_by_one():
    g = numbers(1, 2, 3, 5)
    scanned = moved("muon", {"blocks.blocks.mlp.up.kernel": jnp.zeros_like(g)}, {"blocks.blocks.mlp.up.kernel": g})
    for i in range(2):
        path = f"blocks.blocks.{i}.mlp.up.kernel"
        unrolled = moved("muon", {path: jnp.zeros((3, 5))}, {path: g[i]})
        np.testing.assert_allclose(scanned["blocks.blocks.mlp.up.kernel"][i], unrolled[path], atol=1e-5)


def test_muon_leaves_the_rest_to_adam():
    """In Nesterov's form: the first moment, 0.1 g, is looked at one step ahead."""
    size = 0.9 * 0.1 / (1 - 0.9**2) + 0.1 / (1 - 0.9)
    g = numbers(1, 3, 5)
    for path in ("head.kernel", "embedding.embedding", "blocks.0.mlp.up.bias"):
        change = moved("muon", {path: jnp.zeros((3, 5))}, {path: jnp.array(g)})[path]
        np.testing.assert_allclose(change, -RATE * size * np.sign(g), rtol=1e-4)


def test_factors_of_learning_rates_do_not_change_the_decay():
    parameters, gradient = {PATH: numbers(0, 3, 5), "norm.scale": numbers(1, 5)}, numbers(2, 3, 5)
    gradients = {PATH: gradient, "norm.scale": numbers(3, 5)}
    optimizer, _ = make_optimizer({PATH: 0.25}, steps=9, learning_rate=RATE, schedule="constant", weight_decay=DECAY)
    updates: Any
    updates, _ = optimizer.update(gradients, optimizer.init(parameters), parameters)
    expected = -RATE * (0.25 * np.sign(gradient) + DECAY * parameters[PATH])
    np.testing.assert_allclose(updates[PATH], expected, atol=1e-5)
    np.testing.assert_allclose(updates["norm.scale"], -RATE * np.sign(gradients["norm.scale"]), atol=1e-5)


@pytest.mark.parametrize("name", ["sgd", "adafactor", "muon"])
def test_factors_are_for_optimizers_whose_table_is_known(name):
    with pytest.raises(UserError, match=f"parametrization = 'mup' .* 'adamw' and 'lion', not for '{name}'"):
        make_optimizer({PATH: 0.25}, steps=9, learning_rate=RATE, name=name)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_comes_closer(name):
    target = {PATH: numbers(0, 3, 5), "blocks.0.mlp.up.bias": numbers(1, 5)}
    loss = lambda p: sum(jnp.sum((p[path] - target[path]) ** 2) for path in target)
    optimizer, _ = make_optimizer(steps=60, learning_rate=0.05, name=name)
    parameters = jax.tree.map(jnp.ones_like, target)
    state, before = optimizer.init(parameters), loss(parameters)

    @jax.jit
    def step(parameters, state):
        updates, state = optimizer.update(jax.grad(loss)(parameters), state, parameters)
        return jax.tree.map(jnp.add, parameters, updates), state

    for _ in range(60):
        parameters, state = step(parameters, state)
    assert loss(parameters) < 0.7 * before


def test_clip():
    change = moved("sgd", {"a": jnp.zeros(2)}, {"a": jnp.array([3.0, 4.0])}, momentum=0.0, clip=1.0)
    np.testing.assert_allclose(change["a"], [-RATE * 0.6, -RATE * 0.8], rtol=1e-6)
    change = moved("sgd", {"a": jnp.zeros(2)}, {"a": jnp.array([0.3, 0.4])}, momentum=0.0, clip=1.0)
    np.testing.assert_allclose(change["a"], [-RATE * 0.3, -RATE * 0.4], rtol=1e-6)


SIZES = {"width": 8, "depth": 2, "heads": 2}
MODEL_SIZES = {
    "gpt": {"vocab_size": 7, "context": 5, **SIZES},
    "vit": {"image_shape": (8, 8, 1), "patch": 4, "classes": 3, "pooling": "cls", **SIZES},
}


@pytest.mark.parametrize("model", MODEL_SIZES)
@pytest.mark.parametrize("scan", [False, True])
def test_weight_decay_is_for_matrices_only(model, scan):
    """With gradients of 0 nothing else moves."""
    _, shapes = split(nnx.eval_shape(lambda: MODELS[model](**MODEL_SIZES[model], scan=scan, rngs=nnx.Rngs(0))))
    parameters = {path: jnp.full(x.shape, 2.0) for path, x in shapes.items()}
    change = moved("adamw", parameters, jax.tree.map(jnp.zeros_like, parameters), weight_decay=DECAY)
    undecayed = ("bias", "scale", "embedding.embedding", "cls", "positions")
    for path, x in parameters.items():
        shrinks = not any(word in path.removeprefix("embedding.kernel") for word in undecayed)
        assert decayed(parameters)[path] == shrinks, path
        np.testing.assert_allclose(change[path], x * (1 - RATE * DECAY) if shrinks else x, rtol=1e-6)


@pytest.mark.parametrize(
    "schedule, values",
    [
        ("constant", {4: 8, 7: 8, 10: 8}),
        ("cosine", {4: 8, 6: 6.5, 7: 5, 8: 3.5, 10: 2}),  # from 8 to 2 in 6 steps: 5 + 3 cos(pi k / 6)
        ("linear", {4: 8, 7: 5, 10: 2}),
        ("rsqrt", {4: 8, 16: 4}),  # 8 sqrt(4 / step)
        ("wsd", {4: 8, 7: 8, 8: 6, 9: 4, 10: 2}),
    ],
)
def test_schedule(schedule, values):
    _, rate = make_optimizer(
        steps=10, warmup=4, learning_rate=8.0, final=0.25, schedule=schedule, decay_share=0.5
    )  # fmt: skip
    for step, value in ({0: 2, 1: 4, 2: 6, 3: 8} | values).items():
        np.testing.assert_allclose(rate(step), value, rtol=1e-6)


@pytest.mark.parametrize("warmup, first", [(0, 8), (1, 8), (2, 4)])
def test_first_rate(warmup, first):
    _, rate = make_optimizer(steps=10, warmup=warmup, learning_rate=8.0, schedule="linear")
    np.testing.assert_allclose(rate(0), first)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"name": "adam"}, "'adam': expected one of adamw, sgd, lion, adafactor, muon"),
        ({"schedule": "cos"}, "'cos': expected one of constant, cosine, linear, rsqrt, wsd"),
        ({"warmup": 10}, "warmup = 10: expected 0 <= warmup < steps, which is 10"),
    ],
)
def test_bad(settings, words):
    with pytest.raises(ValueError, match=words):
        make_optimizer(steps=10, learning_rate=1.0, **settings)
