"""Exponents of costs that are written down: with lower terms, without them, falling, and absent."""

import numpy as np
import pytest

from experiments.measure.exponents import leading_exponent, slope

SIZES = np.array([256.0, 576, 1024, 1600])


@pytest.mark.parametrize(
    "costs, lower, exponent",
    [
        (3 * SIZES**2, (), 2),
        (7e4 + 100 * SIZES + 3 * SIZES**2, (0, 1), 2),
        (5e3 + 2 * SIZES, (0,), 1),
        (SIZES**1.5, (), 1.5),
    ],
)
def test_the_leading_term_is_found_below_lower_ones(costs, lower, exponent):
    assert leading_exponent(SIZES, costs, lower) == pytest.approx(exponent, abs=1e-3)


def test_a_leading_term_that_is_not_there_has_the_exponent_of_the_next():
    assert leading_exponent(SIZES, 7e4 + 100 * SIZES, (0, 1)) == 1
    assert leading_exponent(SIZES, np.full(4, 7.0), (0,)) == 0


def test_a_theory_without_a_term_that_is_there_does_not_fit_by_chance():
    assert abs(leading_exponent(SIZES, 1000 * SIZES + SIZES**2, (0,)) - 1) > 0.2


def test_a_cost_may_fall():
    devices = np.array([1.0, 2, 4, 8])
    assert leading_exponent(devices, 3 + 100 / devices, (0,), falls=True) == pytest.approx(-1, abs=1e-3)
    assert leading_exponent(devices, np.full(4, 7.0), (0,), falls=True) == 0


def test_a_slope_holds_all_terms():
    # From n + n^2 with n = 1 and 3: 2 and 12, so log 6 / log 3.
    assert slope([1, 3], [2, 12]) == pytest.approx(np.log(6) / np.log(3))
