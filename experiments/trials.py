"""What a sweep file says, and its trials: each one a run of `train.py` in a folder of its own.

A sweep file sets, by plain names:

  CONFIG  the config file that all trials begin with, such as "configs/gpt.py"
  METRIC  what they are compared by, as in summary.json: "validation/loss"
  BETTER  "min" or "max"; by default "min" for a loss, and "max" for anything else
  BASE    fields that all trials set, {"steps": 300}; they are not part of a trial's name
  sweep() gives the overrides of each trial, {"model.width": 64, ...}: see `experiments.space`
  search(trial)  in place of sweep(), for adaptive search: see `experiments.search`

The state of a trial follows from its folder alone, so that nothing is lost whatever is killed: `summary.json` ends a
run, `failed.txt` and `pruned.txt` say why one ended early, and a lock (`.claim`) is held as long as a process works
in it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
import fcntl
import hashlib
import json
import os
from pathlib import Path
import re
import runpy
import sys
import traceback

from ml_collections import ConfigDict
import numpy as np

from train import Run
from training.settings import read_command_line
from training.workdir import config_difference, write_json

DONE, FAILED, PRUNED, RUNNING, STOPPED, WAITING = "done", "failed", "pruned", "running", "stopped", "waiting"


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

    def trials(self, workdir: str | Path) -> list["Trial"]:
        """What `sweep()` gives, in its order. Raises ValueError where that is not a list of overrides."""
        found = _attempt(self.path, lambda: list(self.sweep()))
        if not found:
            raise ValueError("sweep() gave no trial")
        return [self.trial(workdir, overrides) for overrides in found]

    def suggested(self, trial) -> Mapping:
        """What `search(trial)` gives."""
        return _attempt(self.path, lambda: self.search(trial))

    def trial(self, workdir: str | Path, overrides: Mapping, name: str = "") -> "Trial":
        """The folder is called by its overrides, so that a sweep that grows keeps the trials that it has."""
        for given in (self.base, overrides):
            if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
                raise ValueError(f"{self.path}: expected fields and values, {{'model.width': 64}}, not {given!r}")
            if nested := [key for key, value in given.items() if isinstance(value, Mapping)]:
                raise ValueError(f"{self.path}: {nested[0]} is a dict; write its fields as '{nested[0]}.<field>'")
        overrides = {key: value.item() if isinstance(value, np.generic) else value for key, value in overrides.items()}
        return Trial(Path(workdir) / "trials" / (name or _folder_name(overrides)), self.config, self.base, overrides)


@dataclass(frozen=True)
class Trial:
    """A config with some fields set, by `base` and, over that, by `overrides`; and the folder that it runs in."""

    folder: Path
    config: str
    base: Mapping = field(hash=False)
    overrides: Mapping = field(hash=False)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def fields(self) -> dict:
        """All that is set, by `base` or `overrides`."""
        return {**self.base, **self.overrides}

    def flags(self) -> list[str]:
        """What `train.py` is called with."""
        fields = [f"--config.{name}={value}" for name, value in self.fields.items()]
        return [f"--config={self.config}", f"--workdir={self.folder}", *fields]

    def read_config(self) -> dict:
        """The config as `train.py` will read it. Raises ValueError that names the trial and what is wrong."""
        try:
            read = read_command_line(["train.py", *self.flags()]).config
        except ValueError as error:
            raise ValueError(f"trial {self.name}: {error}") from error
        for name, value in self.fields.items():
            if (got := _at(read, name)) != value or isinstance(got, bool) != isinstance(value, bool):
                raise ValueError(f"trial {self.name}: {name} = {value!r} would be read as {got!r}")
        return json.loads(json.dumps(read.to_dict()))

    def settled(self) -> str | None:
        """DONE, FAILED or PRUNED, or None for a trial that is still to be run or continued."""
        if self._complete():
            return DONE
        return next((state for state in (FAILED, PRUNED) if (self.folder / f"{state}.txt").exists()), None)

    def state(self) -> str:
        """DONE, FAILED, PRUNED, RUNNING, STOPPED (begun, and to be continued) or WAITING."""
        if not self.folder.is_dir():
            return WAITING
        if self._complete():
            return DONE
        if (claim := claimed(self.folder)) is None:
            return RUNNING
        os.close(claim)
        return self.settled() or (STOPPED if (self.folder / "config.json").exists() else WAITING)

    def begin(self) -> dict:
        """Writes `trial.json`, from which the folder can be read without the sweep file; gives the config."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.read_config()
        said = {"file": self.config, "base": self.base, "overrides": self.overrides, "config": config}
        write_json(self.folder / "trial.json", said)
        return config

    def mark(self, state: str, reason: str) -> None:
        """Says FAILED or PRUNED and why, in a file of that name."""
        temporary = self.folder / f"{state}.tmp"
        temporary.write_text(reason.rstrip() + "\n")
        temporary.replace(self.folder / f"{state}.txt")

    def reason(self) -> str:
        """What `mark` was told, or nothing."""
        marks = [self.folder / f"{state}.txt" for state in (FAILED, PRUNED)]
        return "".join(mark.read_text() for mark in marks if mark.exists()).strip()

    def forget(self, state: str) -> None:
        """Takes a mark away, so that the trial goes on."""
        (self.folder / f"{state}.txt").unlink(missing_ok=True)

    def _complete(self) -> bool:
        """A run of fewer steps than are asked for now is not complete: `train.py` continues it."""
        try:
            summary = json.loads((self.folder / "summary.json").read_text())
            return summary["steps"] >= json.loads((self.folder / "trial.json").read_text())["config"]["steps"]
        except FileNotFoundError:
            return False


def better_of(metric: str) -> str:
    """ "min" for a loss, "max" for anything else, as `train.py` has it."""
    return "min" if metric.split("/")[-1] == "loss" else "max"


def begun(workdir: str | Path) -> Iterator[Trial]:
    """The trials that have a folder, by their names."""
    for path in sorted(Path(workdir).glob("trials/*/trial.json")):
        said = json.loads(path.read_text())
        yield Trial(path.parent, said["file"], said["base"], said["overrides"])


def claimed(folder: Path) -> int | None:
    """Takes a trial's folder for this process and for those that inherit the descriptor, which is given; else None.

    It is free again when all of them have ended, in whatever way. Creates the folder if needed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".claim", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


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


def tied(command: list[str]) -> list[str]:
    """A command that ends (SIGTERM: a run saves, and stops) when the process that starts it does, where Linux is."""
    return [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *command]


def last_lines(log: Path, count: int = 5) -> str:
    """The end of what a run printed."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 10_000))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join([line.rstrip() for line in lines if line.strip()][-count:])


_EXAMPLES = {"CONFIG": 'CONFIG = "configs/gpt.py"', "METRIC": 'METRIC = "validation/loss"'}

# A signal that a Slurm job gets before its end is for the runner, which stops its trials in order.
_TIED = """
import ctypes, os, signal, sys
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
libc = ctypes.CDLL(None)
if hasattr(libc, "prctl"):
    libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit("the sweep has ended")
os.execv(sys.argv[2], sys.argv[2:])
"""


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


def _at(config: ConfigDict, name: str):
    for part in name.split("."):
        config = config[part]
    return config


def _representatives(trials: list[Trial]) -> list[Trial]:
    """One trial for each combination of values that are not mere numbers, and those with the ends of the numbers."""
    combinations, ends = {}, {}
    for trial in trials:
        numbers = {n: v for n, v in trial.overrides.items() if n == "seed" or isinstance(v, float)}
        rest = [(name, value) for name, value in trial.overrides.items() if name not in numbers]
        combinations.setdefault(repr((sorted(numbers), rest)), trial)
        for name, value in numbers.items():
            low, high = ends.setdefault(name, (trial, trial))
            ends[name] = (
                trial if value < low.overrides[name] else low, trial if value > high.overrides[name] else high
            )  # fmt: skip
    chosen = {t.name: t for t in [*combinations.values(), *(t for pair in ends.values() for t in pair)]}
    return list(chosen.values())
