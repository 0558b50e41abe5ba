"""The train step on nets so small that it can be followed by hand."""

import functools
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from models.gpt import GPT
from objectives import OBJECTIVES
from training.optimizer import make_optimizer
from training.state import initialise
from training.step import make_evaluation_step, make_train_step

SIZES: dict[str, Any] = {"vocab_size": 7, "context": 5, "width": 8, "depth": 2, "heads": 2}


def batch_of(weights) -> dict:
    """Six sequences of five tokens."""
    tokens = np.random.default_rng(0).integers(7, size=(6, 6))
    return {"inputs": {"tokens": tokens[:, :-1]}, "targets": tokens[:, 1:], "weights": np.asarray(weights, np.float32)}


EVEN = np.ones((6, 5))
RAGGED = np.arange(5) < np.array([5, 0, 2, 1, 0, 3])[:, None]  # one of three parts has no token at all


@functools.cache
def trained(name: str = "sgd", *, ragged: bool = False, accumulate: int = 1, **model):
    """State and losses after three steps of a GPT."""
    # A gradient that is 0 but for rounding, as that of the keys' bias, must not become a whole step of Adam.
    optimizer, _ = make_optimizer(steps=9, learning_rate=0.01, name=name, epsilon=1e-3)
    make = lambda rngs: GPT(**SIZES | model, rngs=rngs)
    structure, create = initialise(make, optimizer, average=False)
    step = jax.jit(make_train_step(structure, OBJECTIVES["language_modeling"], optimizer, accumulate=accumulate))
    state, losses = create(jax.random.key(0)), []
    for _ in range(3):
        state, metrics = step(state, batch_of(RAGGED if ragged else EVEN))
        losses.append(metrics["loss"][0] / metrics["loss"][1])
    return state, np.array(losses)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulated_is_the_large_batch(optimizer, ragged, accumulate):
    expected, losses = trained(optimizer, ragged=ragged, depth=1)
    state, losses_in_parts = trained(optimizer, ragged=ragged, accumulate=accumulate, depth=1)
    np.testing.assert_allclose(losses_in_parts, losses, rtol=1e-6)
    for path, x in expected.parameters.items():
        np.testing.assert_allclose(state.parameters[path], x, rtol=0, atol=1e-6, err_msg=path)


def test_tokens_of_weight_0_count_for_nothing():
    changed = batch_of(RAGGED)
    changed["targets"] = np.where(RAGGED, changed["targets"], 0)
    structure, create = initialise(lambda rngs: GPT(**SIZES, rngs=rngs), optax.sgd(1.0), average=False)
    gradient = jax.jit(jax.grad(functools.partial(objective_of, structure)))
    parameters = create(jax.random.key(0)).parameters
    for path, x in gradient(parameters, batch_of(RAGGED)).items():
        np.testing.assert_array_equal(gradient(parameters, changed)[path], x)


def objective_of(structure, parameters, batch):
    metrics = make_evaluation_step(structure, OBJECTIVES["language_modeling"])(parameters, batch)
    return metrics["loss"][0] / metrics["loss"][1]


def test_recomputed_blocks_train_the_same():
    np.testing.assert_allclose(trained(dropout=0.2, remat=True)[1], trained(dropout=0.2)[1], rtol=1e-6)


@pytest.mark.parametrize("optimizer, remat", [("sgd", False), ("sgd", True), ("muon", False)])
def test_scanned_blocks_train_the_same(optimizer, remat):
    losses = trained(optimizer, dropout=0.2, scan=True, remat=remat)[1]
    np.testing.assert_allclose(losses, trained(optimizer, dropout=0.2)[1], rtol=1e-5)


class Line(nnx.Module):
    """y = a x, with a = 2 at first."""

    def __init__(self, *, rngs):
        self.a = nnx.Param(jnp.array(2.0))

    def __call__(self, x):
        return self.a[...] * x


def squares(model, batch, key):
    """Mean of (a x - y)^2 / 2; and a number drawn for this call."""
    error = model(**batch["inputs"]) - batch["targets"]
    drawn = jax.random.uniform(key) if key is not None else jnp.float32(-1)
    total, count = (error**2).sum() / 2, jnp.float32(len(error))
    return total / count, {"loss": (total, count), "drawn": (drawn, jnp.float32(1))}


LINE = {"inputs": {"x": jnp.array([1.0, 3.0])}, "targets": jnp.array([0.0, 0.0])}  # the gradient is a (1 + 9) / 2


def line(ema: float = 0.0, rate: float = 0.1):
    optimizer = optax.sgd(rate)
    structure, create = initialise(lambda rngs: Line(rngs=rngs), optimizer, average=ema > 0)
    return structure, create(jax.random.key(0)), make_train_step(structure, squares, optimizer, ema=ema)


def test_step_by_hand():
    _, state, step = line()
    state, metrics = step(state, LINE)
    assert state.step == 1 and state.average is None
    np.testing.assert_allclose(state.parameters["a"], 2 - 0.1 * 10, rtol=1e-6)
    np.testing.assert_allclose(metrics["loss"], (4 * (1 + 9) / 2, 2), rtol=1e-6)
    np.testing.assert_allclose(metrics["grad_norm"], (10, 1), rtol=1e-6)


def test_average_by_hand():
    """a is 2, 1, 0.5; the average with decay 0.75 is 2, 1.75, 1.4375."""
    _, state, step = line(ema=0.75)
    for expected in (0.75 * 2 + 0.25 * 1, 0.75 * 1.75 + 0.25 * 0.5):
        state, _ = step(state, LINE)
        assert state.average is not None
        np.testing.assert_allclose(state.average["a"], expected, rtol=1e-6)
        assert state.evaluated is state.average


def test_draws_follow_from_key_and_step():
    _, state, step = line()
    after, first = step(state, LINE)
    _, second = step(after, LINE)
    _, again = step(state, LINE)
    assert jax.random.key_data(after.key).tolist() == jax.random.key_data(state.key).tolist()
    assert first["drawn"][0] == again["drawn"][0] != second["drawn"][0]


def test_parts_of_a_batch_draw_their_own():
    optimizer = optax.sgd(0.1)
    structure, create = initialise(lambda rngs: Line(rngs=rngs), optimizer, average=False)
    step = make_train_step(structure, squares, optimizer, accumulate=2)
    state = create(jax.random.key(0))
    key = jax.random.fold_in(state.key, 0)
    expected = sum(float(jax.random.uniform(jax.random.fold_in(key, part))) for part in range(2))
    np.testing.assert_allclose(step(state, LINE)[1]["drawn"], (expected, 2), rtol=1e-6)


def test_evaluation_draws_nothing():
    structure, state, _ = line()
    metrics = make_evaluation_step(structure, squares)(state.parameters, LINE)
    np.testing.assert_allclose(metrics["loss"], (20, 2))
    assert metrics["drawn"][0] == -1
