"""Ranges: what lies inside, and what is said about what does not."""

import math
from typing import Annotated

import pytest

from core.errors import UserError, cut, shown
from core.ranges import Dtype, ImageShape, Range, Seed, ShareBelowAll, Size, numbers, problem, refuse_outside
from core.signatures import plain

OPEN = Annotated[float, Range(0, 5, open_low=True, open_high=True)]
OR_ZERO = Annotated[int, Range(3, 7, also=0)]


@pytest.mark.parametrize(
    "annotation, values",
    [
        (Size, [1, 2**17]),
        (Seed, [0, 2**32 - 1]),
        (OPEN, [1e-30, 4.999, 3]),
        (OR_ZERO, [0, 3, 7]),
        (ShareBelowAll, [0.0, 0, 0.999999]),
        (Size | None, [None, 13]),
        (ImageShape, [(7, 5, 3), [7, 5, 3]]),
        (tuple[OPEN, ...], [(), (0.5,), (0.5, 4.5)]),
        (Dtype, ["float32", "bfloat16", "float16"]),
        (bool, [True]),
    ],
    ids=str,
)
def test_what_lies_inside(annotation, values):
    assert [problem(annotation, "x", value) for value in values] == [None] * len(values)


@pytest.mark.parametrize(
    "annotation, value, words",
    [
        (Size, 0, "expected 1 <= x <= 131,072"),
        (Size, 10**400, "expected 1 <= x <= 131,072"),
        (Size | None, -1, "expected 1 <= x <= 131,072"),
        (Seed, 2**32, "expected 0 <= x <= 4,294,967,295"),
        (OPEN, 0, "expected 0 < x < 5"),
        (OPEN, 5.0, "expected 0 < x < 5"),
        (OPEN, math.nan, "expected 0 < x < 5"),
        (OPEN, math.inf, "expected 0 < x < 5"),
        (OPEN, 1e-60, "expected 0 < x < 5, and that is 0 in float32"),
        (ShareBelowAll, 1 - 1e-10, "expected 0 <= x < 1, and that is 1 in float32"),
        (ShareBelowAll, 1e-40, "expected 0 <= x < 1, and that is 0 in float32"),  # XLA takes it for 0
        (OR_ZERO, 2, "expected 0, or 3 <= x <= 7"),
        (ImageShape, (7, 0, 3), "expected 1 <= x[1] <= 8,192, not 0"),
        (tuple[OPEN, ...], (0.5, 6.0), "expected 0 < x[1] < 5, not 6.0"),
        (Dtype, "float8", "expected one of float32, bfloat16, float16"),
    ],
    ids=str,
)
def test_what_lies_outside(annotation, value, words):
    assert problem(annotation, "x", value) == words


def test_float64_is_refused_with_the_reason():
    assert "JAX computes in float32 instead" in str(problem(Dtype, "dtype", "float64"))


def test_the_numbers_of_a_type_and_their_ranges():
    size = Range(1, 2**17)
    assert list(numbers(Size | None)) == [(int, size)]
    assert list(numbers(tuple[Size, float])) == [(int, size), (float, None)]
    assert list(numbers(str | None)) == list(numbers(bool)) == []


def test_a_type_without_its_ranges():
    assert plain(Size | None) == int | None
    assert plain(Annotated[ImageShape | None, "a mark"]) == tuple[int, int, int] | None
    assert plain(tuple[OPEN, ...]) == tuple[float, ...]


def test_arguments_outside_their_ranges_are_named():
    def oven(*, heat: OPEN, minutes: Size = 13):
        pass

    refuse_outside(oven, {"heat": 3.0})
    with pytest.raises(UserError, match="^oven.minutes = 0: expected 1 <= minutes <= 131,072$"):
        refuse_outside(oven, {"heat": 3.0, "minutes": 0}, "oven.")


def test_a_name_in_a_message_stays_in_its_line():
    assert cut("a\nb\tc") == "a\\nb\\tc" and cut("\n" * 200).count("\n") == 0


def test_a_long_value_is_cut_in_a_message():
    assert shown("short") == "'short'"
    text = shown("x" * 5000)
    assert len(text) < 150 and text.startswith("'xxx") and "... (5,002 characters) ..." in text
