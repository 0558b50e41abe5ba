"""The loop around the compiled step: when metrics are fetched, logged and saved, and how a run ends early."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
import math
import signal
import types
from typing import Any, Protocol

import jax
import numpy as np

from core.errors import Stopped, UserError
from core.metrics import is_better
from training.checkpoints import NonFiniteState
from training.profile import Profile
from training.state import Parameters, TrainState
from training.step import Batch


class NonFinite(UserError):
    """A loss or gradient is NaN or infinite. Nothing of that step is saved."""


class Interrupted(Stopped):
    """The run was asked to stop, finished its step and saved it.

    Attributes:
      step: the last step.
      code: the exit code that shells expect, 128 + the signal's number.
    """

    def __init__(self, step: int, code: int):
        super().__init__(f"stopped after step {step:,}; saved. To go on, run the same command again.", code)
        self.step = step


class RunLog(Protocol):
    """What a record needs of a log: see `training.log.Log`."""

    def step(self, step: int) -> None: ...

    def train(self, step: int, metrics: dict[str, float], amount: float) -> dict[str, float] | None: ...

    def evaluation(self, step: int, split: str, metrics: dict[str, float]) -> None: ...

    def pause(self) -> AbstractContextManager[None]: ...

    def stop_early(self, step: int, reason: str) -> None: ...


class RunCheckpoints(Protocol):
    """What a record needs of checkpoints: see `training.checkpoints.Checkpoints`."""

    def save(self, step: int, state: Any, about: dict, metric: float | None = None) -> None: ...

    def steps(self) -> list[int]: ...

    def wait(self) -> None: ...


class Recorder(Protocol):
    """What `fit` reports to: the record of one run, or of several that share their steps."""

    start: int

    def step(self, number: int) -> None: ...

    def train(self, number: int, metrics: dict, amount: int) -> Any: ...

    def pause(self) -> AbstractContextManager[None]: ...

    def evaluation(self, number: int, means: Any) -> Any: ...

    def evaluated(self, number: int) -> bool: ...

    def out_of_patience(self) -> bool: ...

    def save(self, number: int, state: TrainState, place: Any, *, improved: Any, due: bool) -> None: ...

    def wait(self) -> None: ...


class Batches(Iterator[Batch], Protocol):
    """An iterator over batches that can say where it is."""

    def get_state(self) -> Any: ...


class Record:
    """The record of one run: its log, its checkpoints, and its last metrics by "split/name" (`results`).

    Args:
      start: the step that the run continues from.
      steps: the number of steps of the whole run.
      split: the name of the evaluation split.
      learning_rate: as a function of the step, for the log.
      about: what each checkpoint says about itself. Its "data", "results", "evaluated" (the step of the last
        evaluation), "totals", "best", "best_step" and "not_better" (evaluations since then) are updated here.
      best: the metric whose best value is noted. better: whether its "min" or its "max" is the best.
      keep_best: whether the checkpoint of that value is kept.
      patience: how many evaluations in a row may fail to be the best before the run ends; 0 for any number.
      profile: the steps to trace.
    """

    def __init__(
        self, *, start: int, steps: int, log: RunLog, log_every: int, split: str, learning_rate: Callable,
        checkpoints: RunCheckpoints, about: dict, best: str, better: str, keep_best: bool = True,
        patience: int = 0, profile: Profile | None = None,
    ):  # fmt: skip
        self.start, self.log, self.about = start, log, about
        self.results: dict[str, float] = {}
        self._steps, self._log_every, self._split, self._best = steps, log_every, split, best
        self._learning_rate, self._checkpoints, self._better = learning_rate, checkpoints, better
        self._keep_best, self._patience, self._profile = keep_best, patience, profile
        if profile:
            profile.given(start)
        # The next line of the log averages over the steps since the last line, also those before a restart.
        self._totals = Totals(about.get("totals", {}))

    def step(self, number: int) -> None:
        """Notes that the devices were given this step."""
        self.log.step(number)
        if self._profile:
            self._profile.given(number)

    def train(self, number: int, metrics: Mapping, amount: int) -> dict[str, float] | None:
        """Adds the (sum, count) metrics of a step over `amount` units (examples or tokens).

        Returns the means since the last line of the log if a line is due, else None.

        Raises:
          NonFinite: the loss or the gradient norm is not finite.
        """
        if self._profile:
            self._profile.done(number)
        means = self._totals.add(metrics, amount)
        if not (math.isfinite(means["loss"]) and math.isfinite(means["grad_norm"])):
            raise NonFinite(_non_finite(number, means, self._rate(number), self._checkpoints.steps()))
        if number % self._log_every and number != self._steps:
            return None
        # The last line of a run is an additional one, which a run with more steps does not have.
        means, amount = self._totals.means() if number % self._log_every else self._totals.take()
        means["learning_rate"] = self._rate(number)
        efficiency = self.log.train(number, means, amount) or {}
        self.results |= {f"train/{name}": value for name, value in {**means, **efficiency}.items()}
        return means

    def pause(self) -> AbstractContextManager[None]:
        """Returns a context whose time does not count in the speed."""
        return self.log.pause()

    def evaluation(self, number: int, means: dict[str, float]) -> bool:
        """Notes the metrics of the whole evaluation split. Returns whether they are the best so far, to be kept."""
        self.log.evaluation(number, self._split, means)
        self.results |= {f"{self._split}/{name}": value for name, value in means.items()}
        self.about["evaluated"] = number
        improved = is_better(means[self._best], self.about["best"], self._better)
        if improved:
            self.about |= {"best": means[self._best], "best_step": number}
        self.about["not_better"] = 0 if improved else self.about.get("not_better", 0) + 1
        if self.out_of_patience() and number < self._steps:
            self.log.stop_early(number, f"stops early: {self._patience} evaluations without a better {self._best}")
        return improved and self._keep_best

    def out_of_patience(self) -> bool:
        """Returns whether the last evaluations were not the best, and were as many as there may be."""
        return 0 < self._patience <= self.about.get("not_better", 0)

    def evaluated(self, number: int) -> bool:
        """Returns whether the last evaluation, in this process or before, was at this step."""
        return self.about.get("evaluated") == number

    def save(self, number: int, state: TrainState, place: Any, *, improved: bool, due: bool) -> None:
        """Starts to write a checkpoint if it is `due` or the run improved. `place` is the state of the batches.

        Raises:
          NonFinite: the state is not finite; nothing is written.
        """
        if not (due or improved):
            return
        self.about |= {"data": place, "results": self.about.get("results", {}) | self.results}
        self.about["totals"] = self._totals.sums
        try:
            self._checkpoints.save(number, state, self.about, metric=self.about["best"] if improved else None)
        except NonFiniteState as error:
            raise NonFinite(f"{error} At learning rate {self._rate(number):.3g}. {_ADVICE}") from error

    def wait(self) -> None:
        """Returns when nothing is being written."""
        self._checkpoints.wait()

    def _rate(self, number: int) -> float:
        return float(self._learning_rate(number - 1))


def fit(
    state: TrainState, batches: Batches, record: Recorder, *, step: Callable[[TrainState, Any], tuple[TrainState, Any]],
    put: Callable[[Batch], Any], evaluate: Callable[[Parameters], Any], steps: int, eval_every: int,
    checkpoint_every: int,
) -> TrainState:  # fmt: skip
    """Trains from step `record.start` to `steps`, or until the record is out of patience. Returns the last state.

    The metrics of a step are fetched while the next one runs, so that the device never waits for Python.

    Args:
      batches: their state goes into each checkpoint.
      record: of one run, or of several that share their steps (`training.population.Group`).
      step: the compiled train step; it may donate the state.
      put: places a batch of this process on the devices.
      evaluate: returns the metrics over the whole evaluation split.

    Raises:
      NonFinite: the run diverged.
      Interrupted: SIGTERM or Ctrl-C; the step was finished and saved.
    """
    last_step, pending = record.start, None

    def fetch() -> None:
        nonlocal pending
        if pending is not None:
            (number, metrics, amount), pending = pending, None
            record.train(number, jax.device_get(metrics), amount)

    with _Stop() as stop:
        while last_step < steps and not record.out_of_patience():
            batch = put(next(batches))
            last_step += 1
            with jax.profiler.StepTraceAnnotation("train", step_num=last_step):
                state, metrics = step(state, batch)
            record.step(last_step)
            fetch()
            pending = (last_step, metrics, batch["weights"].size)
            stop_signal = stop.requested(last_step)
            improved = False
            if last_step % eval_every == 0 or last_step == steps:
                fetch()
                with record.pause():
                    means = evaluate(state.evaluated)
                improved = record.evaluation(last_step, means)
            ends = last_step == steps or record.out_of_patience()
            due = bool(stop_signal) or last_step % checkpoint_every == 0 or ends
            if due or improved:
                fetch()
                record.save(last_step, state, batches.get_state(), improved=improved, due=due)
            if stop_signal and not ends:
                record.wait()
                raise Interrupted(last_step, 128 + stop_signal)
    if record.start == steps and not record.evaluated(steps):  # it was to train further when it was killed here
        record.evaluation(steps, evaluate(state.evaluated))
    record.wait()
    return state


class Totals:
    """Adds up (sum, count) metrics, and the amount of data behind them. `sums` is where to begin."""

    def __init__(self, sums: Mapping[str, Any] = types.MappingProxyType({})):
        self._sums: dict[str, Any] = {name: np.asarray(pair, np.float64) for name, pair in sums.items()}
        self._amount = 0

    @property
    def sums(self) -> dict[str, list[float]]:
        """The (sum, count) of each metric since the last call of `take`."""
        return {name: pair.tolist() for name, pair in self._sums.items()}

    def add(self, metrics: Mapping, amount: int = 0) -> dict[str, float]:
        """Adds the metrics of one step, and returns their means."""
        for name, pair in metrics.items():
            self._sums[name] = self._sums.get(name, 0) + np.asarray(pair, np.float64)
        self._amount += amount
        return {name: _mean(pair) for name, pair in metrics.items()}

    def means(self) -> tuple[dict[str, float], int]:
        """Returns the means and the amount since the last call of `take`."""
        return {name: _mean(pair) for name, pair in self._sums.items()}, self._amount

    def take(self) -> tuple[dict[str, float], int]:
        """Returns the means and the amount since the last call, and starts again from zero."""
        means, amount = self.means()
        self._sums, self._amount = {}, 0
        return means, amount


def evaluate(step: Callable, put: Callable, batches: Iterable, parameters: Any) -> dict[str, float]:
    """Returns exact means over all of `batches`, with each example counted once."""
    return means_over(jax.device_get([step(parameters, put(batch)) for batch in batches]))


def means_over(metrics_of_batches: Iterable[Mapping]) -> dict[str, float]:
    """Returns the means of the (sum, count) metrics of several batches."""
    totals = Totals()
    for metrics in metrics_of_batches:
        totals.add(metrics)
    return totals.take()[0]


class _Stop:
    """Notes SIGTERM and SIGINT instead of ending the process in the middle of a step. A second signal ends it."""

    def __enter__(self) -> "_Stop":
        self._signal = 0
        # Where several processes train one model, JAX listens for SIGTERM, so that all stop at the same step.
        watched = (signal.SIGINT,) if jax.process_count() > 1 else (signal.SIGTERM, signal.SIGINT)
        self._before = {number: signal.signal(number, self._note) for number in watched}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, _) -> None:
        signal.signal(number, self._before[number])
        if jax.process_count() > 1:
            signal.raise_signal(signal.SIGTERM)  # one process must not stop alone: the others would wait for it
        else:
            self._signal = number

    def requested(self, step: int) -> int:
        """Returns the signal that asks to stop after `step`, or 0."""
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            if multihost_utils.reached_preemption_sync_point(step):
                return signal.SIGTERM
        return self._signal


def _mean(pair) -> float:
    total, count = pair
    return float(total) / max(float(count), 1e-30)


def _non_finite(step: int, means: dict[str, float], learning_rate: float, saved: list[int]) -> str:
    last = f"the last good checkpoint is of step {max(saved):,}" if saved else "no checkpoint was saved before"
    return (
        f"step {step:,}: loss {means['loss']}, gradient norm {means['grad_norm']}, at learning rate "
        f"{learning_rate:.3g}. Nothing of it was saved; {last}. {_ADVICE}"
    )


_ADVICE = "Try a lower optimizer.learning_rate, a longer optimizer.warmup, or optimizer.clip=1.0, in a new workdir."
