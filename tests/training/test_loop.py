"""What the loop does when, on a step that only counts."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
import math
import signal

import jax.numpy as jnp
import numpy as np
import pytest

from training.loop import Interrupted, NonFinite, Record, Totals, evaluate, fit
from training.state import TrainState


@dataclass
class Notes:
    """Stands for the log and the checkpoints."""

    trained: list = field(default_factory=list)
    evaluated: list = field(default_factory=list)
    saved: list = field(default_factory=list)
    stopped: list = field(default_factory=list)

    def step(self, step):
        pass

    def train(self, step, metrics, amount):
        self.trained.append((step, metrics["loss"], metrics["learning_rate"], amount))

    def evaluation(self, step, split, metrics):
        self.evaluated.append((step, split, metrics["score"]))

    def save(self, step, state, about, metric=None):
        assert int(state.step) == step
        self.saved.append((step, about["data"], metric))

    def steps(self):
        return [step for step, _, _ in self.saved]

    def stop_early(self, step, reason):
        self.stopped.append((step, reason))

    def pause(self):
        return nullcontext()

    def wait(self):
        pass


class Batches(Iterator):
    """Batch n has n tokens that count, of 5."""

    number = 0

    def __next__(self):
        self.number += 1
        return {"weights": np.arange(5) < self.number}

    def get_state(self):
        return self.number


def step(state: TrainState, batch):
    """The loss of step n is n."""
    number, count = state.step + 1.0, batch["weights"].sum()
    metrics = {"loss": (number * count, count), "grad_norm": (jnp.ones(()), jnp.ones(()))}
    return TrainState(state.step + 1, {}, None, None, state.key), metrics


def run(notes: Notes, *, at: int = 0, scores=None, step=step, best="score", about=None, batches=None, **settings):
    scores = iter(scores or [0.0] * 99)
    about = {"best": None, "best_step": None} | (about or {})
    state = TrainState(jnp.int32(at), {}, None, None, jnp.zeros(()))
    settings = {"steps": 4, "log_every": 2, "eval_every": 99, "checkpoint_every": 99} | settings
    record = Record(
        start=at, steps=settings["steps"], log=notes, log_every=settings.pop("log_every"), split="test",
        learning_rate=lambda step: 10 * step, checkpoints=notes, about=about, best=best,
        better="min" if best == "loss" else "max", patience=settings.pop("patience", 0),
        keep_best=bool(settings.pop("keep_best", True)),
    )  # fmt: skip
    evaluate = lambda _: dict.fromkeys(("score", "loss"), next(scores)) if best == "loss" else {"score": next(scores)}
    state = fit(state, batches or Batches(), record, step=step, put=lambda batch: batch, evaluate=evaluate, **settings)
    return state, record.results, record.about


def test_log_and_last_step():
    """Means over the steps since the last line, weighted by their tokens."""
    notes = Notes()
    state, results, _ = run(notes)
    assert int(state.step) == 4
    assert notes.trained == [
        (2, (1 * 1 + 2 * 2) / 3, 10, 10),
        (4, (3 * 3 + 4 * 4) / 7, 30, 10),
    ]
    assert results["train/loss"] == 25 / 7 and results["test/score"] == 0.0


def test_last_step_is_logged_evaluated_and_saved():
    notes = Notes()
    run(notes, steps=3, log_every=2, eval_every=2, checkpoint_every=2, scores=[1.0, 1.0])
    assert [step for step, *_ in notes.trained] == [2, 3]
    assert [step for step, *_ in notes.evaluated] == [2, 3]
    assert [step for step, *_ in notes.saved] == [2, 3]


def test_going_on():
    notes = Notes()
    run(notes, at=2)
    assert [step for step, *_ in notes.trained] == [4]


@pytest.mark.parametrize("best, scores, step", [("score", [1, 3, 2], 2), ("loss", [1, 3, 2], 1)])
def test_best(best, scores, step):
    """An evaluation that is better than those before is saved, with its metric; "loss" is better when low here."""
    notes = Notes()
    _, _, about = run(notes, steps=3, eval_every=1, scores=scores, best=best)
    assert about["best_step"] == step
    assert [(number, data) for number, data, metric in notes.saved if metric is not None] == [
        (number, number) for number in range(1, step + 1)
    ]


def test_the_best_is_noted_but_not_written_where_it_is_not_to_be_kept():
    notes = Notes()
    _, _, about = run(notes, steps=3, eval_every=1, scores=[1, 3, 2], keep_best=False)
    assert (about["best"], about["best_step"]) == (3, 2)
    assert [(number, metric) for number, _, metric in notes.saved] == [(3, None)]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("best", ["score", "loss"])
def test_what_is_not_finite_neither_becomes_nor_stays_the_best(best, bad):
    notes = Notes()
    _, _, about = run(notes, steps=5, eval_every=1, scores=[bad, 2.0, bad, 2.0, bad], best=best)
    assert (about["best"], about["best_step"]) == (2.0, 2)
    assert [metric for _, _, metric in notes.saved if metric is not None] == [2.0]
    _, _, about = run(Notes(), steps=1, scores=[2.0], best=best, about={"best": bad, "best_step": 0})
    assert (about["best"], about["best_step"]) == (2.0, 1)
    _, _, about = run(Notes(), steps=2, eval_every=1, scores=[bad, bad], best=best)
    assert (about["best"], about["best_step"]) == (None, None)


def test_a_continued_run_logs_the_same_means_as_an_uninterrupted_one():
    uninterrupted, begun, rest = Notes(), Notes(), Notes()
    run(uninterrupted, steps=9, log_every=7)
    _, _, about = run(begun, steps=5, log_every=7)  # its end is an additional line
    batches = Batches()
    batches.number = 5
    run(rest, at=5, steps=9, log_every=7, about=about, batches=batches)
    means = lambda notes: [(step, loss) for step, loss, *_ in notes.trained]
    assert means(begun)[:-1] + means(rest) == means(uninterrupted)
    assert [step for step, _ in means(begun)] == [5]


def test_a_run_that_is_asked_for_the_step_it_was_killed_at_is_evaluated_there():
    notes = Notes()
    _, results, _ = run(notes, at=4, scores=[3.0], about={"evaluated": 2})
    assert notes.evaluated == [(4, "test", 3.0)] and results["test/score"] == 3.0
    again = Notes()
    run(again, at=4, about={"evaluated": 4})
    assert again.evaluated == []


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_not_finite(bad):
    def breaks(state, batch):
        state, metrics = step(state, batch)
        return state, metrics | {"loss": (jnp.where(state.step == 3, bad, 1.0), jnp.ones(()))}

    notes = Notes()
    with pytest.raises(NonFinite, match=f"step 3: loss {bad}.*learning rate 20.*last good checkpoint is of step 2"):
        run(notes, step=breaks, checkpoint_every=1)
    assert notes.steps() == [1, 2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop(number):
    def asks(state, batch):
        if state.step == 1:
            signal.raise_signal(number)
        return step(state, batch)

    notes, before = Notes(), signal.getsignal(number)
    with pytest.raises(Interrupted, match="stopped after step 2; saved. To go on, run the same command again.") as stop:
        run(notes, step=asks)
    assert stop.value.code == 128 + number
    assert notes.saved == [(2, 2, None)]
    assert signal.getsignal(number) == before


def test_totals():
    totals = Totals()
    assert totals.add({"loss": (6.0, 3)}, 4) == {"loss": 2.0}
    assert totals.add({"loss": (5.0, 1)}, 7) == {"loss": 5.0}
    assert totals.take() == ({"loss": 11 / 4}, 11)
    totals.add({"loss": (1.0, 1)}, 1)
    assert totals.take() == ({"loss": 1.0}, 1)


def test_evaluation_counts_each_example_once():
    batches = [np.array([1.0, 2.0, 3.0]), np.array([10.0])]
    step = lambda parameters, batch: {"score": (parameters * batch.sum(), len(batch))}
    assert evaluate(step, lambda batch: batch, batches, 2.0) == {"score": 2 * 16 / 4}


def test_a_run_ends_when_as_many_evaluations_as_it_has_patience_were_not_better():
    notes = Notes()
    scores = [3.0, 2.0, 4.0, 4.0, float("nan"), 5.0]
    state, _, about = run(notes, steps=9, eval_every=1, patience=2, scores=scores)
    assert int(state.step) == 5 and about["not_better"] == 2
    assert (about["best"], about["best_step"]) == (4.0, 3)
    assert notes.stopped == [(5, "stops early: 2 evaluations without a better score")]
    assert notes.saved[-1][0] == 5  # that step is saved, though no checkpoint was due
    patient = Notes()
    assert int(run(patient, steps=6, eval_every=1, patience=3, scores=scores)[0].step) == 6
    assert patient.stopped == []


def test_patience_goes_on_counting_after_a_restart_and_is_out_where_it_was():
    before = {"best": 4.0, "best_step": 3, "not_better": 1}
    state, _, _ = run(Notes(), at=4, steps=9, eval_every=1, patience=2, scores=[1.0, 1.0], about=before)
    assert int(state.step) == 5
    notes = Notes()
    state, _, _ = run(notes, at=5, steps=9, eval_every=1, patience=2, about=before | {"not_better": 2})
    assert int(state.step) == 5 and notes.trained == []
