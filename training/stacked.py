"""Parameters of scanned layers, which hold all layers in one array each, for optimizers that look at whole arrays.

Adafactor clips an update by its root mean square, scales it by that of the parameter, and factors second moments. Over
the array of all layers these are other numbers than layer by layer. `per_layer` makes them the same.
"""

import re

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

    def init(parameters: Parameters):
        stacked, others = _divided(parameters)
        states = {path: jax.vmap(transformation.init)({path: x}) for path, x in stacked.items()}
        state = transformation.init(others)
        return (state, states) if stacked else state

    def update(gradients: Parameters, state, parameters: Parameters):
        stacked, others = _divided(parameters)
        other_state, states = state if stacked else (state, {})
        own = lambda path: ({path: gradients[path]}, states[path], {path: parameters[path]})
        results = {path: jax.vmap(transformation.update)(*own(path)) for path in stacked}
        updates, other_state = transformation.update({path: gradients[path] for path in others}, other_state, others)
        by_path = {**updates, **{path: result[0][path] for path, result in results.items()}}
        ordered = {path: by_path[path] for path in gradients}
        return ordered, (other_state, {path: result[1] for path, result in results.items()}) if stacked else other_state

    return optax.GradientTransformation(init, update)


def _divided(parameters: Parameters) -> tuple[Parameters, Parameters]:
    """The stacked parameters, and the others."""
    stacked = {path: x for path, x in parameters.items() if is_stacked(path)}
    return stacked, {path: x for path, x in parameters.items() if path not in stacked}
