"""Which way a metric is better: a property of the metric, stated where it is computed.

    @measures(loss=LOWER, accuracy=HIGHER)
    def classification(model, batch, key): ...

Runs, sweeps, searches, tables, plots and the benchmark ask for it here, so none of them has to guess from a name.
"""

from collections.abc import Callable, Iterable, Mapping
import difflib
import math
from typing import TypeVar

from core.errors import UserError

LOWER, HIGHER = "min", "max"

F = TypeVar("F", bound=Callable)


def measures(**better: str) -> Callable[[F], F]:
    """Decorates a function that returns metrics: says of each whether the LOWER or the HIGHER value is better."""

    def decorate(function: F) -> F:
        setattr(function, "measures", better)  # noqa: B010  # a type checker knows no attributes of functions
        return function

    return decorate


def measured_by(function: Callable) -> Mapping[str, str]:
    """Returns "min" or "max" for each metric that a function was decorated with."""
    return getattr(function, "measures", {})


def is_better(value: float, than: float | None, better: str) -> bool:
    """Returns whether a value is better than another one, where `better` is "min" or "max".

    NaN and infinity are never better than anything, and every other value is better than they are, or than None.
    """
    if not math.isfinite(value):
        return False
    if than is None or not math.isfinite(than):
        return True
    return value < than if better == LOWER else value > than


def refuse_unknown(field: str, name: str, names: Iterable[str]) -> None:
    """Raises UserError if a metric is not among those that are computed; the message has the closest one, and all.

    Args:
      field: the words before the name in the message, such as "best =".
    """
    names = sorted(names)
    if name in names:
        return
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UserError(f"{field} {name!r}: expected one of {', '.join(names)}.{hint}")
