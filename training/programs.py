"""The compiled programs of one run: the first state, the train step, the evaluation step."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
import math
from typing import Any

from flax import nnx
import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import optax

from core.errors import UserError
from core.metrics import refuse_unknown
from training import mesh as meshes
from training.compilation import quickly_compiled
from training.fields import Fields
from training.flops import Flops, of_jaxpr
from training.peaks import chip_of
from training.state import Parameters, TrainState
from training.step import Batch, Metrics, Objective, make_evaluation_step, make_train_step


@dataclass(frozen=True)
class Programs:
    """What a run calls.

    Attributes:
      create: returns the first state for a random key.
      step: the train step, compiled ahead of time; it gives its state away.
      evaluate: returns the metrics of parameters on a batch.
      shapes, batch: the shapes of the state and of a batch, with their shardings.
      unit: what the weights of a batch count, see `unit_of`.
      flops: the operations of one step.
      peak_seconds: how long all devices take for one unit at their published peak; None if that is not known.
    """

    create: Callable[[jax.Array], TrainState]
    step: Any
    evaluate: Callable[[Parameters, Batch], Metrics]
    shapes: TrainState
    batch: Batch
    unit: str
    flops: Flops
    peak_seconds: float | None


def compile_programs(
    structure: nnx.GraphDef, create: Callable[[jax.Array], TrainState], objective: Objective,
    optimizer: optax.GradientTransformation, example: Batch, fields: Fields, mesh: Mesh, platform: str | None = None,
) -> Programs:  # fmt: skip
    """Returns the programs of a run on a mesh.

    Args:
      structure, create: of the model, see `training.state.initialise`.
      example: a batch of one example; the programs are for `fields.batch_size` of them.
      platform: whose operations are counted, if not those of this process.

    Raises:
      UserError: as `check_fit`.
    """
    replicated = NamedSharding(mesh, PartitionSpec())
    shapes = jax.eval_shape(create, jax.random.key(0))
    shardings = meshes.state_shardings(mesh, shapes)
    place = lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
    shapes = jax.tree.map(place, shapes, shardings)
    resize = lambda x: jax.ShapeDtypeStruct((fields.batch_size, *x.shape[1:]), x.dtype)
    batch = jax.tree.map(lambda x: place(resize(x), meshes.batch_sharding(mesh)), example)
    gather = partial(meshes.gather, mesh)
    evaluate = meshes.in_context(mesh, make_evaluation_step(structure, objective, gather))
    evaluation = jax.jit(evaluate, out_shardings=replicated)
    check_fit(evaluation.eval_shape, shapes.parameters, batch, fields)
    step = make_train_step(structure, objective, optimizer, gather=gather, **fields.step_options)
    step = meshes.in_context(mesh, step)
    traced = jax.jit(step, donate_argnums=0, out_shardings=(shardings, replicated)).trace(shapes, batch)
    counted = of_jaxpr(traced.jaxpr, platform)
    begin = quickly_compiled(create, out_shardings=shardings)
    with ThreadPoolExecutor(1) as pool:  # two programs at a time: XLA does not hold Python's lock
        compiled = pool.submit(traced.lower().compile)
        if platform is None:  # otherwise nobody runs it
            begin = begin.lower(jax.random.key(0)).compile()
        step = compiled.result()
    unit = unit_of(batch)
    chip = chip_of(mesh.devices.flat[0].device_kind)
    peak_seconds = None
    if chip:
        peak = mesh.size * chip.flops(fields.model.get("dtype", "float32")) / chip.devices
        peak_seconds = counted.products / math.prod(batch["weights"].shape) / peak
    return Programs(begin, step, evaluation, shapes, batch, unit, counted, peak_seconds)


def check_fit(
    evaluate: Callable[[Parameters, Batch], Metrics], parameters: Parameters, batch: Batch, fields: Fields
) -> Metrics:  # fmt: skip
    """Checks that model, data and objective fit together, and that `best` is a metric. Returns the metrics.

    Raises:
      UserError: says what does not fit.
    """
    try:
        metrics = evaluate(parameters, batch)
    except UserError as error:  # any other exception is a bug
        names = (f"{part} {getattr(fields, part)['name']}" for part in ("model", "data", "objective"))
        raise UserError(f"{', '.join(names)} do not fit together: {error}") from error
    refuse_unknown("best =", fields.best, metrics)
    return metrics


def unit_of(batch: Batch, *, members: bool = False) -> str:
    """Returns what the weights of a batch count: "examples", "tokens", "nodes" or "pixels".

    Args:
      members: whether the arrays have a first axis of members, see `training.population`.
    """
    axes = batch["weights"].ndim - members
    return {1: "examples", 2: "nodes" if "nodes" in batch["inputs"] else "tokens"}.get(axes, "pixels")
