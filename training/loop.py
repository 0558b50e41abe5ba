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


def fit(
    state: TrainState, batches, *, step: Callable, put: Callable, evaluate: Callable[[Parameters], dict],
    learning_rate: Callable, log: Log, split: str, checkpoints: Checkpoints, about: dict, steps: int, log_every: int,
    eval_every: int, checkpoint_every: int, best: str,
) -> tuple[TrainState, dict]:  # fmt: skip
    """Trains to `steps`; gives the last state and the last metrics by "split/name".

    The metrics of a step are fetched while the next one runs, so that the device never waits for Python.

    Args:
      batches: iterator with `get_state()`, the place of which goes into each checkpoint.
      step: compiled `(state, batch) -> (state, metrics)`, which may give the state's memory away.
      put: places a batch of this process on the devices.
      evaluate: metrics over the whole evaluation split, which is called `split`.
      learning_rate: at each step, for the log.
      about: what each checkpoint says of itself, updated here with "data" and "best".
      best: the metric whose best checkpoint is kept; "loss" is best when low, any other when high.

    Raises:
      NonFinite, Interrupted.
    """
    done, results, pending = int(state.step), {}, None
    totals = Totals()
    lower = best == "loss"

    def fetch():
        nonlocal pending
        if pending is None:
            return
        number, metrics, amount = pending
        pending = None
        means = totals.add(jax.device_get(metrics), amount)
        if not (math.isfinite(means["loss"]) and math.isfinite(means["grad_norm"])):
            raise NonFinite(_non_finite(number, means, float(learning_rate(number - 1)), checkpoints.steps()))
        if number % log_every == 0 or number == steps:
            means, amount = totals.take()
            means["learning_rate"] = float(learning_rate(number - 1))
            log.train(number, means, amount)
            results.update({f"train/{name}": value for name, value in means.items()})

    with _Stop() as stop:
        while done < steps:
            batch = put(next(batches))
            state, metrics = step(state, batch)
            done += 1
            log.step(done)
            fetch()
            pending = (done, metrics, batch["weights"].size)
            asked = stop.asked(done)
            save = done % checkpoint_every == 0 or done == steps or asked
            improved = False
            if done % eval_every == 0 or done == steps:
                fetch()
                with log.pause():
                    means = evaluate(state.evaluated)
                log.evaluation(done, split, means)
                results.update({f"{split}/{name}": value for name, value in means.items()})
                value = means[best]
                improved = about["best"] is None or (value < about["best"] if lower else value > about["best"])
                if improved:
                    about["best"], about["best_step"] = value, done
            if save or improved:
                fetch()
                about["data"], about["results"] = batches.get_state(), results
                try:
                    checkpoints.save(done, state, about, metric=about["best"] if improved else None)
                except NonFiniteState as error:
                    rate = float(learning_rate(done - 1))
                    raise NonFinite(f"{error} At learning rate {rate:.3g}. {_ADVICE}") from error
            if asked and done < steps:
                checkpoints.wait()
                raise Interrupted(done, 128 + asked)
    checkpoints.wait()
    return state, results


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
    totals = Totals()
    for metrics in jax.device_get([step(parameters, put(batch)) for batch in batches]):
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
