"""The train step: a pure function of the state and a batch, the same for every model, objective and optimizer."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, Shaped
import optax

from core.metrics import LOWER, measures
from training.frozen import split_frozen
from training.state import Parameters, TrainState, merge

Metrics = dict[str, tuple[Shaped[Array, ""], Shaped[Array, ""]]]
"""(sum, count) by name."""

Batch = dict[str, Any]
"""{"inputs": {name: array}, "targets": array, "weights": array}, each array with the examples along its first axis."""

Objective = Callable[..., tuple[Shaped[Array, ""], Metrics]]
"""`objective(model, batch, key) -> (loss, metrics)`; see `objectives`."""


@measures(grad_norm=LOWER)
def make_train_step(
    structure: nnx.GraphDef, objective: Objective, optimizer: optax.GradientTransformation, *, accumulate: int = 1,
    ema: float = 0.0, freeze: Sequence[str] = (), gather: Callable[[Parameters], Parameters] = lambda x: x,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:  # fmt: skip
    """Returns `step(state, batch) -> (state, metrics)`. The metrics also contain "grad_norm".

    Args:
      accumulate: the number of parts that a batch is split into. They are computed one after the other, in the memory
        of one part; the gradient is that of the whole batch.
      ema: decay of the moving average of the parameters, where the state has one.
      freeze: patterns of the paths of parameters that stay as they are, see `training.frozen`.
      gather: what the model's parameters pass through first, see `training.mesh.gather`.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        trained, frozen = split_frozen(state.parameters, freeze)

        def loss(trained: Parameters, batch: Batch, key: PRNGKeyArray):
            # "step" is for what changes during a run, such as a weight that rises. There is none in evaluation.
            return objective(merge(structure, gather(trained | frozen)), batch | {"step": state.step}, key)

        key = jax.random.fold_in(state.key, state.step)
        if accumulate == 1:
            gradients, metrics = jax.grad(loss, has_aux=True)(trained, batch, key)
        else:
            gradients, metrics = _accumulated(jax.grad(loss, has_aux=True), trained, batch, key, accumulate)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, trained)
        trained = cast(Parameters, optax.apply_updates(trained, updates))
        average = state.average
        if average is not None:
            # A frozen parameter is its own average: to compute it would change its last bit.
            average_of_trained = {path: average[path] for path in trained}
            average = frozen | cast(Parameters, optax.incremental_update(trained, average_of_trained, 1 - ema))
        parameters = trained | frozen
        metrics = metrics | {"grad_norm": (optax.global_norm(gradients), jnp.ones(()))}
        return TrainState(state.step + 1, parameters, average, optimizer_state, state.key), metrics

    return step


def make_evaluation_step(
    structure: nnx.GraphDef, objective: Objective, gather: Callable[[Parameters], Parameters] = lambda x: x
) -> Callable[[Parameters, Batch], Metrics]:
    """Returns `evaluate(parameters, batch) -> metrics`, without dropout; `gather` is that of `make_train_step`."""

    def evaluate(parameters: Parameters, batch: Batch) -> Metrics:
        return objective(merge(structure, gather(parameters)), batch, None)[1]

    return evaluate


def _accumulated(gradient: Callable, parameters: Parameters, batch: Batch, key: PRNGKeyArray, parts: int):
    """Returns the gradient and metrics of a batch, computed in parts.

    Each part counts by the number of its examples or tokens: a mean of means would be wrong where they differ.
    """

    def add_part(sums, indexed_part):
        index, part = indexed_part
        gradients, metrics = gradient(parameters, part, jax.random.fold_in(key, index))
        count = metrics["loss"][1]
        return jax.tree.map(jnp.add, sums, (jax.tree.map(lambda g: g * count, gradients), metrics)), None

    # Part i takes the examples i, i + parts, ..., so that every device keeps its own examples.
    split_batch = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)
    first = jax.tree.map(lambda x: x[0], split_batch)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(gradient, parameters, first, key))
    (gradients, metrics), _ = jax.lax.scan(add_part, zeros, (jnp.arange(parts), split_batch))
    total = jnp.maximum(metrics["loss"][1], 1)
    return jax.tree.map(lambda g: g / total, gradients), metrics
