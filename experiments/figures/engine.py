"""One figure of a lecture: a run, a plot of it, and the numbers that it must show.

A figure is a file `experiments/figures/<id>.py`. Its docstring says in one line what is shown, then what to know, and
has one line each for "Formula:", "Source:" and "Look at:". It defines

  run(seed, **switches) -> dict   computes everything, with the project's own models, objectives and data
  check(found) -> [Criterion]     what must hold of it
  plot(figure, found)             draws it into an empty matplotlib figure, see `experiments.figures.style`

The switches of `run` break what is claimed (positions put back, a scale left out), so that a test sees `check` fail.

A figure of trained models takes a second argument, `run(seed, train, **switches)`, a `Trainer` of
`experiments/figures/trained.py`. Where no config in `configs/` fits, its file is a config too: it defines
`get_config()`, and is given to `train` as CONFIG. A figure of sets that are only on disk names them in NEEDS.
"""

import ctypes
from dataclasses import asdict, dataclass
import importlib
import inspect
import json
import math
import os
from pathlib import Path
import signal
import time

from data.storage import MissingData, open_official
from experiments.figures.style import draw
from experiments.figures.trained import Trainer, digest_of, machinery
from training.compilation import use_compilation_cache
from training.loop import Interrupted
from training.workdir import environment, write_json

FOLDER = Path(__file__).parent
LINES = ("Formula", "Source", "Look at")


@dataclass(frozen=True)
class Criterion:
    """A number that was measured, and where it must lie, bounds included."""

    name: str
    measured: float
    low: float = -math.inf
    high: float = math.inf

    @property
    def passed(self) -> bool:
        return self.low <= self.measured <= self.high

    @property
    def expected(self) -> str:
        if self.low == -math.inf:
            return f"at most {self.high:g}"
        if self.high == math.inf:
            return f"at least {self.low:g}"
        return f"{self.low:.6g} to {self.high:.6g}"

    def __str__(self) -> str:
        return f"{self.name}: measured {self.measured:.6g}, expected {self.expected}"


def at_most(name: str, measured, bound: float) -> Criterion:
    return Criterion(name, float(measured), high=bound)


def at_least(name: str, measured, bound: float) -> Criterion:
    return Criterion(name, float(measured), low=bound)


def near(name: str, measured, value: float, tolerance: float) -> Criterion:
    """`value` +- `tolerance`."""
    return Criterion(name, float(measured), float(value - tolerance), float(value + tolerance))


def names() -> list[str]:
    """The ids of all figures."""
    return sorted(path.stem for path in FOLDER.glob("*/[!_]*.py"))


def path_of(name: str) -> Path:
    """The file of a figure."""
    return next(FOLDER.glob(f"*/{name}.py"))


def load(name: str):
    """The module of a figure."""
    return importlib.import_module(f"experiments.figures.{path_of(name).parent.name}.{name}")


def caption(name: str) -> dict[str, str]:
    """What the docstring of a figure says: "title", "text", and the lines of `LINES`."""
    title, *rest = load(name).__doc__.strip().split("\n\n")
    marked = {}
    for line in rest.pop().splitlines():
        if line.startswith(tuple(f"{mark}: " for mark in LINES)):
            mark, line = line.split(": ", 1)
            marked[mark] = line
        else:
            marked[mark] += " " + line.strip()
    return {"title": title, "text": "\n\n".join(rest)} | marked


def make(name: str, folder: str | Path, seed: int = 0) -> dict:
    """Makes a figure; gives what `<id>.json` holds. Any error of its own is in there too, under "error".

    Leaves `<id>.png` and `<id>.svg`, both again with `_dark`, and at last `<id>.json`, so that a figure that was
    stopped counts as not made. Raises `Interrupted` where its training was asked to stop; it goes on next time.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / f"{name}.json"
    record.unlink(missing_ok=True)
    identity, began, error, criteria = digest(name, seed), time.monotonic(), None, []
    try:
        module = load(name)
        found = found_by(module, folder, seed)
        criteria = module.check(found)
        draw(module.plot, found, folder / name)
    except Interrupted:
        raise
    except Exception as problem:  # whatever goes wrong in one figure, the others are made
        error = f"{type(problem).__name__}: {problem}"
    about = {
        "figure": name,
        "passed": error is None and all(criterion.passed for criterion in criteria),
        "criteria": [asdict(c) | {"expected": c.expected, "passed": c.passed} for c in criteria],
        "error": error,
        "failures": [str(criterion) for criterion in criteria if not criterion.passed],
        "seed": seed,
        "seconds": round(time.monotonic() - began, 2),
        "digest": identity,
        "environment": environment(),
    }
    write_json(record, about)
    return about


def found_by(module, folder: str | Path, seed: int, **switches) -> dict:
    """What the run of a figure computes, its models trained in `folder`."""
    trains = "train" in inspect.signature(module.run).parameters
    return module.run(seed, *([Trainer(folder, seed)] if trains else []), **switches)


def missing(name: str) -> str | None:
    """Which set a figure needs that is not on disk, and how to prepare it; None where nothing is missing."""
    for needed in getattr(load(name), "NEEDS", ()):
        try:
            open_official(needed)
        except MissingData as error:
            return str(error)
    return None


def begin_process() -> None:
    """Prepares a process that makes figures for another one, which also ends it, be it by dying (on Linux)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, _lose_parent)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(1, signal.SIGUSR1)  # PR_SET_PDEATHSIG
    use_compilation_cache()


def make_in_process(name: str, folder: str | Path, seed: int) -> dict | None:
    """`make` in a process of `begin_process`; None where SIGTERM stopped it. Between figures that signal does nothing.

    A process that died of it would end the pool, which then sends SIGTERM to the others once more: those that train
    would be killed while they save.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return make(name, folder, seed)
    except Interrupted:
        return None
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN:
            os._exit(128 + signal.SIGTERM)


def _interrupt(number, frame):
    raise Interrupted(0, 128 + number)


def _lose_parent(number, frame):
    """SIGTERM, once only: the signal comes with each thread of the parent that dies."""
    signal.signal(number, signal.SIG_IGN)
    if signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:
        os._exit(128 + signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)


def state(name: str, folder: str | Path, seed: int | None = None) -> tuple[str, dict]:
    """ "not made", "out of date", "passed" or "failed", and the record. Without `seed`, that of the record is right."""
    path = Path(folder) / f"{name}.json"
    if not path.exists():
        return "not made", {}
    record = json.loads(path.read_text())
    if record["digest"] != digest(name, record["seed"] if seed is None else seed):
        return "out of date", record
    return ("passed" if record["passed"] else "failed"), record


def digest(name: str, seed: int) -> str:
    """SHA-256 of all that a figure depends on: its file, the code and configs of the project, packages, seed and sets.

    A set on disk counts as its name, version and size; where it is missing, as that.
    """
    own = [Path(__file__), FOLDER / f"{name}.py"]
    own += [Path(__file__).with_name(file) for file in ("slides.py", "trained.py", "population.py")]
    return digest_of(own, str(seed), machinery(), *(_set(needed) for needed in getattr(load(name), "NEEDS", ())))


def _set(name: str) -> str:
    try:
        info = open_official(name).info
    except MissingData:
        return f"{name} missing"
    return f"{info.full_name} {sorted((split, part.num_examples) for split, part in info.splits.items())}"
