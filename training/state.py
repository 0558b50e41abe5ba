"""What training changes, as plain arrays: parameters, their average, optimizer state, step and random key.

Parameters are one flat dictionary from a path ("blocks.blocks.0.attention.query.kernel") to an array. Sharding rules,
weight decay, checkpoints and loaders of other formats all refer to a parameter by that path.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
import json
from threading import Lock
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray
import numpy as np
import optax

from core.parameters import Parameters, merge, split
from training.frozen import split_frozen

__all__ = ["Parameters", "TrainState", "abstract_model", "begin_with", "initialise", "merge", "split"]


@jax.tree_util.register_dataclass
@dataclass
class TrainState:
    """The state of a run, a pytree.

    Attributes:
      step: the number of steps done.
      parameters: by path.
      average: the moving average of the parameters, or None if none is kept.
      optimizer: the state of the optimizer.
      key: never changes; the random numbers of a step come from this key folded with the step.
    """

    step: Int[Array, ""]
    parameters: Parameters
    average: Parameters | None
    optimizer: Any
    key: PRNGKeyArray

    @property
    def evaluated(self) -> Parameters:
        """The parameters to evaluate with: the average if there is one."""
        return self.parameters if self.average is None else self.average


def abstract_model(model_class: Callable[..., nnx.Module], settings: Mapping[str, Any]) -> nnx.Module:
    """Returns a model that has shapes for parameters, which takes as long as tracing it. Callers must not change it.

    The last few are kept: runs of a sweep or of a benchmark differ in seeds and rates, and their models are the same.
    Several threads may call it.
    """
    kind = model_class, json.dumps(settings, sort_keys=True)
    model = _abstract.get(kind)
    if model is None:
        model = nnx.eval_shape(lambda: model_class(**settings, rngs=nnx.Rngs(0)))
        with _changes:
            _abstract[kind] = model
            if len(_abstract) > 4:
                del _abstract[next(iter(_abstract))]
    return model


_abstract: dict[tuple[Callable[..., nnx.Module], str], nnx.Module] = {}
_changes = Lock()


def initialise(
    make_model: Callable[[nnx.Rngs], nnx.Module], optimizer: optax.GradientTransformation, *, average: bool,
    freeze: Sequence[str] = (), structure: nnx.GraphDef | None = None,
) -> tuple[nnx.GraphDef, Callable[[PRNGKeyArray], TrainState]]:  # fmt: skip
    """Returns the structure of the model, and the pure function from a random key to the state at step 0.

    Args:
      average: whether the state has an average of the parameters.
      freeze: patterns of the paths of parameters that the optimizer has no state for, see `training.frozen`.
      structure: of the model, where it is known already; tracing the model takes time.
    """
    structure = structure or nnx.graphdef(nnx.eval_shape(lambda: make_model(nnx.Rngs(0))))

    def create(key: PRNGKeyArray) -> TrainState:
        model_key, step_key = jax.random.split(key)
        _, parameters = split(make_model(nnx.Rngs(model_key)))
        # jnp.copy: the state is donated, and the same buffer must not be donated twice.
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            parameters=parameters,
            average=jax.tree.map(jnp.copy, parameters) if average else None,
            optimizer=optimizer.init(split_frozen(parameters, freeze)[0]),
            key=step_key,
        )

    return structure, create


def begin_with(state: TrainState, source: Parameters) -> tuple[TrainState, list[str], list[str]]:
    """Replaces the parameters of `state` by those of `source` that have the same path and shape.

    Returns the new state, the paths of the replaced parameters, and the paths of all others.
    """
    fits = lambda path, x: path in source and source[path].shape == x.shape
    replaced = [path for path, x in state.parameters.items() if fits(path, x)]
    others = [path for path in state.parameters if path not in replaced]
    parameters = state.parameters | {
        path: jax.device_put(np.asarray(source[path]), state.parameters[path].sharding) for path in replaced
    }
    average = None if state.average is None else jax.tree.map(jnp.copy, parameters)
    return replace(state, parameters=parameters, average=average), replaced, others
