"""The trials of a sweep as lists of overrides, composed with a few functions.

  repeat(product({"model.width": [32, 64], "optimizer.learning_rate": [1e-3, 3e-3]}, {"steps": 300}), seeds=3)

A part is either a dict from fields of the config to a value or to a list of values, or a list of overrides, as every
function here returns it. A value that is itself a list is written as a tuple.
"""

from collections.abc import Callable, Iterable, Mapping
import itertools
import math
from typing import Any

import numpy as np

from core.errors import UserError

Overrides = dict[str, Any]
Part = Mapping[str, Any] | list[Overrides]


def product(*parts: Part) -> list[Overrides]:
    """Returns every combination of the values of the parts. The last field changes fastest.

    Raises:
      UserError: two parts set the same field.
    """
    columns = [column for part in parts for column in _columns(part)]
    return [_merged(choice) for choice in itertools.product(*columns)]


def zipped(*parts: Part) -> list[Overrides]:
    """Returns all first values together, all second values together, and so on. A single value is in all of them.

    Raises:
      UserError: lists differ in length, or two parts set the same field.
    """
    columns = [column for part in parts for column in _columns(part)]
    lengths = sorted({len(column) for column in columns} - {1})
    if len(lengths) > 1:
        raise UserError(f"zipped: expected lists of one length, not of {' and '.join(map(str, lengths))}")
    count = max(map(len, columns), default=0)
    return [_merged(column[i % len(column)] for column in columns) for i in range(count)]


def chain(*parts: Part) -> list[Overrides]:
    """Returns everything in the first part, then everything in the second, and so on."""
    return [overrides for part in parts for overrides in product(part)]


def repeat(part: Part, *, seeds: int | Iterable[int]) -> list[Overrides]:
    """Returns each trial with each seed: the listed seeds, or 0 to `seeds` - 1."""
    return product(product(part), {"seed": list(range(seeds) if isinstance(seeds, int) else seeds)})


def sample(count: int, fields: Mapping[str, Any], *, seed: int = 0) -> list[Overrides]:
    """Returns `count` trials spread over ranges of fields.

    They are quasi-random (a scrambled Halton sequence), which leaves smaller gaps than independent draws. The first n
    of more trials are the n of fewer. Numbers are rounded to 3 digits.

    Args:
      fields: for each field a range from `uniform`, `log_uniform` or `choice`, or a single value.
    """
    ranges = {name: quantile for name, quantile in fields.items() if callable(quantile)}
    fixed = {name: value for name, value in fields.items() if name not in ranges}
    from scipy.stats import qmc  # takes half a second, which runs of a grid need not pay

    points = qmc.Halton(len(ranges), rng=np.random.default_rng(seed)).random(count) if ranges else [()] * count
    return [
        fixed | {name: quantile(q) for (name, quantile), q in zip(ranges.items(), map(float, point))}
        for point in points
    ]  # fmt: skip


def uniform(low: float, high: float) -> Callable[[float], float]:
    """Returns a range for `sample` in which every number from low to high is equally likely.

    Raises:
      UserError: low is not below high.
    """
    if not low < high:
        raise UserError(f"uniform({low}, {high}): expected the lower end first")
    return lambda q: _rounded(low + q * (high - low))


def log_uniform(low: float, high: float) -> Callable[[float], float]:
    """Returns a range for `sample` in which every order of magnitude from low to high is equally likely.

    Raises:
      UserError: low is not positive, or not below high.
    """
    if not 0 < low < high:
        raise UserError(f"log_uniform({low}, {high}): expected two positive numbers, the lower one first")
    return lambda q: _rounded(low * math.exp(q * math.log(high / low)))


def choice(options: Iterable) -> Callable[[float], Any]:
    """Returns a range for `sample` in which each of the options is equally likely."""
    options = list(options)
    return lambda q: options[int(q * len(options))]


def _columns(part: Part) -> list[list[Overrides]]:
    """The lists that are combined: a list of overrides is one of them, each field of a dict is one."""
    if isinstance(part, Mapping):
        return [[{name: v} for v in (value if isinstance(value, list) else [value])] for name, value in part.items()]
    return [list(part)]


def _merged(parts: Iterable[Overrides]) -> Overrides:
    merged: Overrides = {}
    for overrides in parts:
        if twice := merged.keys() & overrides.keys():
            raise UserError(f"two parts set {', '.join(sorted(twice))}")
        merged |= overrides
    return merged


def _rounded(x: float) -> float:
    return float(f"{x:.3g}")
