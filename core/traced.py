"""Marks for the numbers that one compiled program can have many values of.

A population trains several runs as one program (`training.population`). The runs may differ in every argument whose
type is marked with one of the two below, because the code uses it in computations only. The type says the range too, as
in `rate: Traced[Share]`.
"""

from collections.abc import Callable
from dataclasses import dataclass
import inspect
from typing import Annotated, TypeVar, get_args

T = TypeVar("T")


@dataclass(frozen=True)
class _Mark:
    zero_differs: bool


Traced = Annotated[T, _Mark(zero_differs=False)]
"""The type of a number that may be a traced array."""

TracedUnlessZero = Annotated[T, _Mark(zero_differs=True)]
"""The type of a number that may be a traced array, but is compared with 0 to leave a part out.

0 gives another program.
"""


def traced_arguments(function: Callable) -> dict[str, bool]:
    """Returns the marked arguments of a function, each with whether 0 gives another program."""
    return {
        name: mark.zero_differs
        for name, parameter in inspect.signature(function).parameters.items()
        for mark in get_args(parameter.annotation)[1:]
        if isinstance(mark, _Mark)
    }
