"""What a sweep file contains, and whether its trials can run.

A sweep file sets, by plain names:

  CONFIG  the config file that all trials start from, such as "configs/gpt.py"
  METRIC  what trials are compared by, as in summary.json: "validation/loss"
  BETTER  "min" or "max"; by default what the objective says of the metric
  BASE    fields that all trials set, {"steps": 300}; they are not part of a trial's name
  sweep() returns the overrides of each trial, {"model.width": 64, ...}: see `experiments.sweep.space`
  search(trial)  instead of sweep(), for adaptive search: see `experiments.sweep.search`
"""

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
import hashlib
import json
import math
from pathlib import Path
import re
import runpy
import traceback
from typing import Any, TypeVar

import numpy as np

from core.errors import UserError, cut, shown
from core.files import find, read_json, refuse_unknown_keys
from experiments.sweep.metrics import better_of, refuse_not_computed
from experiments.sweep.trials import Trial, read_trial
from train import Run
from training.workdir import config_difference, read_config, refuse_other_data

T = TypeVar("T")


@dataclass(frozen=True)
class Sweep:
    """A sweep file.

    Attributes:
      path: the file.
      config, base, metric, better: CONFIG, BASE, METRIC and BETTER of the file.
      sweep, search: the function of that name. One of them is None.
      names: everything that the file sets.
    """

    path: str
    config: str
    base: Mapping[str, Any]
    metric: str
    better: str
    sweep: Callable[[], Any] | None
    search: Callable[[Any], Mapping[str, Any]] | None
    names: Mapping[str, Any]

    @classmethod
    def read(cls, path: str | Path) -> "Sweep":
        """Returns a sweep file.

        Raises:
          UserError: says what the file lacks, or where it fails.
        """
        path = find(str(path))
        if not Path(path).is_file():
            raise UserError(f"there is no sweep file {path}")
        names = _attempt(path, lambda: runpy.run_path(str(path)))
        if missing := [name for name in ("CONFIG", "METRIC") if not isinstance(names.get(name), str)]:
            raise UserError(f"{path} does not set {' and '.join(missing)}, such as {_EXAMPLES[missing[0]]}")
        if ("sweep" in names) == ("search" in names):
            raise UserError(f"{path}: expected either sweep() or search(trial)")
        if not callable(names.get("sweep", names.get("search"))):
            raise UserError(f"{path}: expected a function sweep() or search(trial), not a value of that name")
        _refuse_unread(path, names)
        better = names["BETTER"] if "BETTER" in names else better_of(names["METRIC"], f"{path}: METRIC")
        if better not in ("min", "max"):
            raise UserError(f'{path}: BETTER = {shown(better)}: expected "min" or "max"')
        functions = names.get("sweep"), names.get("search")
        return cls(path, names["CONFIG"], names.get("BASE", {}), names["METRIC"], better, *functions, names)

    def trials(self, workdir: str | Path) -> list[Trial]:
        """Returns the trials of `sweep()`, in its order.

        Raises:
          UserError: `sweep()` fails, or what it returns is not a list of overrides.
        """
        if self.sweep is None:
            raise TypeError(f"{self.path} is a search: it has no list of trials")
        sweep = self.sweep
        returned = _attempt(self.path, sweep)
        if not isinstance(returned, Iterable) or isinstance(returned, (str, bytes, Mapping)):
            raise UserError(
                f"{self.path}: sweep() returned {shown(returned)}: expected a list of fields and values for each "
                "trial, [{'model.width': 64}]"
            )
        overrides_of_trials = _attempt(self.path, lambda: list(returned))
        if not overrides_of_trials:
            raise UserError(f"{self.path}: sweep() returned no trial")
        return [self.trial(workdir, overrides) for overrides in overrides_of_trials]

    def suggested(self, trial: Any) -> Mapping[str, Any]:
        """Returns the overrides that `search(trial)` suggests for an `optuna.Trial`.

        Raises:
          UserError: `search(trial)` fails.
        """
        if self.search is None:
            raise TypeError(f"{self.path} is no search")
        search = self.search
        return _attempt(self.path, lambda: search(trial))

    def trial(self, workdir: str | Path, overrides: Mapping[str, Any], name: str = "") -> Trial:
        """Returns the trial with these overrides.

        Its folder is named after them by default, so that a sweep that grows keeps the trials that it has.

        Raises:
          UserError: they are not a flat mapping from fields to values.
        """
        for fields in (self.base, overrides):
            if not isinstance(fields, Mapping) or not all(isinstance(key, str) for key in fields):
                raise UserError(f"{self.path}: expected fields and values, {{'model.width': 64}}, not {fields!r}")
            if nested := [key for key, value in fields.items() if isinstance(value, Mapping)]:
                raise UserError(f"{self.path}: {nested[0]} is a dict; write its fields as '{nested[0]}.<field>'")
        overrides = {key: value.item() if isinstance(value, np.generic) else value for key, value in overrides.items()}
        for key, value in {**self.base, **overrides}.items():
            if not _is_plain(value):
                raise UserError(
                    f"{self.path}: {cut(key)} = {shown(value)}: expected a finite number, a text, True, False, "
                    "None or a list of these"
                )
        return Trial(Path(workdir) / "trials" / (name or _folder_name(overrides)), self.config, self.base, overrides)


def check(trials: list[Trial], metric: str) -> None:
    """Checks, before anything runs, that no trial is listed twice, and that all can start in their folders.

    Every config is read as its run will read it. Building models takes time, so that is done only for one trial of each
    combination of the fields that are not plain numbers, and for the smallest and the largest value of each number.
    Prints which fields of the config file a trial leaves out because it chooses another data set.

    Raises:
      UserError: names the trial and the field.
    """
    configs = [trial.read_config() for trial in trials]
    for line in dict.fromkeys(trial.left_out() for trial in trials):
        if line:
            print(line, flush=True)
    seen: dict[str, Trial] = {}
    for trial, config in zip(trials, configs):
        earlier = seen.setdefault(json.dumps(config, sort_keys=True), trial)
        if earlier is not trial:
            raise UserError(f"the same trial twice: {earlier.name} and {trial.name}")
    for trial, config in zip(trials, configs):
        refuse_other(trial, config)
    for trial in _representatives(trials):
        try:
            run = Run.of(configs[trials.index(trial)])
            _refuse_other_data(trial.folder.parent, run)
            refuse_not_computed(metric, run)
        except UserError as error:
            raise UserError(f"trial {trial.name}: {error}") from error


def _refuse_other_data(folder: Path, run: Run) -> None:
    """Raises UserError if a run in the folder of a sweep's trials has read the same data when they were others.

    The results of runs on different data do not compare.
    """
    compared = []
    for path in sorted(folder.glob("*/data.json")):
        data = read_json(path)
        if data not in compared and read_config(path.parent)["data"] == run.config["data"]:
            refuse_other_data(path.parent, data, run.dataset.identity)
            compared.append(data)


def refuse_other(trial: Trial, config: Mapping) -> None:
    """Checks that the folder of a trial, if there is one, holds a run with this config and no more steps.

    Raises:
      UserError: names the fields that differ.
    """
    path, summary = trial.folder / "trial.json", trial.folder / "summary.json"
    if not path.exists() or not ((trial.folder / "config.json").exists() or summary.exists()):
        return
    old = read_trial(trial.folder)["config"] | {"steps": config["steps"]}
    if differences := config_difference(old, dict(config)):
        raise UserError(
            f"{trial.folder} was begun with another config; take another workdir, or set these as they "
            "were:\n  " + "\n  ".join(differences)
        )
    if summary.exists() and (steps := trial.read_summary()["steps"]) > config["steps"]:
        raise UserError(
            f"{trial.folder} was trained for {steps:,} steps, and now steps = {config['steps']:,}; take another "
            "workdir, or set steps as they were"
        )


def _refuse_unread(path: str | Path, names: Mapping[str, Any]) -> None:
    """Raises UserError for a name in capitals that neither this module nor the file itself reads."""
    read = {*_NAMES, *(_OF_SEARCHES if "search" in names else ())}
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    assignments = [node for node in tree.body if isinstance(node, (ast.Assign, ast.AnnAssign))]
    stored = [node for assignment in assignments for node in ast.walk(assignment) if isinstance(node, ast.Name)]
    capitals = [node.id for node in stored if isinstance(node.ctx, ast.Store) and node.id.isupper()]
    unread = {name: names.get(name) for name in capitals if name not in used and not name.startswith("_")}
    refuse_unknown_keys(path, unread, read)


_NAMES = ("CONFIG", "METRIC", "BETTER", "BASE")
_OF_SEARCHES = ("TRIALS", "SEEDS", "SAMPLER", "PRUNER")
_EXAMPLES = {"CONFIG": 'CONFIG = "configs/gpt.py"', "METRIC": 'METRIC = "validation/loss"'}


def _is_plain(value: Any) -> bool:
    """Whether a value can stand on a command line and in a JSON file."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (bool, int, str))


def _attempt(path: str | Path, work: Callable[[], T]) -> T:
    """Runs code of a sweep file. It is the user's, so whatever it raises is a user's error.

    Also where it asks Python to exit: the command would end as if its work were done.
    """
    try:
        return work()
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = f", line {lines[-1]}" if lines else ""
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        raise UserError(f"{path}{line}: {kind}{error}") from error


def _folder_name(overrides: Mapping[str, Any]) -> str:
    """`model.width=64,seed=1`. A name that a folder cannot have is changed, and a hash keeps it unique."""
    words = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in overrides.items()]
    text = ",".join(words) or "base"
    name = re.sub(r"[^\w.,=+\-]+", "_", text)
    if name == text and len(name) <= 200:
        return name
    return f"{name[:190]}~{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _representatives(trials: list[Trial]) -> list[Trial]:
    """One trial for each combination of values that are not plain numbers, and for the two ends of each number."""
    combinations: dict[str, Trial] = {}
    ends: dict[str, tuple[Trial, Trial]] = {}
    for trial in trials:
        numbers = {n: v for n, v in trial.overrides.items() if n == "seed" or isinstance(v, float)}
        others = [(name, value) for name, value in trial.overrides.items() if name not in numbers]
        combinations.setdefault(repr((trial.config, sorted(numbers), others)), trial)
        for name, value in numbers.items():
            low, high = ends.setdefault(name, (trial, trial))
            ends[name] = (
                trial if value < low.overrides[name] else low, trial if value > high.overrides[name] else high
            )  # fmt: skip
    chosen = [*combinations.values(), *(trial for pair in ends.values() for trial in pair)]
    return list({trial.name: trial for trial in chosen}.values())
