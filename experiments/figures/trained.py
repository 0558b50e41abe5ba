"""Trains the models that figures are drawn from: runs of `train.py`, kept beside the figures.

A run's folder is named after its config, the code and the packages. So a figure that is drawn again trains nothing, two
figures that need the same run share it, a run that was stopped continues, and a change of the code starts anew.
"""

from collections.abc import Collection
from contextlib import redirect_stdout
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path
import shutil
from typing import Any

from filelock import FileLock

from core import files, provenance
from core.errors import UserError
from experiments.sweep import population
import train

FOLDER = "trained"


@dataclass(frozen=True)
class Trained:
    """A complete run: its model, what the model was built from, its last metrics by "split/name", and its folder."""

    model: Any  # of the class that the config names
    run: train.Run
    metrics: dict[str, float]
    workdir: str


class Trainer:
    """Trains what a figure needs, with the figure's seed.

    Args:
      folder: where the figures go; runs go into its folder `trained`.
      seed: the seed of every run.
      sources: the files that the figure depends on. A config that is not among them is refused: the figure would not
        be made again if that config changed.
    """

    def __init__(self, folder: str | Path, seed: int, sources: Collection[Path]):
        self.folder, self.seed, self.sources = Path(folder) / FOLDER, seed, sources

    def __call__(self, config: str, overrides: dict[str, dict]) -> dict[str, Trained]:
        """Trains a config once for each of the named overrides, and returns the runs by these names.

        Runs that differ in numbers only are trained as one program, see `experiments.sweep.population`. The output of
        the runs goes to `<config>.log`.

        Args:
          config: a config file, by its path from the root of the project.
          overrides: fields by their dotted names, for each run.

        Raises:
          ValueError: the config is not one of the `sources`.
          UserError: a run failed, and why. Others as `train.run`.
        """
        path = files.ROOT / config.split(":")[0]
        if path not in self.sources:
            raise ValueError(
                f"the figure does not depend on {config}: its file, or one that it imports, has to contain the path as "
                'one string, such as CONFIG = "configs/vae.py"'
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        stem, code = path.stem, machinery()[:8]
        trials = {}
        for name, fields in overrides.items():
            # The folder is named by the config, so the config is read before there is one.
            overrides_of_run = {"seed": self.seed} | fields
            trial = {"config": str(files.ROOT / config), "overrides": overrides_of_run, "workdir": str(self.folder)}
            complete = json.dumps(population.read(trial).to_dict(), sort_keys=True, default=str)
            identity = hashlib.sha256(complete.encode()).hexdigest()[:8]
            trials[name] = trial | {"workdir": str(self.folder / f"{stem}-{code}-{identity}")}
        with (
            FileLock(self.folder / f"{stem}.lock"),
            (self.folder / f"{stem}.log").open("a") as log,
            redirect_stdout(log),
        ):
            for old in self.folder.glob(f"{stem}-*"):
                if not old.name.startswith(f"{stem}-{code}-"):
                    shutil.rmtree(old)
            distinct = {trial["workdir"]: trial for trial in trials.values()}  # two names may ask for one run
            for group in population.groups(list(distinct.values())):
                _train(group)
            return {name: _load(trial["workdir"]) for name, trial in trials.items()}


def machinery() -> str:
    """Returns a SHA-256 of all that a run depends on besides its config: everything below `experiments`, and packages.

    The data sets that come with the project are code and packages too.
    """
    return provenance.digest(["train.py"])


def _train(group: list) -> None:
    if len(group) == 1:
        train.run(population.read(group[0]).to_dict(), group[0]["workdir"])
        return
    for trial, summary in zip(group, population.run(group)):
        if summary is None:
            reason = (Path(trial["workdir"]) / population.FAILED).read_text().strip()
            raise UserError(f"the run with {trial['overrides']} failed: {reason}")


def _load(workdir: str) -> Trained:
    model, run = train.load(workdir)
    return Trained(model, run, files.read_json(Path(workdir) / "summary.json", "metrics")["metrics"], workdir)
