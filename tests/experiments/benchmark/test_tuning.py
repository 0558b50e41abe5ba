"""Grids that grow, studies with other validation data, and what is kept of each test example."""

from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from experiments.benchmark import __main__ as benchmark
from experiments.benchmark import predictions
from experiments.benchmark import suite as suites
from experiments.benchmark.phases import WIDEST, Plan, final, tuning, wider
from experiments.benchmark.studies import splits
from experiments.sweep.options import Options

DIGITS = suites.load("digits")
SMALL = replace(DIGITS, rates=(0.001, 0.003, 0.01))


def test_a_grid_grows_where_a_family_is_best_at_its_edge():
    assert wider(SMALL.rates, [0.003], SMALL) == SMALL.rates
    assert wider(SMALL.rates, [0.003, 0.01], SMALL) == (0.001, 0.003, 0.01, 0.03)
    assert wider(SMALL.rates, [0.01, 0.001], SMALL) == (0.0003, 0.001, 0.003, 0.01, 0.03)
    assert wider((0.1,), [0.1], replace(SMALL, rates=(0.1,))) == pytest.approx((0.0333, 0.1, 0.3), abs=1e-3)


def test_a_grid_does_not_grow_for_ever():
    rates = SMALL.rates
    for _ in range(WIDEST + 3):
        rates = wider(rates, [max(rates)], SMALL)
    assert rates == (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)


def test_the_tuning_goes_on_until_no_family_is_best_at_the_edge(tmp_path, monkeypatch):
    """And all families try every rate, as many trials for each."""
    tried: list[int] = []
    monkeypatch.setattr(benchmark, "_train", lambda plan, phase, study, trials, options: tried.append(len(trials)))
    best = lambda rates: {"setting": {"optimizer.learning_rate": min(0.1, max(rates))}, "score": 0.5}
    monkeypatch.setattr(benchmark, "choose", lambda plan, study: {name: best(plan.rates) for name in plan.families})
    plan = Plan("digits", SMALL, tmp_path, ["vit", "mlp"], 3, {}, False)
    plan, chosen = benchmark._tune(plan, options(tmp_path), grow=True)
    assert tried == [2 * 2 * 3, 2 * 2 * 4, 2 * 2 * 5, 2 * 2 * 6] and plan.rates == (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    assert {len(plan.suite.grid(name, plan.rates)) for name in plan.families} == {12}
    again = Plan("digits", SMALL, tmp_path, ["vit", "mlp"], 3, {}, False)
    assert benchmark._tune(again, options(tmp_path), grow=True)[0].rates == plan.rates  # where it was


def options(workdir: Path) -> Options:
    return Options.of(benchmark._parser().parse_args(["digits"]), workdir)


@pytest.mark.parametrize(
    "train, evaluation, second",
    [
        ("train[:80%]", "train[80%:]", ("train[:60%]+train[80%:]", "train[60%:80%]")),
        ("train[:90%]", "train[99%:]", ("train[:89%]+train[99%:]", "train[98%:99%]")),
        ("train", "validation", ("train[:90%]+validation", "train[90%:]")),
    ],
)
def test_a_further_study_validates_on_other_examples(train, evaluation, second):
    assert splits(train, evaluation, 0) == (train, evaluation)
    assert splits(train, evaluation, 1) == second


@pytest.mark.parametrize("name", suites.names())
def test_every_suite_can_be_divided_in_three_ways(name):
    data = suites.load(name).data
    divisions = {splits(data["train"], data["evaluation"], study) for study in range(3)}
    assert len(divisions) == 3


def test_what_cannot_be_divided_is_a_mistake():
    with pytest.raises(UserError, match="--studies: cannot divide 'train.:1000.'"):
        splits("train[:1000]", "train[1000:]", 1)


def test_a_study_has_its_own_seeds_and_splits(tmp_path):
    plan = Plan("digits", DIGITS, tmp_path, ["mlp"], 2, {}, False, studies=2)
    trial = list(tuning(plan, 1).values())[0]
    assert trial["overrides"]["seed"] == 1000 and trial["labels"]["study"] == 1
    assert trial["overrides"]["data.evaluation"] == "train[60%:80%]"
    chosen = {"mlp": {"setting": {"optimizer.learning_rate": 0.01}}}
    assert [trial["overrides"]["seed"] for trial in final(plan, chosen, 1).values()] == [1001, 1002]


def test_contributions_are_values_of_examples_and_their_mean_is_the_score():
    assert predictions.contributions(np.array([1.0, 0, 1]), np.ones(3)).tolist() == [1, 0, 1]
    tokens = predictions.contributions(np.array([6.0, 1.0]), np.array([3.0, 2.0]))
    assert tokens.mean() == pytest.approx(7 / 5)
    assert predictions.decoded(predictions.encoded(np.array([0.25, 1.0]))).tolist() == [0.25, 1.0]


def test_each_example_is_evaluated_alone_and_filling_is_left_out():
    def evaluate(parameters, batch):
        right = (batch["inputs"] == parameters) * batch["weights"]
        return {"accuracy": (right.sum(), batch["weights"].sum())}

    step = predictions.of_each_example(evaluate, "accuracy")
    batches = [{"inputs": jnp.array([7, 5, 7]), "weights": jnp.ones(3)},
               {"inputs": jnp.array([7, 7, 7]), "weights": jnp.array([1.0, 0, 0])}]  # fmt: skip
    metrics, values = predictions.test(step, lambda batch: batch, batches, 7, "accuracy")
    assert metrics == {"accuracy": 0.75} and values is not None and values.tolist() == [1, 0, 1, 1]


def test_a_metric_that_depends_on_the_rest_of_the_batch_is_not_kept():
    def evaluate(parameters, batch):
        deviations = batch["inputs"] - batch["inputs"].mean()
        return {"loss": ((deviations**2).sum(), jnp.float32(len(deviations)))}

    step = predictions.of_each_example(evaluate, "loss")
    batch = {"inputs": jnp.array([1.0, 2.0, 4.0])}
    assert predictions.test(step, lambda batch: batch, [batch], None, "loss")[1] is None
