"""One figure of a lecture: a run, a plot of it, and the numbers that it must show.

A figure is a file `experiments/figures/<id>.py`. Its docstring says in one line what is shown, then what to know, and
has one line each for "Formula:", "Source:" and "Look at:". It defines

  run(seed, **switches) -> dict   computes everything, with the project's own models, objectives and data
  check(found) -> [Criterion]     what must hold of it
  plot(figure, found)             draws it into an empty matplotlib figure, see `experiments.slides`

The switches of `run` break what is claimed (positions put back, a scale left out), so that a test sees `check` fail.
"""

from dataclasses import asdict, dataclass
import hashlib
import importlib
import importlib.metadata
import json
import math
from pathlib import Path
import signal
import time

from experiments.slides import draw
from training.compilation import use_compilation_cache
from training.workdir import ROOT, environment, write_json

FOLDER = Path(__file__).parent / "figures"
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
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def load(name: str):
    """The module of a figure."""
    return importlib.import_module(f"experiments.figures.{name}")


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
    stopped counts as not made.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / f"{name}.json"
    record.unlink(missing_ok=True)
    identity, began, error, criteria = digest(name, seed), time.monotonic(), None, []
    try:
        module = load(name)
        found = module.run(seed)
        criteria = module.check(found)
        draw(module.plot, found, folder / name)
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


def begin_process() -> None:
    """Prepares a process that makes figures for another one, which also ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    use_compilation_cache()


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
    """SHA-256 of all that a figure depends on: its file, the code and configs of the project, packages and seed.

    The sets that come with the project are code and packages too.
    """
    rooms = ("models", "objectives", "data", "training", "configs")
    files = sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))
    files += [ROOT / "train.py", Path(__file__), Path(__file__).with_name("slides.py"), FOLDER / f"{name}.py"]
    sha = hashlib.sha256(f"{seed} {_versions()}".encode())
    for path in files:
        sha.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return sha.hexdigest()


def _versions() -> str:
    packages = ("jax", "jaxlib", "flax", "numpy", "scipy", "optax", "scikit-learn", "matplotlib")
    return " ".join(f"{package}=={importlib.metadata.version(package)}" for package in packages)
