"""What a sweep file says, and whether its trials can run.

A sweep file sets, by plain names:

  CONFIG  the config file that all trials begin with, such as "configs/gpt.py"
  METRIC  what they are compared by, as in summary.json: "validation/loss"
  BETTER  "min" or "max"; by default "min" for a loss, and "max" for anything else
  BASE    fields that all trials set, {"steps": 300}; they are not part of a trial's name
  sweep() gives the overrides of each trial, {"model.width": 64, ...}: see `experiments.sweep.space`
  search(trial)  in place of sweep(), for adaptive search: see `experiments.sweep.search`
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path
import re
import runpy
import traceback

import numpy as np

from experiments.sweep.trials import Trial
from train import Run
from training.workdir import config_difference


@dataclass(frozen=True)
class Sweep:
    """A sweep file, read. One of `sweep` and `search` is there; `names` are all that the file sets."""

    path: str
    config: str
    base: Mapping
    metric: str
    better: str
    sweep: Callable | None
    search: Callable | None
    names: Mapping

    @classmethod
    def read(cls, path: str | Path) -> "Sweep":
        """Raises FileNotFoundError, and ValueError that says what the file lacks or where it fails."""
        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no sweep file {path}")
        names = _attempt(path, lambda: runpy.run_path(str(path)))
        if lacking := [name for name in ("CONFIG", "METRIC") if not isinstance(names.get(name), str)]:
            raise ValueError(f"{path} does not set {' and '.join(lacking)}, such as {_EXAMPLES[lacking[0]]}")
        if ("sweep" in names) == ("search" in names):
            raise ValueError(f"{path}: expected either sweep() or search(trial)")
        better = names.get("BETTER", better_of(names["METRIC"]))
        if better not in ("min", "max"):
            raise ValueError(f'{path}: BETTER = {better!r}: expected "min" or "max"')
        functions = names.get("sweep"), names.get("search")
        return cls(str(path), names["CONFIG"], names.get("BASE", {}), names["METRIC"], better, *functions, names)

    def trials(self, workdir: str | Path) -> list[Trial]:
        """What `sweep()` gives, in its order. Raises ValueError where that is not a list of overrides."""
        found = _attempt(self.path, lambda: list(self.sweep()))
        if not found:
            raise ValueError("sweep() gave no trial")
        return [self.trial(workdir, overrides) for overrides in found]

    def suggested(self, trial) -> Mapping:
        """What `search(trial)` gives."""
        return _attempt(self.path, lambda: self.search(trial))

    def trial(self, workdir: str | Path, overrides: Mapping, name: str = "") -> Trial:
        """The folder is called by its overrides, so that a sweep that grows keeps the trials that it has."""
        for given in (self.base, overrides):
            if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
                raise ValueError(f"{self.path}: expected fields and values, {{'model.width': 64}}, not {given!r}")
            if nested := [key for key, value in given.items() if isinstance(value, Mapping)]:
                raise ValueError(f"{self.path}: {nested[0]} is a dict; write its fields as '{nested[0]}.<field>'")
        overrides = {key: value.item() if isinstance(value, np.generic) else value for key, value in overrides.items()}
        return Trial(Path(workdir) / "trials" / (name or _folder_name(overrides)), self.config, self.base, overrides)


def check(trials: list[Trial], metric: str) -> None:
    """Refuses, before anything runs, a trial that is there twice, could not start, or was begun with another config.

    Every config is read as its run will read it. Whole models are built only for what can differ in more than a
    number: one for each combination of the other fields, and for the ends of the range of each number.

    Raises ValueError or TypeError that names the trial and the field.
    """
    configs = [trial.read_config() for trial in trials]
    seen: dict[str, Trial] = {}
    for trial, config in zip(trials, configs):
        earlier = seen.setdefault(json.dumps(config, sort_keys=True), trial)
        if earlier is not trial:
            raise ValueError(f"the same trial twice: {earlier.name} and {trial.name}")
    for trial, config in zip(trials, configs):
        path = trial.folder / "trial.json"
        if path.exists() and (trial.folder / "config.json").exists():
            old = json.loads(path.read_text())["config"] | {"steps": config["steps"]}
            if differences := config_difference(old, config):
                raise ValueError(
                    f"{trial.folder} was begun with another config; take another workdir, or set these as they "
                    "were:\n  " + "\n  ".join(differences)
                )
    for trial in _representatives(trials):
        try:
            splits = ("train", Run.of(configs[trials.index(trial)]).dataset.evaluation_name)
        except (ValueError, TypeError, FileNotFoundError) as error:
            raise type(error)(f"trial {trial.name}: {error}") from error
        if metric.split("/")[0] not in splits:
            raise ValueError(f"METRIC = {metric!r}: expected {splits[1]}/<name>, or train/<name>")


def better_of(metric: str) -> str:
    """ "min" for a loss, "max" for anything else, as `train.py` has it."""
    return "min" if metric.split("/")[-1] == "loss" else "max"


_EXAMPLES = {"CONFIG": 'CONFIG = "configs/gpt.py"', "METRIC": 'METRIC = "validation/loss"'}


def _attempt(where: str | Path, work: Callable):
    """A sweep file is code, and may fail in any way."""
    try:
        return work()
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(where)]
        line = f", line {lines[-1]}" if lines else ""
        raise ValueError(f"{where}{line}: {type(error).__name__}: {error}") from error


def _folder_name(overrides: Mapping) -> str:
    """`model.width=64,seed=1`; what a folder cannot be called is shortened and told apart by a hash."""
    words = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in overrides.items()]
    whole = ",".join(words) or "base"
    name = re.sub(r"[^\w.,=+\-]+", "_", whole)
    if name == whole and len(name) <= 200:
        return name
    return f"{name[:190]}~{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def _representatives(trials: list[Trial]) -> list[Trial]:
    """One trial for each combination of values that are not mere numbers, and those with the ends of the numbers."""
    combinations, ends = {}, {}
    for trial in trials:
        numbers = {n: v for n, v in trial.overrides.items() if n == "seed" or isinstance(v, float)}
        rest = [(name, value) for name, value in trial.overrides.items() if name not in numbers]
        combinations.setdefault(repr((trial.config, sorted(numbers), rest)), trial)
        for name, value in numbers.items():
            low, high = ends.setdefault(name, (trial, trial))
            ends[name] = (
                trial if value < low.overrides[name] else low, trial if value > high.overrides[name] else high
            )  # fmt: skip
    chosen = {t.name: t for t in [*combinations.values(), *(t for pair in ends.values() for t in pair)]}
    return list(chosen.values())
