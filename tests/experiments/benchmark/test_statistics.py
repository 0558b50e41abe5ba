"""Statistics of a benchmark: a planted winner wins, a planted tie is a tie, and intervals cover what they say."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from experiments.benchmark import simulate as command
from experiments.benchmark.simulate import DRAWS, Outcome, enough_seeds, simulate
from experiments.benchmark.statistics import (
    MINIMUM,
    all_pairs,
    compare,
    detectable,
    holm,
    interval,
    shared_seeds,
)  # fmt: skip
from experiments.benchmark.variation import Estimate, Runs, Spread, rounding_step

NOISE = {seed: x for seed, x in zip(range(1, 6), [0.004, -0.003, 0.001, -0.005, 0.003])}
OTHER = {seed: x for seed, x in zip(range(1, 6), [-0.002, 0.004, -0.004, 0.002, 0.001])}


def scores(base: float, noise: dict) -> dict:
    return {seed: base + x for seed, x in noise.items()}


PLANTED = {"middle": scores(0.90, OTHER), "best": scores(0.95, NOISE), "worst": scores(0.80, NOISE)}


def ranks(comparison) -> dict:
    return {standing.family: standing.rank for standing in comparison.standings}


@pytest.mark.parametrize("better, order", [("max", ["best", "middle", "worst"]), ("min", ["worst", "middle", "best"])])
def test_a_planted_better_model_comes_out_first(better, order):
    comparison = compare(PLANTED, better)
    assert ranks(comparison) == {name: (place, place) for place, name in enumerate(order, 1)}
    assert [standing.family for standing in comparison.standings] == order
    assert all(pair.sure for pair in comparison.pairs)
    assert (comparison.pairs[0].a, comparison.pairs[0].b) == (order[0], order[1])


def test_a_planted_tie_is_a_range_of_ranks():
    comparison = compare(
        {"one": scores(0.9, NOISE), "two": scores(0.9005, OTHER), "behind": scores(0.7, NOISE)}, "max"
    )
    assert ranks(comparison) == {"one": (1, 2), "two": (1, 2), "behind": (3, 3)}
    assert [pair.sure for pair in comparison.pairs] == [False, True, True]


def test_a_family_that_varies_much_has_a_wider_range_than_its_neighbours():
    noisy = {seed: x for seed, x in zip(range(1, 6), [0.93, 0.60, 0.90, 0.71, 0.86])}
    comparison = compare({"best": scores(0.95, NOISE), "next": scores(0.90, OTHER), "noisy": noisy}, "max")
    assert [pair.sure for pair in comparison.pairs] == [True, False, False]
    assert ranks(comparison) == {"best": (1, 2), "next": (2, 3), "noisy": (1, 3)}


def test_the_same_scores_are_a_tie_and_not_an_error():
    comparison = compare({"a": scores(0.9, NOISE), "b": scores(0.9, NOISE)}, "max")
    assert set(ranks(comparison).values()) == {(1, 2)} and comparison.pairs[0].p == 1


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_seeds_than_the_minimum_give_no_rank_and_no_conclusion(seeds):
    assert seeds < MINIMUM
    comparison = compare({"a": {s: 0.9 + s / 1e6 for s in range(seeds)}, "b": {s: 0.1 for s in range(seeds)}}, "max")
    assert set(ranks(comparison).values()) == {None} and not comparison.ranked
    assert not comparison.pairs[0].sure


def test_one_seed_has_no_interval():
    comparison = compare({"a": {1: 0.9}, "b": {1: 0.1}}, "max")
    assert [(standing.low, standing.high) for standing in comparison.standings] == [(None, None)] * 2
    assert (comparison.pairs[0].p, comparison.pairs[0].low, comparison.pairs[0].detectable) == (1, None, None)


def test_one_family_has_no_rank():
    assert compare({"a": scores(0.9, NOISE)}, "max").standings[0].rank is None


def test_families_may_have_other_seeds():
    a, b = {1: 0.91, 2: 0.92, 3: 0.9}, {4: 0.51, 5: 0.5, 6: 0.53, 7: 0.52}
    comparison = compare({"a": a, "b": b}, "max")
    assert comparison.seeds == [1, 2, 3, 4, 5, 6, 7] and comparison.units == 3 and not comparison.paired
    assert ranks(comparison) == {"a": (1, 1), "b": (2, 2)}


def test_uncorrelated_scores_are_compared_by_welch():
    a, b = [0.9, 0.9, 0.91, 0.9, 0.9], [0.89, 0.9, 0.88, 0.9, 0.8912345]
    tests = all_pairs([Runs(dict(enumerate(values))) for values in (a, b)])
    welch: Any = stats.ttest_ind(a, b, equal_var=False)[1]
    assert not tests.paired and tests.p == pytest.approx([welch])
    b[-1] = 0.89
    welch = stats.ttest_ind(a, b, equal_var=False)[1]
    assert all_pairs([Runs(dict(enumerate(values))) for values in (a, b)]).p[0] > welch  # what rounding can hide


def test_scores_that_vary_with_the_seed_are_compared_in_pairs():
    shared = np.array([0.0, 5.0, -3.0, 2.0, 8.0])
    own = {"a": [0.11, -0.08, 0.03, 0.05123457, -0.12], "b": [-0.04, 0.09, -0.11, 0.02, 0.06]}
    runs = [Runs(dict(enumerate(shared + shift + np.array(own[name])))) for name, shift in (("a", 0.9), ("b", 0.0))]
    paired, correlation = shared_seeds(runs)
    assert paired and correlation is not None and correlation[0] > 0.99
    assert all_pairs(runs).p[0] == pytest.approx(stats.ttest_rel(runs[0].values, runs[1].values)[1])


@pytest.mark.parametrize("values", [[0.9] * 5, [0.9, 0.9, 0.9, 0.9, 0.9 + 1 / 360]])
def test_equal_rounded_scores_are_no_proof(values):
    """Without spread a t-test would divide by zero, or find anything significant."""
    higher = {seed: value + 1 / 360 for seed, value in enumerate(values)}
    comparison = compare({"a": dict(enumerate(values)), "b": higher}, "max")
    assert 0.0001 < comparison.pairs[0].p < 1
    low, high = comparison.standings[0].low, comparison.standings[0].high
    assert low is not None and high is not None and low < high


def test_the_rounding_step_is_found():
    assert rounding_step(np.array([351, 340, 342, 345, 351]) / 360) == pytest.approx(1 / 360)
    assert rounding_step([0.25, 0.75, 0.25]) == 0.5
    assert rounding_step([0.5, 0.5 + 1e-16, 0.5]) == 0 and rounding_step([]) == 0
    assert rounding_step(np.random.default_rng(0).normal(size=5)) == 0


def test_holm_by_hand():
    # 4 x 0.005 = 0.02; 3 x 0.01 = 0.03; 2 x 0.03 = 0.06; 1 x 0.04 = 0.04, but never below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_an_interval_ends_where_scores_do():
    comparison = compare({"a": {1: 0.99, 2: 1.0, 3: 0.95}, "b": {1: 0.02, 2: 0.0, 3: 0.1}}, "max", bounds=(0, 1))
    assert comparison.standings[0].high == 1 and comparison.standings[1].low == 0


SCORES = {
    "normal": (lambda generator, size: generator.normal(size=size), 0.0),
    "skewed": (lambda generator, size: generator.gamma(16, size=size), 16.0),  # skewness 0.5
    "bounded": (lambda generator, size: generator.beta(0.97 * 400, 0.03 * 400, size=size), 0.97),
    "accuracy": (lambda generator, size: generator.binomial(360, 0.97, size=size) / 360, 0.97),
}


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("name", SCORES)
def test_intervals_cover_94_to_96_percent(name, seeds):
    draw, mean = SCORES[name]
    values = draw(np.random.default_rng(seeds), (20_000, seeds))
    ends = np.array([interval(row) for row in values])
    assert 0.94 <= np.mean((ends[:, 0] <= mean) & (mean <= ends[:, 1])) <= 0.96


@pytest.mark.parametrize("name", ["tested", "tuned"])
def test_the_interval_of_a_difference_covers_all_sources(name):
    """Seeds and test examples, seeds and tuning: not those of the seeds alone."""
    generator, covered = np.random.default_rng(0), 0
    for _ in range(200):
        spread = all_pairs(DRAWS[name](generator, np.zeros(2), 5))
        combined = spread.spreads[0].combined
        width = stats.t.isf(0.025, combined.freedom) * math.sqrt(combined.variance)
        covered += abs(spread.differences[0]) < width
    assert 0.9 <= covered / 200 


def test_sources_of_variation_are_told_apart():
    generator = np.random.default_rng(1)
    tuning, seeds, hard = generator.normal(size=40), generator.normal(size=(40, 11)), generator.normal(size=997)
    values = 3 * tuning[:, None, None] + seeds[:, :, None] + 7 * hard  # a run's examples
    runs = values.reshape(440, 997)
    family = Runs(
        dict(enumerate(runs.mean(1))), {run: run // 11 for run in range(440)}, dict(enumerate(runs))
    )
    sources = family.sources()
    assert sources.tuning == pytest.approx(3 * tuning.std(ddof=1) / 40**0.5, rel=0.05)
    assert sources.seeds == pytest.approx(1 / 440**0.5, rel=0.1)
    assert sources.test == pytest.approx(7 * hard.std(ddof=1) / 997**0.5, rel=0.01)


def test_what_is_easy_for_both_families_cancels():
    generator = np.random.default_rng(2)
    common, own = 9 * generator.normal(size=500), generator.normal(size=(2, 1, 500))
    values = common + own + generator.normal(size=(2, 5, 500))
    one, two = (Runs(dict(enumerate(family.mean(1))), examples=dict(enumerate(family))) for family in values)
    alone, difference = one.of_examples(), one.of_examples(two)
    assert alone and difference and difference.variance < 0.1 * alone.variance
    assert difference.variance == pytest.approx(2 / 500, rel=0.2)


def test_the_smallest_detectable_difference_is_found_in_four_of_five_experiments():
    generator, seeds = np.random.default_rng(3), 5
    spread = Spread(Estimate(2 / seeds, 2 * (seeds - 1)))
    shift = detectable(spread, 0.05)
    a, b = generator.normal(size=(20_000, seeds)) + shift, generator.normal(size=(20_000, seeds))
    p: Any = stats.ttest_ind(a, b, axis=1)[1]
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("name", ["normal", "rounded"])
def test_five_percent_of_benchmarks_at_most_call_equal_families_different(name):
    for seeds in (MINIMUM, 5):
        assert simulate(DRAWS[name], [0] * 6, seeds, 150).false <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("seeds", [MINIMUM, 5, 10])
def test_five_percent_at_most_for_every_kind_of_scores(name, seeds):
    assert simulate(DRAWS[name], [0] * 8, seeds, 1000).false <= 0.05 + 1.65 * math.sqrt(0.05 * 0.95 / 1000)


def test_a_family_that_is_far_ahead_is_found():
    """By five deviations in 95 % of its pairs; by three in about half, where tests in pairs would find a fifth."""
    far, near = (simulate(DRAWS["normal"], [shift, *[0] * 7], 5, 60).detected for shift in (5, 3))
    assert far > 0.93 and 0.4 < near < 0.65


def test_the_fewest_seeds_with_a_power_of_80_percent_are_recommended():
    outcomes = [Outcome(0.0, power) for power in (0.95, 0.5, 0.8, 0.99)]  # two seeds give no ranks
    assert enough_seeds([2, 5, 10, 20], outcomes) == 10
    assert enough_seeds([2, 5], outcomes[:2]) == 5


def test_the_simulation_ends_with_the_command_of_a_benchmark(capsys):
    command.main(["--families=2", "--seeds=3", "--benchmarks=2"])
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last == "next     python -m experiments.benchmark digits --seeds=3 --dry_run"
