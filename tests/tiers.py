"""How often a test runs: `make test` leaves out those marked `medium`, which `make test-all` runs too."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest


def first_fast(values: Iterable[Any]) -> Sequence[Any]:
    """Returns parameters of a test, of which only the first runs in `make test`. The others are `medium`."""
    first, *others = values
    return [first, *(pytest.param(value, marks=pytest.mark.medium) for value in others)]
