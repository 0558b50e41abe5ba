"""The train step: a pure function of the state and a batch, the same for every model, objective and optimizer."""

from collections.abc import Callable
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import optax

from training.state import TrainState, merge

Loss = Callable[..., tuple[jax.Array, dict[str, tuple[jax.Array, jax.Array]]]]
Batch = dict[str, Any]


def make_train_step(
    structure: nnx.GraphDef, objective: Loss, optimizer: optax.GradientTransformation, *, accumulate: int = 1,
    ema: float = 0.0,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict]]:  # fmt: skip
    """`step(state, batch) -> (state, metrics)`; metrics are (sum, count) pairs by name, and "grad_norm" (x, 1).

    `accumulate` splits the batch into that many parts, one after the other, for the memory of one part; the gradient is
    that of the whole batch. `ema` is the decay of the average of the parameters; 0 keeps none.
    """

    def step(state: TrainState, batch: Batch):
        def loss(parameters, batch, key):
            # The step's number is for what changes over a run, such as a weight that rises; evaluation has none.
            return objective(merge(structure, parameters), batch | {"step": state.step}, key)

        key = jax.random.fold_in(state.key, state.step)
        if accumulate == 1:
            gradients, metrics = jax.grad(loss, has_aux=True)(state.parameters, batch, key)
        else:
            gradients, metrics = _accumulated(jax.grad(loss, has_aux=True), state.parameters, batch, key, accumulate)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.parameters)
        parameters = optax.apply_updates(state.parameters, updates)
        average = state.average
        if average is not None:
            average = optax.incremental_update(parameters, average, 1 - ema)
        metrics = metrics | {"grad_norm": (optax.global_norm(gradients), jnp.ones(()))}
        return TrainState(state.step + 1, parameters, average, optimizer_state, state.key), metrics

    return step


def make_evaluation_step(structure: nnx.GraphDef, objective: Loss) -> Callable[..., dict]:
    """`evaluate(parameters, batch) -> metrics` as (sum, count) pairs, without dropout."""

    def evaluate(parameters, batch: Batch):
        return objective(merge(structure, parameters), batch, None)[1]

    return evaluate


def _accumulated(gradient, parameters, batch, key, parts: int):
    """The gradient of the whole batch from its parts, each weighted by its count: means of means would be wrong where
    parts hold different numbers of tokens."""

    def part(carry, inputs):
        index, piece = inputs
        gradients, metrics = gradient(parameters, piece, jax.random.fold_in(key, index))
        count = metrics["loss"][1]
        return jax.tree.map(jnp.add, carry, (jax.tree.map(lambda g: g * count, gradients), metrics)), None

    # Part i takes the examples i, i + parts, ...: every device keeps its own examples.
    pieces = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)
    first = jax.tree.map(lambda x: x[0], pieces)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(gradient, parameters, first, key))
    (gradients, metrics), _ = jax.lax.scan(part, zeros, (jnp.arange(parts), pieces))
    total = jnp.maximum(metrics["loss"][1], 1)
    return jax.tree.map(lambda g: g / total, gradients), metrics
