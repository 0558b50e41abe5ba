"""The engine of the figures: it runs one, draws it, checks what it shows, and tells when it has to be made again.

A figure is a file `experiments/figures/<topic>/<id>.py`. Its docstring is the caption: one line that says what is
shown, then what to know about it, then one line each for "Formula:", "Source:" and "Look at:". The file defines

    run(seed, **switches) -> dict        computes everything, with the project's own models, objectives and data
    check(results) -> list[Criterion]    what must hold of the results
    plot(figure, results)                draws the results into an empty matplotlib figure, see `style`

The switches of `run` break what is claimed (positions put back, a scale left out), so that a test can see `check` fail.

A figure of trained models takes a second argument, `run(seed, train, **switches)`, a `Trainer`. If no config in
`configs/` fits, the figure's file is a config as well: it defines `get_config()`, and CONFIG is its own path. A figure
that needs data sets from disk names them in NEEDS, and also a file of the user's in the project's folder.
"""

from dataclasses import asdict, dataclass
import importlib
import inspect
import math
import os
from pathlib import Path
import signal
import time
import traceback
from types import ModuleType

from core import files, processes, provenance
from core.errors import UserError
from data.identity import file_digest
from data.storage import MissingData, open_official
from experiments.figures.style import draw
from experiments.figures.trained import Trainer
from training.compilation import use_compilation_cache
from training.loop import Interrupted
from training.noise import silence_failed_writes
from training.workdir import environment

FOLDER = Path(__file__).parent
LINES = ("Formula", "Source", "Look at")


@dataclass(frozen=True)
class Criterion:
    """A measured number and the bounds that it has to lie within, bounds included."""

    name: str
    measured: float
    low: float = -math.inf
    high: float = math.inf

    @property
    def passed(self) -> bool:
        """Whether the number lies within the bounds; NaN never does."""
        return self.low <= self.measured <= self.high

    @property
    def expected(self) -> str:
        """The bounds in words."""
        if self.low == -math.inf:
            return f"at most {self.high:g}"
        if self.high == math.inf:
            return f"at least {self.low:g}"
        return f"{self.low:.6g} to {self.high:.6g}"

    def __str__(self) -> str:
        return f"{self.name}: measured {self.measured:.6g}, expected {self.expected}"


def at_most(name: str, measured, bound: float) -> Criterion:
    """Returns the criterion `measured` <= `bound`."""
    return Criterion(name, float(measured), high=bound)


def at_least(name: str, measured, bound: float) -> Criterion:
    """Returns the criterion `measured` >= `bound`."""
    return Criterion(name, float(measured), low=bound)


def near(name: str, measured, value: float, tolerance: float) -> Criterion:
    """Returns the criterion |`measured` - `value`| <= `tolerance`."""
    return Criterion(name, float(measured), float(value - tolerance), float(value + tolerance))


# ---- which figures there are ----------------------------------------------------------------------------------------


def names() -> list[str]:
    """Returns the ids of all figures, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*/[!_]*.py"))


def path_of(name: str) -> Path:
    """Returns the file of a figure."""
    return next(FOLDER.glob(f"*/{name}.py"))


def load(name: str) -> ModuleType:
    """Imports a figure and returns its module."""
    return importlib.import_module(f"experiments.figures.{path_of(name).parent.name}.{name}")


def caption(name: str) -> dict[str, str]:
    """Returns the parts of a figure's docstring: "title", "text", and the three in `LINES`."""
    title, *paragraphs = (load(name).__doc__ or "").strip().split("\n\n")
    marked = {}
    mark = ""
    for line in paragraphs.pop().splitlines():
        if line.startswith(tuple(f"{mark}: " for mark in LINES)):
            mark, line = line.split(": ", 1)
            marked[mark] = line
        else:
            marked[mark] += " " + line.strip()
    return {"title": title, "text": "\n\n".join(paragraphs)} | marked


def missing(name: str) -> str | None:
    """Returns what a figure needs but is not on disk, and how to prepare it; None if nothing is missing."""
    for need in getattr(load(name), "NEEDS", ()):
        if _is_file(need):
            if not (files.ROOT / need).is_file():
                return f"There is no file {files.ROOT / need}. {load(name).CONFIG} says what it holds."
            continue
        try:
            open_official(need)
        except MissingData as error:
            return str(error)
    return None


# ---- making one -----------------------------------------------------------------------------------------------------


def make(name: str, folder: str | Path, seed: int = 0) -> dict:
    """Makes a figure, and returns its record, which is also what `<id>.json` holds.

    Writes `<id>.png` and `<id>.svg`, each once more with `_dark`, and `<id>.json` last, so that a figure that was
    stopped counts as not made. An error in the figure does not keep others from being made: it is part of the record,
    under "error", and a bug also with its "traceback".

    Raises:
      Interrupted: training was asked to stop. It continues when the figure is made again.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.unlink(missing_ok=True)
    identity, start, criteria, error, trace = digest(name, seed), time.monotonic(), [], None, None
    try:
        module = load(name)
        results = results_of(name, folder, seed)
        criteria = module.check(results)
        draw(module.plot, results, folder / name)
    except Interrupted:
        raise
    except UserError as problem:
        error = str(problem)
    except Exception as problem:
        error, trace = f"{type(problem).__name__}: {problem}", traceback.format_exc()
    record = {
        "figure": name,
        "passed": error is None and all(criterion.passed for criterion in criteria),
        "criteria": [asdict(c) | {"expected": c.expected, "passed": c.passed} for c in criteria],
        "error": error,
        "traceback": trace,
        "failures": [str(criterion) for criterion in criteria if not criterion.passed],
        "seed": seed,
        "seconds": round(time.monotonic() - start, 2),
        "digest": identity,
        "environment": environment(),
    }
    files.write_json(path, record)
    return record


def results_of(name: str, folder: str | Path, seed: int, **switches) -> dict:
    """Returns what the `run` of a figure computes. Its models are trained below `folder`."""
    run = load(name).run
    if "train" in inspect.signature(run).parameters:
        return run(seed, Trainer(folder, seed, provenance.closure(*entries(name))), **switches)
    return run(seed, **switches)


# ---- processes ------------------------------------------------------------------------------------------------------


def begin_process() -> None:
    """Prepares a process that makes figures for another one, which also ends it, be it by dying (on Linux)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, _lose_parent)
    processes.signal_when_parent_ends(signal.SIGUSR1)
    silence_failed_writes()
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


# ---- when it has to be made again -----------------------------------------------------------------------------------


def state(name: str, folder: str | Path, seed: int | None = None) -> tuple[str, dict]:
    """Returns the state of a figure, "not made", "out of date", "passed" or "failed", and its record.

    A record of another seed is out of date; without `seed`, that of the record is the right one.
    """
    path = Path(folder) / f"{name}.json"
    if not path.exists():
        return "not made", {}
    try:
        record = files.read_json(path, "digest", "seed", "passed")
    except UserError:  # damaged: the figure can be made again
        return "out of date", {}
    if record["digest"] != digest(name, record["seed"] if seed is None else seed):
        return "out of date", record
    return ("passed" if record["passed"] else "failed"), record


def digest(name: str, seed: int) -> str:
    """Returns a SHA-256 of all that a figure depends on: code, configs, packages, data sets on disk, and the seed."""
    data_sets = (_identity(data_set) for data_set in getattr(load(name), "NEEDS", ()))
    return provenance.digest(entries(name), str(seed), *data_sets)


def entries(name: str) -> list[str]:
    """Returns the files that a figure starts from, relative to the root: its own, and the engine that makes it."""
    return [str(path.relative_to(files.ROOT)) for path in (path_of(name), Path(__file__))]


def _is_file(need: str) -> bool:
    """Whether what a figure needs is a file in the project's folder, not a set of TFDS."""
    return "." in need


def _identity(need: str) -> str:
    """The name, version and sizes of a data set on disk, or the digest of a file."""
    if _is_file(need):
        return f"{need} {file_digest(files.ROOT / need) if (files.ROOT / need).is_file() else 'missing'}"
    try:
        info = open_official(need).info
    except MissingData:
        return f"{need} missing"
    return f"{info.full_name} {sorted((split, part.num_examples) for split, part in info.splits.items())}"
