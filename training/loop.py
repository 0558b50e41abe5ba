"""The loop around the compiled step: what is fetched, logged, evaluated and saved when, and how a run ends early."""

from collections.abc import Callable, Iterable
import math
import signal

import jax
import numpy as np

from training.checkpoints import Checkpoints, NonFiniteState
from training.log import Log
from training.state import Parameters, TrainState


class NonFinite(ArithmeticError):
    """A loss or gradient was not a number; nothing of that step was saved."""


class Interrupted(Exception):
    """The run was asked to stop, finished its step and saved. `code` is the exit code that shells expect."""

    def __init__(self, step: int, code: int):
        super().__init__(f"stopped after step {step:,}")
        self.step, self.code = step, code


class Record:
    """What one run notes and keeps on its way: its log, its checkpoints, its last metrics by "split/name".

    Args:
      start: the step that the run goes on from. steps: of the whole run.
      split: what the evaluation split is called.
      learning_rate: at each step, for the log.
      about: what each checkpoint says of itself, updated here with "data", "results" and "best".
      best: the metric whose best checkpoint is kept; "loss" is best when low, any other when high.
    """

    def __init__(
        self, *, start: int, steps: int, log: Log, log_every: int, split: str, learning_rate: Callable,
        checkpoints: Checkpoints, about: dict, best: str,
    ):  # fmt: skip
        self.start, self.log, self.about, self.results = start, log, about, {}
        self._steps, self._log_every, self._split, self._best = steps, log_every, split, best
        self._learning_rate, self._checkpoints, self._totals = learning_rate, checkpoints, Totals()

    def step(self, number: int) -> None:
        """A step was given to the devices."""
        self.log.step(number)

    def train(self, number: int, metrics: dict, amount: int) -> dict | None:
        """Adds what a step of `amount` units measured; gives the means when they are logged. Raises NonFinite."""
        means = self._totals.add(metrics, amount)
        if not (math.isfinite(means["loss"]) and math.isfinite(means["grad_norm"])):
            raise NonFinite(_non_finite(number, means, self._rate(number), self._checkpoints.steps()))
        if number % self._log_every and number != self._steps:
            return None
        means, amount = self._totals.take()
        means["learning_rate"] = self._rate(number)
        self.log.train(number, means, amount)
        self.results |= {f"train/{name}": value for name, value in means.items()}
        return means

    def pause(self):
        """A block whose time does not count against the speed."""
        return self.log.pause()

    def evaluation(self, number: int, means: dict) -> bool:
        """Notes the metrics of the whole split; whether they are the best so far."""
        self.log.evaluation(number, self._split, means)
        self.results |= {f"{self._split}/{name}": value for name, value in means.items()}
        value, before = means[self._best], self.about["best"]
        improved = before is None or (value < before if self._best == "loss" else value > before)
        if improved:
            self.about |= {"best": value, "best_step": number}
        return improved

    def save(self, number: int, state: TrainState, place, *, improved: bool, due: bool) -> None:
        """Starts to write a checkpoint if it is `due` or the run improved; `place` is that of the batches.

        Raises NonFinite, and nothing is written.
        """
        if not (due or improved):
            return
        self.about |= {"data": place, "results": self.results}
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
    state: TrainState, batches, record: Record, *, step: Callable, put: Callable,
    evaluate: Callable[[Parameters], dict], steps: int, eval_every: int, checkpoint_every: int,
) -> TrainState:  # fmt: skip
    """Trains from `record.start` to `steps`; gives the last state.

    The metrics of a step are fetched while the next one runs, so that the device never waits for Python.

    Args:
      batches: iterator with `get_state()`, the place of which goes into each checkpoint.
      record: of one run, or of several that share their steps (`training.population.Group`).
      step: compiled `(state, batch) -> (state, metrics)`, which may give the state's memory away.
      put: places a batch of this process on the devices.
      evaluate: metrics over the whole evaluation split.

    Raises:
      NonFinite, Interrupted.
    """
    done, pending = record.start, None

    def fetch():
        nonlocal pending
        if pending is not None:
            (number, metrics, amount), pending = pending, None
            record.train(number, jax.device_get(metrics), amount)

    with _Stop() as stop:
        while done < steps:
            batch = put(next(batches))
            state, metrics = step(state, batch)
            done += 1
            record.step(done)
            fetch()
            pending = (done, metrics, batch["weights"].size)
            asked = stop.asked(done)
            improved = False
            if done % eval_every == 0 or done == steps:
                fetch()
                with record.pause():
                    means = evaluate(state.evaluated)
                improved = record.evaluation(done, means)
            due = bool(asked) or done % checkpoint_every == 0 or done == steps
            if due or improved:
                fetch()
                record.save(done, state, batches.get_state(), improved=improved, due=due)
            if asked and done < steps:
                record.wait()
                raise Interrupted(done, 128 + asked)
    record.wait()
    return state


class Totals:
    """Adds up (sum, count) metrics and the amount of data behind them."""

    def __init__(self):
        self._sums: dict[str, np.ndarray] = {}
        self._amount = 0

    def add(self, metrics: dict, amount: int = 0) -> dict[str, float]:
        """Adds one step's metrics and gives its means."""
        for name, pair in metrics.items():
            self._sums[name] = self._sums.get(name, 0) + np.asarray(pair, np.float64)
        self._amount += amount
        return {name: _mean(pair) for name, pair in metrics.items()}

    def take(self) -> tuple[dict[str, float], int]:
        """The means and the amount since the last time."""
        means, amount = {name: _mean(pair) for name, pair in self._sums.items()}, self._amount
        self.__init__()
        return means, amount


def evaluate(step: Callable, put: Callable, batches: Iterable, parameters: Parameters) -> dict[str, float]:
    """Exact means over all of `batches`, each example counted once."""
    return means_over(jax.device_get([step(parameters, put(batch)) for batch in batches]))


def means_over(measured: Iterable[dict]) -> dict[str, float]:
    """The means of the (sum, count) metrics of several batches."""
    totals = Totals()
    for metrics in measured:
        totals.add(metrics)
    return totals.take()[0]


class _Stop:
    """Notes SIGTERM and SIGINT instead of dying in the middle of a step; a second one kills as usual."""

    def __enter__(self):
        self._signal = 0
        # Where several processes train together the runtime listens for SIGTERM, so that all stop at the same step.
        watched = (signal.SIGINT,) if jax.process_count() > 1 else (signal.SIGTERM, signal.SIGINT)
        self._before = {number: signal.signal(number, self._note) for number in watched}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, _):
        signal.signal(number, self._before[number])
        if jax.process_count() > 1:
            signal.raise_signal(signal.SIGTERM)  # one process alone must not stop: the others would wait for it
        else:
            self._signal = number

    def asked(self, step: int) -> int:
        """The signal that asks to stop, or 0."""
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            if multihost_utils.reached_preemption_sync_point(step):
                return signal.SIGTERM
        return self._signal


def _mean(pair) -> float:
    total, count = pair
    return float(total) / max(float(count), 1e-30)


def _non_finite(step: int, means: dict, learning_rate: float, saved: list[int]) -> str:
    last = f"the last good checkpoint is of step {max(saved):,}" if saved else "no checkpoint was saved before"
    return (
        f"step {step:,}: loss {means['loss']}, gradient norm {means['grad_norm']}, at learning rate "
        f"{learning_rate:.3g}. Nothing of it was saved; {last}. {_ADVICE}"
    )


_ADVICE = "Try a lower optimizer.learning_rate, a longer optimizer.warmup, or optimizer.clip=1.0, in a new workdir."
