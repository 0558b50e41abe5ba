"""What objectives have in common: the types of their arguments and results, and how they call a model."""

from collections.abc import Callable, Mapping
import inspect
from typing import Any, TypeVar

from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from core.errors import UserError

Model = Callable[..., Any]
"""A model, called with named inputs and `key`."""

Batch = Mapping[str, Any]
"""{"inputs": {name: array}, "targets": array, "weights": array}, and "step" in training."""

Loss = Float[Array, ""]
Metrics = dict[str, tuple[Shaped[Array, ""], Shaped[Array, ""]]]
"""(sum, count) by name."""

_NEEDS = "needs"

Function = TypeVar("Function", bound=Callable)


def needs(ability: str, words: str) -> Callable[[Function], Function]:
    """Decorates an objective that is for models with an attribute or method of this name; see `models.protocols`.

    Args:
      words: what such a model does, for the message about another one, as in "returns the logits of classes".
    """

    def decorate(objective: Function) -> Function:
        setattr(objective, _NEEDS, (ability, words))
        return objective

    return decorate


def check_ability(objective: Callable, model: object) -> None:
    """Raises UserError if a model cannot do what an objective needs."""
    ability, words = getattr(objective, _NEEDS, ("__call__", ""))
    if not hasattr(model, ability):
        kind, name = type(model).__name__, objective.__name__
        raise UserError(
            f"objective.name = {name!r} needs a model that {words}, and this {kind} does not: choose another "
            "objective, or another model.name"
        )


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
