"""Runs that figures are drawn from: whole runs of `train.py`, kept beside the figures and trained once.

A run's folder is named by its config, the code and the packages, so a figure drawn anew trains nothing, two figures
that want the same run share it, one that was stopped goes on, and a change of code begins anew.
"""

from contextlib import redirect_stdout
from dataclasses import dataclass
import hashlib
import importlib.metadata
import json
from pathlib import Path
import shutil

from filelock import FileLock
from flax import nnx

from experiments.sweep import population
import train
from training.workdir import ROOT

FOLDER = "trained"


@dataclass(frozen=True)
class Trained:
    """A run that came to its end: its model, what it was made from, and its last metrics by "split/name"."""

    model: nnx.Module
    run: train.Run
    metrics: dict[str, float]


class Trainer:
    """Trains, in the folder `trained` of `folder`, what a figure of this seed asks for."""

    def __init__(self, folder: str | Path, seed: int):
        self.folder, self.seed = Path(folder) / FOLDER, seed

    def __call__(self, config: str, overrides: dict[str, dict]) -> dict[str, Trained]:
        """Trains a config file, relative to the root of the project, once for each of the named overrides.

        Overrides are fields by dotted name. Runs that differ in numbers only are trained as one program, see
        `experiments.population`. What a run says goes to a file, `<config>.log`. Raises as `train.run` does, and
        ValueError with the reason where a run failed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        stem, code = Path(config).stem, machinery()[:8]
        trials = {}
        for name, fields in overrides.items():
            trial = {"config": str(ROOT / config), "overrides": {"seed": self.seed} | fields, "workdir": ""}
            whole = json.dumps(population.read(trial).to_dict(), sort_keys=True, default=str)
            identity = hashlib.sha256(whole.encode()).hexdigest()[:8]
            trials[name] = trial | {"workdir": str(self.folder / f"{stem}-{code}-{identity}")}
        with (
            FileLock(self.folder / f"{stem}.lock"),
            (self.folder / f"{stem}.log").open("a") as log,
            redirect_stdout(log),
        ):
            for old in self.folder.glob(f"{stem}-*"):
                if not old.name.startswith(f"{stem}-{code}-"):
                    shutil.rmtree(old)
            different = {trial["workdir"]: trial for trial in trials.values()}  # two names may ask for one run
            for group in population.groups(list(different.values())):
                _train(group)
            return {name: _load(trial["workdir"]) for name, trial in trials.items()}


def machinery() -> str:
    """SHA-256 of all that a run depends on besides its config: the code of the project below `experiments`, packages.

    The sets that come with the project are code and packages too.
    """
    rooms = ("models", "objectives", "data", "training", "configs")
    files = sorted(path for room in rooms for path in (ROOT / room).rglob("*.py")) + [ROOT / "train.py"]
    return digest_of(files, _versions())


def digest_of(files: list[Path], *words: str) -> str:
    """SHA-256 of files, by name and content, and of words."""
    sha = hashlib.sha256(" ".join(words).encode())
    for path in files:
        sha.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return sha.hexdigest()


def _train(group: list) -> None:
    if len(group) == 1:
        train.run(population.read(group[0]), group[0]["workdir"])
        return
    for trial, summary in zip(group, population.run(group)):
        if summary is None:
            reason = (Path(trial["workdir"]) / population.FAILED).read_text().strip()
            raise ValueError(f"the run with {trial['overrides']} failed: {reason}")


def _load(workdir: str) -> Trained:
    model, run = train.load(workdir)
    return Trained(model, run, json.loads((Path(workdir) / "summary.json").read_text())["metrics"])


def _versions() -> str:
    packages = ("jax", "jaxlib", "flax", "numpy", "scipy", "optax", "scikit-learn", "matplotlib")
    return " ".join(f"{package}=={importlib.metadata.version(package)}" for package in packages)
