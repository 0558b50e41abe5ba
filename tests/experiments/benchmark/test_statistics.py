"""Statistics of a benchmark on made-up results: a planted winner wins, a planted tie is a tie."""

import numpy as np
import pytest
from scipy import stats

from experiments.benchmark.statistics import compare, holm, interval, paired_p

NOISE = {seed: x for seed, x in zip(range(1, 6), [0.004, -0.003, 0.001, -0.005, 0.003])}
OTHER = {seed: x for seed, x in zip(range(1, 6), [-0.002, 0.004, -0.004, 0.002, 0.001])}


def scores(base: float, noise: dict) -> dict:
    return {seed: base + x for seed, x in noise.items()}


PLANTED = {"middle": scores(0.90, OTHER), "best": scores(0.95, NOISE), "worst": scores(0.80, NOISE)}


@pytest.mark.parametrize("better, order", [("max", ["best", "middle", "worst"]), ("min", ["worst", "middle", "best"])])
def test_a_planted_better_model_comes_out_first(better, order):
    comparison = compare(PLANTED, better)
    standings, pairs = comparison.standings, comparison.pairs
    assert [standing.family for standing in standings] == order
    assert [standing.rank for standing in standings] == [1, 2, 3]
    assert all(pair.sure for pair in pairs) and [(pair.a, pair.b) for pair in pairs][0] == (order[0], order[1])


def test_a_planted_tie_is_called_a_tie():
    comparison = compare(
        {"one": scores(0.9, NOISE), "two": scores(0.9005, OTHER), "behind": scores(0.7, NOISE)}, "max"
    )
    assert {standing.family: standing.rank for standing in comparison.standings} == {"one": 1, "two": 1, "behind": 3}
    assert [pair.sure for pair in comparison.pairs] == [False, True, True]


def test_a_rank_is_never_better_than_that_of_a_better_mean():
    noisy = {seed: x for seed, x in zip(range(1, 6), [0.93, 0.60, 0.90, 0.71, 0.86])}
    comparison = compare({"best": scores(0.95, NOISE), "next": scores(0.90, OTHER), "noisy": noisy}, "max")
    assert [pair.sure for pair in comparison.pairs] == [True, False, False]  # best and noisy are not separated
    assert {standing.family: standing.rank for standing in comparison.standings} == {"best": 1, "next": 2, "noisy": 2}


def test_the_same_scores_are_a_tie_and_not_an_error():
    comparison = compare({"a": scores(0.9, NOISE), "b": scores(0.9, NOISE)}, "max")
    assert [standing.rank for standing in comparison.standings] == [1, 1] and comparison.pairs[0].p == 1


def test_a_significant_difference_whose_intervals_overlap_gives_no_rank():
    wide = {seed: 0.9 + x for seed, x in zip(range(1, 6), [0.05, -0.05, 0.03, -0.04, 0.01])}
    ahead = {seed: x + 0.004 + 0.0001 * seed for seed, x in wide.items()}
    comparison = compare({"ahead": ahead, "wide": wide}, "max")
    assert comparison.pairs[0].p < 0.01 and not comparison.pairs[0].sure
    assert [standing.rank for standing in comparison.standings] == [1, 1]


def test_one_seed_gives_no_significance():
    comparison = compare({"a": {1: 0.9}, "b": {1: 0.1}}, "max")
    standings = [(standing.family, standing.low, standing.high, standing.rank) for standing in comparison.standings]
    assert standings == [("a", 0.9, 0.9, 1), ("b", 0.1, 0.1, 1)]
    assert comparison.pairs[0].p == 1 and not comparison.pairs[0].sure


def test_one_family_has_no_rank():
    assert compare({"a": scores(0.9, NOISE)}, "max").standings[0].rank is None


def test_the_interval_lies_around_the_mean_and_is_the_same_each_time():
    values = [0.90, 0.94, 0.91, 0.95, 0.92]
    low, high = interval(values)
    assert 0.90 < low < np.mean(values) < high < 0.95 and interval(values) == (low, high)
    assert interval([0.5, 0.5, 0.5]) == (0.5, 0.5)


def test_the_test_is_the_paired_one():
    a, b = [0.9, 0.8, 0.7, 0.95, 0.6], [0.88, 0.79, 0.67, 0.94, 0.58]
    differences = np.subtract(a, b)
    t = differences.mean() / (differences.std(ddof=1) / 5**0.5)
    assert paired_p(a, b) == pytest.approx(2 * stats.t.sf(abs(t), 4))
    assert paired_p([0.75, 0.5, 0.25], [0.5, 0.25, 0.0]) == 0.0


def test_holm_by_hand():
    # 4 x 0.005 = 0.02; 3 x 0.01 = 0.03; 2 x 0.03 = 0.06; 1 x 0.04 = 0.04, but never below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_other_seeds_are_refused():
    with pytest.raises(ValueError, match=r"a: 1, 2; b: 1, 3"):
        compare({"a": {1: 0.9, 2: 0.8}, "b": {1: 0.9, 3: 0.8}}, "max")
