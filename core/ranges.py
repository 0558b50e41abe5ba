"""The values that a field may have, said where the field is defined.

A range is a part of the field's type, as in `depth: Depth` or `scale: Annotated[float, Range(0.01, 100)]`.
`training.settings` reads it there and checks the values of a config against it, before anything is computed. A function
can therefore rely on its ranges, and checks only how its arguments fit together.

Upper bounds are far above all that makes sense. They are there because a typing error, such as a zero too many, should
be a message and not an hour of waiting or a machine without memory.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
import struct
import types
import typing
from typing import Annotated, Any

from core.errors import UserError, shown
from core.signatures import keywords

_SMALLEST = 2.0**-126  # XLA treats smaller float32 numbers as 0


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, of which both belong to the range unless it is open there.

    A float must lie inside as a float32 too, because it is computed with as one: 1 - 1e-9 is not below 1 there, and
    1e-60 is 0.

    Attributes:
      also: one further number, which means something else, such as 0 for "leave it out".
    """

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False
    also: float | None = None

    def problem(self, name: str, value: Any) -> str | None:
        """Returns what is wrong with the value of a field, or None."""
        if self.also is not None and value == self.also:
            return None
        if not isinstance(value, (int, float)) or not self._holds(value):
            return f"expected {self.words(name)}"
        if isinstance(value, float):
            rounded = _float32(value)
            if not self._holds(rounded) or (rounded == 0) != (value == 0):
                return f"expected {self.words(name)}, and that is {rounded:g} in float32"
        return None

    def words(self, name: str) -> str:
        """Returns the range of a field as an inequality."""
        left, right = "<" if self.open_low else "<=", "<" if self.open_high else "<="
        also = "" if self.also is None else f"{_number(self.also)}, or "
        return f"{also}{_number(self.low)} {left} {name} {right} {_number(self.high)}"

    def _holds(self, value: float) -> bool:
        above = self.low < value if self.open_low else self.low <= value
        return above and (value < self.high if self.open_high else value <= self.high)  # False for NaN


@dataclass(frozen=True)
class OneOf:
    """One of a few names.

    Attributes:
      names: that are allowed.
      reasons: why some others are not.
    """

    names: tuple[str, ...]
    reasons: tuple[tuple[str, str], ...] = ()

    def problem(self, name: str, value: Any) -> str | None:
        """Returns what is wrong with the value of a field, or None."""
        if value in self.names:
            return None
        reason = dict(self.reasons).get(value)
        return f"expected one of {', '.join(self.names)}" + (f" ({reason})" if reason else "")


Size = Annotated[int, Range(1, 2**17)]
"""A number of columns, heads, latents or the like."""

Depth = Annotated[int, Range(1, 1024)]
"""A number of layers, or of rounds."""

Length = Annotated[int, Range(1, 2**17)]
"""The elements of a sequence."""

Side = Annotated[int, Range(1, 2**13)]
"""Of an image or a patch, in pixels; also its number of channels."""

ImageShape = tuple[Side, Side, Side]
"""(rows, columns, channels)."""

Vocabulary = Annotated[int, Range(1, 2**20)]
"""A number of different tokens, or of classes."""

Token = Annotated[int, Range(0, 2**20)]
"""The number of a token."""

Count = Annotated[int, Range(1, 10**9)]
"""A number of steps or of examples."""

CountOrZero = Annotated[int, Range(0, 10**9)]
"""A number of steps, or 0."""

Share = Annotated[float, Range(0, 1)]
"""A part of something: nothing, all, or anything between."""

ShareBelowAll = Annotated[float, Range(0, 1, open_high=True)]
"""A part of something, but not all of it: a dropout rate, or the decay of an average."""

Nonnegative = Annotated[float, Range(0, 10**6)]
"""The weight of a term, or 0 to leave it out."""

Epsilon = Annotated[float, Range(0, 1, open_low=True)]
"""What is added to a denominator."""

Seed = Annotated[int, Range(0, 2**32 - 1)]
"""What random numbers follow from. Random keys use 32 bits: beyond, two seeds would be the same."""

Dtype = Annotated[
    str, OneOf(("float32", "bfloat16", "float16"), (("float64", "JAX computes in float32 instead, unless it is told "
                                                     "otherwise for the whole process"),)),
]  # fmt: skip
"""The type of the numbers that a model computes with."""


def refuse_outside(target: Callable, values: Mapping[str, Any], prefix: str = "") -> None:
    """Checks that arguments of a function or class, which have the right types, lie in their ranges.

    Raises:
      UserError: names the first that does not, after `prefix`, with its value and its range.
    """
    for name, parameter in keywords(target).items():
        if name in values and (reason := problem(parameter.annotation, name, values[name])):
            raise UserError(f"{prefix}{name} = {shown(values[name])}: {reason}")


def problem(annotation: Any, name: str, value: Any) -> str | None:
    """Returns what is wrong with a value that has the type, but may lie outside its range; or None."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        reasons = (part.problem(name, value) for part in parts[1:] if isinstance(part, (Range, OneOf)))
        return next(filter(None, reasons), None) or problem(parts[0], name, value)
    if origin in (typing.Union, types.UnionType):
        (other,) = (part for part in parts if part is not types.NoneType)
        return None if value is None else problem(other, name, value)
    if origin is tuple and isinstance(value, (tuple, list)):
        kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else parts
        reasons = (problem(kind, f"{name}[{at}]", item) for at, (kind, item) in enumerate(zip(kinds, value)))
        return next((f"{text}, not {shown(item)}" for text, item in zip(reasons, value) if text), None)
    return None


def numbers(annotation: Any, ranges: tuple[Range, ...] = ()) -> Iterator[tuple[type, Range | None]]:
    """Yields the types of the numbers that a value of a type consists of, int or float, each with its range."""
    parts = typing.get_args(annotation)
    if typing.get_origin(annotation) is Annotated:
        own = tuple(part for part in parts[1:] if isinstance(part, Range))
        yield from numbers(parts[0], own or ranges)
    elif annotation in (int, float):
        yield annotation, ranges[0] if ranges else None
    else:
        for part in parts:
            yield from numbers(part)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _float32(value: float) -> float:
    """The nearest float32, 0 where XLA takes it for 0."""
    (rounded,) = struct.unpack("f", struct.pack("f", value))
    return rounded if abs(rounded) >= _SMALLEST else 0.0
