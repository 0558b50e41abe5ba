"""The functions that combine overrides, compared with lists written by hand."""

import pytest

from experiments.sweep.space import chain, choice, log_uniform, product, repeat, sample, uniform, zipped


def test_product_is_every_combination_and_the_last_field_changes_fastest():
    assert product({"a": [1, 2], "b": 5}, {"c": [3, 4]}) == [
        {"a": 1, "b": 5, "c": 3}, {"a": 1, "b": 5, "c": 4}, {"a": 2, "b": 5, "c": 3}, {"a": 2, "b": 5, "c": 4},
    ]  # fmt: skip


def test_zipped_combines_values_at_the_same_position():
    assert zipped({"a": [1, 2], "b": [3, 4]}, {"c": 5}) == [{"a": 1, "b": 3, "c": 5}, {"a": 2, "b": 4, "c": 5}]


def test_chain_is_one_after_the_other():
    assert chain({"a": [1, 2]}, zipped({"b": [3], "c": [4]})) == [{"a": 1}, {"a": 2}, {"b": 3, "c": 4}]


def test_repeat_combines_each_trial_with_each_seed():
    assert repeat({"a": [1, 2]}, seeds=2) == [{"a": a, "seed": s} for a in (1, 2) for s in (0, 1)]
    assert repeat({"a": 1}, seeds=[7]) == [{"a": 1, "seed": 7}]


def test_functions_can_be_nested():
    trials = repeat(product(zipped({"width": [32, 64], "heads": [2, 4]}), {"rate": [0.1, 0.2]}), seeds=3)
    assert len(trials) == 12
    assert trials[-1] == {"width": 64, "heads": 4, "rate": 0.2, "seed": 2}


def test_a_tuple_is_one_value():
    assert product({"correlations": (0.9, 0.5)}) == [{"correlations": (0.9, 0.5)}]


def test_sample_covers_each_range_evenly():
    trials = sample(64, {"rate": log_uniform(1e-4, 1e-2), "dropout": uniform(0, 0.5), "norm": choice("ab"), "x": 1})
    rates = sorted(trial["rate"] for trial in trials)
    assert 1e-4 <= rates[0] and rates[-1] <= 1e-2
    assert 30 <= sum(rate < 1e-3 for rate in rates) <= 34  # half of the orders of magnitude
    assert 30 <= sum(trial["dropout"] < 0.25 for trial in trials) <= 34
    assert 28 <= sum(trial["norm"] == "a" for trial in trials) <= 36
    assert {trial["x"] for trial in trials} == {1}
    assert all(float(f"{rate:.3g}") == rate for rate in rates)


def test_a_longer_sample_begins_with_the_shorter_one_and_the_seed_decides():
    ranges = {"rate": uniform(0, 1), "other": uniform(0, 1)}
    assert sample(9, ranges)[:4] == sample(4, ranges)
    assert sample(4, ranges, seed=1) != sample(4, ranges)


@pytest.mark.parametrize(
    "work, message",
    [
        (lambda: product({"a": [1]}, {"a": [2]}), "two parts set a"),
        (lambda: zipped({"a": [1, 2], "b": [1, 2, 3]}), "not of 2 and 3"),
        (lambda: uniform(1, 0), "lower end first"),
        (lambda: log_uniform(0, 1), "two positive numbers"),
    ],
)
def test_a_mistake_is_named(work, message):
    with pytest.raises(ValueError, match=message):
        work()
