"""What the trials of a sweep came to, read from their folders."""

from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
import json
import math
import os
from pathlib import Path

from experiments.sweep import trials as states
from experiments.sweep.progress import Progress
from experiments.sweep.trials import Trial, begun


@dataclass(frozen=True)
class Finding:
    """One trial.

    Attributes:
      metrics: the last values, by "split/name".
      curve: (step, value) of the metric that trials are compared by.
      seconds: of training, start and evaluation included once the run has ended.
      reason: the last line of why it failed or was pruned.
    """

    name: str
    state: str
    overrides: dict
    metrics: dict[str, float] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)
    step: int = 0
    seconds: float = 0.0
    reason: str = ""
    labels: Mapping = field(default_factory=dict)

    def best(self, better: str) -> float | None:
        """The best value of the curve."""
        values = [value for _, value in self.curve]
        return (min if better == "min" else max)(values) if values else None


def read_sweep(workdir: str | Path) -> dict:
    """`sweep.json`: file, metric, better and trials. Raises FileNotFoundError where the workdir holds no sweep."""
    path = Path(workdir) / "sweep.json"
    if not path.exists():
        raise FileNotFoundError(f"{workdir} is not the workdir of a sweep: it has no sweep.json")
    return json.loads(path.read_text())


def find(workdir: str | Path, metric: str) -> list[Finding]:
    """All trials: those that the sweep file names in its order, then what a search or an earlier file began."""
    named = read_sweep(workdir)["trials"]
    known = {trial.name: trial for trial in begun(workdir)}
    return [
        _finding(known[name], metric) if name in known else Finding(name, states.WAITING, named[name])
        for name in dict.fromkeys([*named, *known])
    ]


def swept(findings: Iterable[Finding]) -> list[str]:
    """The fields that differ between trials."""
    overrides = [finding.overrides for finding in findings]
    names = dict.fromkeys(name for some in overrides for name in some)
    return [name for name in names if len({json.dumps(some.get(name)) for some in overrides}) > 1]


def over_seeds(findings: Iterable[Finding], metric: str) -> list[tuple[dict, list[float]]]:
    """What is set but for the seed, with the values of the metric: of complete trials, one for each seed."""
    groups: dict[str, tuple[dict, list[float]]] = {}
    for finding in findings:
        value = finding.metrics.get(metric)
        if finding.state == states.DONE and value is not None and math.isfinite(value):
            rest = {name: given for name, given in finding.overrides.items() if name != "seed"}
            groups.setdefault(json.dumps(rest, sort_keys=True), (rest, []))[1].append(value)
    return list(groups.values())


@contextmanager
def whole(path: Path):
    """Gives a path to write to, which then takes the place of `path`: several runners may end at once."""
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    yield temporary
    temporary.replace(path)


def _finding(trial: Trial, metric: str) -> Finding:
    progress = Progress(trial.folder / "metrics.jsonl", 1)
    progress.read()
    metrics, seconds = {}, 0.0
    for record in progress.records:
        seconds = record["time"]
        values = {name: value for name, value in record.items() if name not in ("step", "split", "time")}
        metrics |= {f"{record['split']}/{name}": value for name, value in values.items() if value is not None}
    state = trial.state()
    if state == states.DONE:
        seconds = json.loads((trial.folder / "summary.json").read_text())["seconds"]
    reason = trial.reason().splitlines()
    return Finding(
        trial.name, state, dict(trial.overrides), metrics, progress.values(metric), progress.step, seconds,
        reason[-1] if state in (states.FAILED, states.PRUNED) and reason else "", trial.labels,
    )  # fmt: skip
