"""Parameters of scanned layers, which hold all layers in one array each, for optimizers that look at whole arrays.

Adafactor clips an update by its root mean square, scales it by that of the parameter, and factors second moments. Over
the array of all layers these are other numbers than layer by layer. `per_layer` makes them the same.
"""

import re
from typing import Any

import jax
import optax

from training.state import Parameters

# The parts of a block, directly below the "blocks" of a stack; layers that are not scanned have a number between them.
_STACKED = re.compile(r"(^|\.)blocks\.(attention|cross|mlp|attention_norm|cross_norm|source_norm|mlp_norm)\.")


def is_stacked(path: str) -> bool:
    """Returns whether a parameter has a first axis of layers, which `scan=True` of `models.transformer.Stack` adds."""
    return _STACKED.search(path) is not None


def per_layer(transformation: optax.GradientTransformation) -> optax.GradientTransformation:
    """Returns a transformation that treats each layer of a stacked parameter as a parameter of its own.

    Where nothing is stacked, its state is that of `transformation`.
    """

    def init(params: Any) -> Any:
        stacked, others = _divided(params)
        states = {path: jax.vmap(transformation.init)({path: x}) for path, x in stacked.items()}
        state = transformation.init(others)
        return (state, states) if stacked else state

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        stacked, others = _divided(params)
        other_state, states = state if stacked else (state, {})
        own = lambda path: ({path: updates[path]}, states[path], {path: params[path]})
        results: dict[str, Any] = {path: jax.vmap(transformation.update)(*own(path)) for path in stacked}
        changed: Any
        changed, other_state = transformation.update({path: updates[path] for path in others}, other_state, others)
        in_order = {path: results[path][0][path] if path in stacked else changed[path] for path in updates}
        new_states = {path: state for path, (_, state) in results.items()}
        return in_order, (other_state, new_states) if stacked else other_state

    return optax.GradientTransformation(init, update)


def _divided(parameters: Parameters) -> tuple[Parameters, Parameters]:
    """The stacked parameters, and the others."""
    stacked = {path: x for path, x in parameters.items() if is_stacked(path)}
    return stacked, {path: x for path, x in parameters.items() if path not in stacked}
