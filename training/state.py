"""What training changes, as plain arrays: parameters, their average, optimizer, step and random key.

Parameters are one flat dictionary from a path ("blocks.blocks.0.attention.query.kernel") to an array. Sharding rules,
weight decay, checkpoints and loaders of other formats all speak of parameters by that path.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from core.parameters import Parameters, merge, split

__all__ = ["Parameters", "TrainState", "begin_with", "initialise", "merge", "split"]


@jax.tree_util.register_dataclass
@dataclass
class TrainState:
    """A pytree.

    `average` is the moving average of the parameters, None without one. `key` never changes: what a step draws comes
    from the key folded with the step.
    """

    step: jax.Array
    parameters: Parameters
    average: Parameters | None
    optimizer: Any
    key: jax.Array

    @property
    def evaluated(self) -> Parameters:
        """The parameters to evaluate with: the average where there is one."""
        return self.parameters if self.average is None else self.average


def initialise(
    make_model: Callable[[nnx.Rngs], nnx.Module], optimizer: optax.GradientTransformation, *, average: bool
) -> tuple[nnx.GraphDef, Callable[[jax.Array], TrainState]]:
    """The structure of the model, and the pure function from a random key to the state at step 0."""
    structure = nnx.graphdef(nnx.eval_shape(lambda: make_model(nnx.Rngs(0))))

    def create(key) -> TrainState:
        model_key, step_key = jax.random.split(key)
        _, parameters = split(make_model(nnx.Rngs(model_key)))
        # jnp.copy: the state is donated, and one buffer must not be given away twice.
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            parameters=parameters,
            average=jax.tree.map(jnp.copy, parameters) if average else None,
            optimizer=optimizer.init(parameters),
            key=step_key,
        )

    return structure, create


def begin_with(state: TrainState, found: Parameters) -> tuple[TrainState, list[str], list[str]]:
    """The state with the parameters that are in `found` too, with the same path and shape, and both lists of paths:
    those taken from there, and those left as they were."""
    fits = lambda path, x: path in found and found[path].shape == x.shape
    taken = [path for path, x in state.parameters.items() if fits(path, x)]
    new = [path for path in state.parameters if path not in taken]
    parameters = state.parameters | {
        path: jax.device_put(np.asarray(found[path]), state.parameters[path].sharding) for path in taken
    }
    average = None if state.average is None else jax.tree.map(jnp.copy, parameters)
    return replace(state, parameters=parameters, average=average), taken, new
