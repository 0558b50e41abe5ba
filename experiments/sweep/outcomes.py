"""The outcomes of a sweep: what has become of each trial so far, read from the folders of the trials.

`progress.py` follows one run while it trains, and `display.py` shows a sweep while it runs. The command
`experiments.results` and the plots (`sweep_plots.py`) show outcomes, at any time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
import json
import math
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import read_json
from experiments.sweep import trials as states
from experiments.sweep.progress import Progress
from experiments.sweep.trials import Trial, begun


@dataclass(frozen=True)
class Outcome:
    """What has become of one trial.

    Attributes:
      name: of the trial.
      state: one of the states in `experiments.sweep.trials`.
      overrides, labels: those of the trial.
      metrics: the last values, by "split/name"; NaN where one was not finite.
      curve: (step, value) of the metric that trials are compared by.
      step: the last step.
      seconds: of training; once the run has ended, with its start and its evaluations.
      reason: the last line of the reason if the trial failed or was pruned, or what its log lacks; else "".
    """

    name: str
    state: str
    overrides: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)
    step: int = 0
    seconds: float = 0.0
    reason: str = ""
    labels: Mapping[str, Any] = field(default_factory=dict)

    def best(self, better: str) -> float | None:
        """Returns the best value of the curve, or None if it is empty. `better` is "min" or "max"."""
        return best_of(self.curve, better)


@dataclass(frozen=True)
class SweepRecord:
    """What `sweep.json` says of a sweep.

    Attributes:
      file: the sweep file.
      metric, better: the metric that trials are compared by, and whether its "min" or "max" is better.
      trials: the overrides of each trial that the sweep file lists, by its name.
    """

    file: str
    metric: str
    better: str
    trials: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, workdir: str | Path) -> "SweepRecord":
        """Returns the record of the sweep in a workdir.

        Raises:
          UserError: the workdir is not that of a sweep.
        """
        content = _sweep_json(workdir, "file", "metric", "better", "trials")
        return cls(content["file"], content["metric"], content["better"], content["trials"])


def read_outcomes(workdir: str | Path, metric: str) -> list[Outcome]:
    """Returns the outcomes of all trials, each with its curve of `metric`.

    The trials in the sweep file come first, in its order; then those that a search or an earlier file has begun.

    Raises:
      UserError: the workdir is not that of a sweep.
    """
    listed = _sweep_json(workdir, "trials")["trials"]
    trials = {trial.name: trial for trial in begun(workdir)}
    return [
        _outcome(trials[name], metric) if name in trials else Outcome(name, states.WAITING, listed[name])
        for name in dict.fromkeys([*listed, *trials])
    ]


def swept_fields(outcomes: Iterable[Outcome]) -> list[str]:
    """Returns the fields that differ between trials, but for the seed."""
    overrides = [outcome.overrides for outcome in outcomes]
    names = dict.fromkeys(name for fields in overrides for name in fields)
    differ = lambda name: len({json.dumps(fields.get(name)) for fields in overrides}) > 1
    return [name for name in names if name != "seed" and differ(name)]


@dataclass(frozen=True)
class Setting:
    """Complete trials that differ in their seeds only.

    Attributes:
      overrides: what they set, but for the seed.
      values: of the metric, one for each seed.
    """

    overrides: Mapping[str, Any]
    values: list[float]


def over_seeds(outcomes: Iterable[Outcome], metric: str) -> list[Setting]:
    """Returns the settings of all complete trials that have a finite value of the metric."""
    settings: dict[str, Setting] = {}
    for outcome in outcomes:
        value = outcome.metrics.get(metric)
        if outcome.state == states.DONE and value is not None and math.isfinite(value):
            overrides = {name: value for name, value in outcome.overrides.items() if name != "seed"}
            key = json.dumps(overrides, sort_keys=True)
            settings.setdefault(key, Setting(overrides, [])).values.append(value)
    return list(settings.values())


def best_of(curve: Iterable[tuple[int, float]], better: str) -> float | None:
    """Returns the best value of (step, value) pairs, or None if there are none. `better` is "min" or "max"."""
    values = [value for _, value in curve]
    return (min if better == "min" else max)(values) if values else None


def _sweep_json(workdir: str | Path, *keys: str) -> dict:
    path = Path(workdir) / "sweep.json"
    if not path.exists():
        raise UserError(f"{workdir} is not the workdir of a sweep: it has no sweep.json")
    return read_json(path, *keys)


def _outcome(trial: Trial, metric: str) -> Outcome:
    progress = Progress(trial.folder / "metrics.jsonl", 1)
    progress.read()
    metrics, seconds = progress.last, progress.seconds
    state, step = trial.state(), progress.step
    reason = trial.reason().splitlines() if state in (states.FAILED, states.PRUNED) else []
    if state == states.DONE:  # the summary is written last and at once, so it is right where the log is incomplete
        summary = trial.read_summary()
        seconds, metrics = summary["seconds"], metrics | summary.get("metrics", {})
        if step != summary["steps"]:
            reason = [f"metrics.jsonl ends at step {step:,} of {summary['steps']:,}: its curve is incomplete"]
        step = summary["steps"]
    metrics = {name: math.nan if value is None else value for name, value in metrics.items()}
    return Outcome(
        trial.name, state, dict(trial.overrides), metrics, progress.values(metric), step, seconds,
        reason[-1] if reason else "", trial.labels,
    )  # fmt: skip
