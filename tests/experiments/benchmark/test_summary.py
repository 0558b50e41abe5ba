"""Several suites together: interquartile means, profiles and probabilities, by hand and from the command."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from experiments.benchmark import scores as scores_module
from experiments.benchmark import suite, summary
from experiments.benchmark.aggregates import (
    improvement,
    interquartile_mean,
    interval,
    mean,
    median,
    optimality_gap,
    profile,
)  # fmt: skip
from tests.experiments.benchmark.planted import family, scores

TASKS = [np.array([0.1, 0.5, 0.6]), np.array([0.2, 0.9, 1.3, 0.8, 0.4])]


def test_aggregates_by_hand():
    # Of eight scores the middle four: 0.4, 0.5, 0.6, 0.8.
    assert interquartile_mean(TASKS) == pytest.approx(0.575)
    assert mean(TASKS) == pytest.approx((0.4 + 0.72) / 2) and median(TASKS) == pytest.approx(0.56)
    assert optimality_gap(TASKS) == pytest.approx(1 - (0.4 + (0.2 + 0.9 + 1 + 0.8 + 0.4) / 5) / 2)
    assert profile(TASKS, np.array([0.5])) == pytest.approx((1 / 3 + 3 / 5) / 2)


def test_the_probability_of_improvement_counts_ties_half():
    other = [np.array([0.5]), np.array([0.2])]
    assert improvement(TASKS, other) == pytest.approx((1.5 / 3 + 4.5 / 5) / 2)
    assert improvement(other, TASKS) == pytest.approx(1 - improvement(TASKS, other))


# What the package rliable 1.2.0 (Agarwal et al. 2021) gives for the scores of `RANDOM`, five runs of seven tasks:
# aggregate_iqm, aggregate_mean, aggregate_median and aggregate_optimality_gap, and their intervals by
# library.get_interval_estimates(..., reps=20000); then metrics.probability_of_improvement (reps=1000) and
# library.create_performance_profile.
RANDOM = [np.round(generator.normal(centre, spread, size=(5, 7)), 2).T
          for generator in [np.random.default_rng(3)] for centre, spread in ((0.6, 0.3), (0.5, 0.4))]  # fmt: skip
STATISTICS = (interquartile_mean, mean, median, optimality_gap)
OF_RLIABLE = [
    [(0.58421053, 0.51156579, 0.66789474), (0.61771429, 0.52085714, 0.71685714), (0.692, 0.514, 0.752),
     (0.41228571, 0.33427857, 0.49229286)],
    [(0.47473684, 0.32157895, 0.61105263), (0.40285714, 0.286, 0.51742857), (0.484, 0.296, 0.624),
     (0.59885714, 0.48514286, 0.71514286)],
]  # fmt: skip


@pytest.mark.parametrize("name", range(2))
def test_aggregates_and_their_intervals_are_those_of_rliable(name):
    tasks = list(RANDOM[name])
    for statistic, (value, low, high) in zip(STATISTICS, OF_RLIABLE[name]):
        assert statistic(tasks) == pytest.approx(value, abs=1e-7)
        # The draws differ: the bounds agree to a fifth of the width of the interval.
        assert interval(statistic, tasks) == pytest.approx((low, high), abs=(high - low) / 5)


def test_probabilities_of_improvement_and_profiles_are_those_of_rliable():
    one, other = map(list, RANDOM)
    assert improvement(one, other) == pytest.approx(0.5857142857142856)
    assert interval(improvement, one, other) == pytest.approx((0.43428571, 0.72857143), abs=0.03)
    shares = [[0.94285714, 0.94285714, 0.68571429, 0.28571429, 0.11428571],
              [0.82857143, 0.65714286, 0.51428571, 0.28571429, 0.02857143]]  # fmt: skip
    for tasks, expected in zip((one, other), shares):
        assert profile(tasks, np.array([0, 0.25, 0.5, 0.75, 1])) == pytest.approx(expected)


def test_the_interval_lies_around_the_statistic_and_is_the_same_each_time():
    low, high = interval(interquartile_mean, TASKS, draws=300)
    assert low < interquartile_mean(TASKS) < high
    assert (low, high) == interval(interquartile_mean, TASKS, draws=300)


def workdirs(tmp_path: Path) -> list[str]:
    digits = scores({"decoder": family(0.9), "encoder": family(0.8), "cnn": family(0.7)})
    recall = scores({"decoder": family(0.5), "encoder": family(0.6)}, rules=suite.load("recall"), suite="recall")
    for name, outcome in (("digits", digits), ("recall", recall)):
        (tmp_path / name).mkdir()
        scores_module.write(outcome, tmp_path / name)
    return [str(tmp_path / name) for name in ("digits", "recall")]


def test_the_command_writes_tables_and_profiles(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(summary.aggregates, "DRAWS", 20)
    summary.main([*workdirs(tmp_path), f"--out={tmp_path / 'out'}"])
    assert "interquartile mean" in capsys.readouterr().out
    text = (tmp_path / "out/summary.md").read_text()
    assert "Suites: digits, recall." in text and "| decoder |" in text and "| cnn |" not in text
    assert (tmp_path / "out/profiles.svg").exists() and (tmp_path / "out/profiles.png").exists()


def test_the_command_names_what_looks_into_the_runs_and_what_so_many_seeds_can_tell(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(summary.aggregates, "DRAWS", 20)
    folders = workdirs(tmp_path)
    (tmp_path / "recall" / "final").mkdir()  # digits was merged, so its runs are elsewhere
    summary.main([*folders, f"--out={tmp_path / 'out'}"])
    after = [line.strip() for line in capsys.readouterr().out.partition("\nnext ")[2].splitlines()]
    assert after == [
        f"python -m experiments.results --workdir={tmp_path / 'recall' / 'final'}",
        "python -m experiments.benchmark simulate --families=2 --seeds=5",
    ]


def test_scores_are_scaled_from_the_worst_to_the_best_mean_of_a_suite(tmp_path):
    scaled = summary.normalised([scores_module.read(folder) for folder in workdirs(tmp_path)])
    means = {name: [float(task.mean()) for task in tasks] for name, tasks in scaled.items()}
    assert means == {"decoder": pytest.approx([1, 0]), "encoder": pytest.approx([0.5, 1])}  # cnn has 0 in digits


def test_a_suite_in_which_less_is_better_is_turned_around():
    lower = replace(suite.load("density"), families=suite.load("digits").families)
    outcome = scores({"decoder": family(0.4), "encoder": family(0.6)}, rules=lower, suite="density")
    scaled = summary.normalised([outcome])
    assert scaled["decoder"][0].mean() == pytest.approx(1) and scaled["encoder"][0].mean() == pytest.approx(0)


def test_suites_that_share_no_two_families_are_a_mistake():
    one, other = scores({"cnn": family(0.9), "mlp": family(0.8)}), scores({"vit": family(0.9), "mlp": family(0.8)})
    with pytest.raises(UserError, match="the tasks have cnn, mlp; vit, mlp"):
        summary.normalised([one, other])
