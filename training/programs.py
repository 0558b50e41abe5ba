"""The compiled programs of one run: the first state, the train step, the evaluation step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flax import nnx
import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import optax

from training import mesh as meshes
from training.fields import Fields
from training.state import Parameters, TrainState
from training.step import Batch, Metrics, Objective, make_evaluation_step, make_train_step


@dataclass(frozen=True)
class Programs:
    """What a run calls.

    Attributes:
      create: returns the first state for a random key.
      step: the train step, compiled ahead of time; it gives its state away.
      evaluate: returns the metrics of parameters on a batch.
      shapes: the shapes of the state, with their shardings.
      unit: what the weights of a batch count: "tokens" or "examples".
    """

    create: Callable[[jax.Array], TrainState]
    step: Any
    evaluate: Callable[[Parameters, Batch], Metrics]
    shapes: TrainState
    unit: str


def compile_programs(
    structure: nnx.GraphDef, create: Callable[[jax.Array], TrainState], objective: Objective,
    optimizer: optax.GradientTransformation, example: Batch, fields: Fields, mesh: Mesh, *,
    check_fit: Callable[[Callable, Parameters, Batch], Any],
) -> Programs:  # fmt: skip
    """Returns the programs of a run on a mesh.

    Args:
      structure, create: of the model, see `training.state.initialise`.
      example: a batch of one example; the programs are for `fields.batch_size` of them.
      check_fit: is called with the evaluation, and the shapes of parameters and batch, before the step is compiled.
    """
    replicated = NamedSharding(mesh, PartitionSpec())
    shapes = jax.eval_shape(create, jax.random.key(0))
    shardings = meshes.state_shardings(mesh, shapes)
    place = lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
    shapes = jax.tree.map(place, shapes, shardings)
    resize = lambda x: jax.ShapeDtypeStruct((fields.batch_size, *x.shape[1:]), x.dtype)
    batch = jax.tree.map(lambda x: place(resize(x), meshes.batch_sharding(mesh)), example)
    evaluation = jax.jit(make_evaluation_step(structure, objective), out_shardings=replicated)
    check_fit(evaluation.eval_shape, shapes.parameters, batch)
    step = make_train_step(structure, objective, optimizer, accumulate=fields.accumulate, ema=fields.ema)
    step = jax.jit(step, donate_argnums=0, out_shardings=(shardings, replicated)).lower(shapes, batch).compile()
    unit = "tokens" if batch["weights"].ndim > 1 else "examples"
    return Programs(jax.jit(create, out_shardings=shardings), step, evaluation, shapes, unit)
