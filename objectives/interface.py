"""What objectives have in common: the types of their arguments and results, and how they call a model."""

from collections.abc import Callable, Mapping
import inspect
from typing import Any

from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from core.errors import UserError

Model = Callable[..., Any]
"""A model, called with named inputs and `key`."""

Batch = Mapping[str, Any]
"""{"inputs": {name: array}, "targets": array, "weights": array}, and "step" in training."""

Loss = Float[Array, ""]
Metrics = dict[str, tuple[Shaped[Array, ""], Shaped[Array, ""]]]
"""(sum, count) by name."""


def call(function: Callable, inputs: Mapping[str, Any], key: PRNGKeyArray | None) -> Any:
    """Returns the result of a model, or of one of its methods, for named inputs.

    Raises:
      UserError: the model does not take inputs with these names.
    """
    signature = inspect.signature(function)
    try:
        signature.bind(**inputs, key=key)
    except TypeError as error:
        expected = ", ".join(repr(name) for name in signature.parameters if name != "key")
        names = ", ".join(map(repr, inputs))
        raise UserError(f"the inputs of the model are {expected}, but the data has {names}") from error
    return function(**inputs, key=key)
