"""Which trials a sweep makes: lists of overrides, put together like the sentence one would say.

  repeat(product({"model.width": [32, 64], "optimizer.learning_rate": [1e-3, 3e-3]}, {"steps": 300}), seeds=3)

A part is a dict from fields of the config to a value, or to a list of values; or a list of overrides, as every
function here returns it. To give a field a list as its value, write a tuple.
"""

from collections.abc import Callable, Iterable, Mapping
import itertools
import math

import numpy as np
from scipy.stats import qmc

Overrides = dict[str, object]
Part = Mapping | list[Overrides]


def product(*parts: Part) -> list[Overrides]:
    """Every combination; the last field changes fastest.

    Raises ValueError where two parts set the same field.
    """
    columns = [column for part in parts for column in _columns(part)]
    return [_merged(choice) for choice in itertools.product(*columns)]


def zipped(*parts: Part) -> list[Overrides]:
    """The first values together, the second ones together, and so on; single values are in all of them.

    Raises ValueError where lists differ in length, or two parts set the same field.
    """
    columns = [column for part in parts for column in _columns(part)]
    lengths = sorted({len(column) for column in columns} - {1})
    if len(lengths) > 1:
        raise ValueError(f"zipped: expected lists of one length, not of {' and '.join(map(str, lengths))}")
    count = max(map(len, columns), default=0)
    return [_merged(column[i % len(column)] for column in columns) for i in range(count)]


def chain(*parts: Part) -> list[Overrides]:
    """All of the first part, then all of the second, and so on."""
    return [overrides for part in parts for overrides in product(part)]


def repeat(part: Part, *, seeds: int | Iterable[int]) -> list[Overrides]:
    """Each trial with each seed: 0 to seeds - 1, or those that are given."""
    return product(product(part), {"seed": list(range(seeds) if isinstance(seeds, int) else seeds)})


def sample(count: int, fields: Mapping[str, object], *, seed: int = 0) -> list[Overrides]:
    """`count` trials spread over the ranges of `fields`, which are made by `uniform`, `log_uniform` and `choice`.

    Quasi-random (a scrambled Halton sequence): it leaves smaller gaps than independent draws, and the first n of more
    trials are those of n. A field without a range keeps its one value. Numbers are rounded to 3 digits.
    """
    ranges = {name: at for name, at in fields.items() if callable(at)}
    fixed = {name: value for name, value in fields.items() if name not in ranges}
    points = qmc.Halton(len(ranges), rng=np.random.default_rng(seed)).random(count) if ranges else [()] * count
    return [fixed | {name: at(q) for (name, at), q in zip(ranges.items(), map(float, point))} for point in points]


def uniform(low: float, high: float) -> Callable[[float], float]:
    """A range for `sample`: every number from low to high as likely."""
    if not low < high:
        raise ValueError(f"uniform({low}, {high}): expected the lower end first")
    return lambda q: _rounded(low + q * (high - low))


def log_uniform(low: float, high: float) -> Callable[[float], float]:
    """A range for `sample`: every order of magnitude from low to high as likely."""
    if not 0 < low < high:
        raise ValueError(f"log_uniform({low}, {high}): expected two positive numbers, the lower one first")
    return lambda q: _rounded(low * math.exp(q * math.log(high / low)))


def choice(options: Iterable) -> Callable[[float], object]:
    """A range for `sample`: each option as likely."""
    options = list(options)
    return lambda q: options[int(q * len(options))]


def _columns(part: Part) -> list[list[Overrides]]:
    """What is combined: a list of overrides is one column, each field of a dict is one."""
    if isinstance(part, Mapping):
        return [[{name: v} for v in (value if isinstance(value, list) else [value])] for name, value in part.items()]
    return [list(part)]


def _merged(overrides: Iterable[Overrides]) -> Overrides:
    merged: Overrides = {}
    for some in overrides:
        if twice := merged.keys() & some.keys():
            raise ValueError(f"two parts set {', '.join(sorted(twice))}")
        merged |= some
    return merged


def _rounded(x: float) -> float:
    return float(f"{x:.3g}")
