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

_NEEDS, _COMPARES = "needs", "compares_examples"

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


def compares_examples(objective: Function) -> Function:
    """Decorates an objective that compares the examples of a batch with one another.

    Its metrics depend on the size of the batch, also in evaluation, and a batch cannot be computed in parts.
    """
    setattr(objective, _COMPARES, True)
    return objective


def compares(objective: Callable) -> bool:
    """Returns whether an objective compares the examples of a batch with one another."""
    return getattr(objective, _COMPARES, False)


def check_parts(objective: Callable, parts: int) -> None:
    """Raises UserError if a batch would be computed in parts although its examples are compared with one another."""
    if parts > 1 and compares(objective):
        raise UserError(
            f"accumulate = {parts}: objective.name = {objective.__name__!r} compares all examples of a batch with one "
            "another, so a batch cannot be computed in parts; leave it out, or divide the batch over more devices"
        )


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
