"""Marks for the numbers that one compiled program can have many values of.

A population trains several runs as one program (`training.population`). The runs may differ in every argument that is
annotated with one of the two types below, because the code uses it in computations only.
"""

from collections.abc import Callable
from dataclasses import dataclass
import inspect
from typing import Annotated, get_args


@dataclass(frozen=True)
class _Mark:
    zero_differs: bool


Traced = Annotated[float, _Mark(zero_differs=False)]
"""A number that may be a traced array."""

TracedUnlessZero = Annotated[float, _Mark(zero_differs=True)]
"""A number that may be a traced array, but is compared with 0 to leave a part out: 0 gives another program."""


def traced_arguments(function: Callable) -> dict[str, bool]:
    """Returns the marked arguments of a function, each with whether 0 gives another program."""
    return {
        name: mark.zero_differs
        for name, parameter in inspect.signature(function).parameters.items()
        for mark in get_args(parameter.annotation)[1:]
        if isinstance(mark, _Mark)
    }
