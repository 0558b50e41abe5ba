"""Where the metrics of a run go besides `metrics.jsonl`: the field `loggers`, TensorBoard by default.

A logger is a class with two methods (`Logger`) and a line in `LOGGERS`. The services in `training/services.py` are
packages of their own: `pip install -r requirements-loggers.txt`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
import importlib.util
from pathlib import Path
from typing import Any, Protocol
import uuid

from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams

from core import files
from core.errors import UserError

INSTALL = "pip install -r requirements-loggers.txt"


class Logger(Protocol):
    """What receives metrics."""

    def log(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Receives finite metrics of a split at a step."""
        ...

    def close(self, *, complete: bool) -> None:
        """Ends, after the last step of the run or before it."""
        ...


@dataclass(frozen=True)
class LoggedRun:
    """What loggers know of a run.

    Attributes:
      workdir: its folder.
      config: all its fields.
      start_step: the step that it continues from, 0 for none.
      logged: (step, split) of what an earlier process of this run has logged. A run that continues makes those after
        `start_step` again, with the same numbers.
    """

    workdir: Path
    config: Mapping = field(default_factory=dict)
    start_step: int = 0
    logged: frozenset[tuple[int, str]] = frozenset()

    @property
    def name(self) -> str:
        """That of the folder."""
        return self.workdir.resolve().name

    @cached_property
    def identity(self) -> str:
        """A random name that a run keeps when it continues, from `loggers.json` in the workdir."""
        path = self.workdir / "loggers.json"
        if not path.exists():
            files.write_json(path, {"run": uuid.uuid4().hex[:12]})
        return str(files.read_json(path, "run")["run"])

    @cached_property
    def trial(self) -> Mapping[str, Any]:
        """The overrides of the trial of a sweep, from the `trial.json` that a sweep writes; empty for other runs."""
        path = self.workdir / "trial.json"
        return files.read_json(path, "overrides")["overrides"] if path.exists() else {}

    @property
    def sweep(self) -> Path | None:
        """The folder of the sweep whose trial the run is."""
        folder = self.workdir.resolve()
        return folder.parents[1] if (folder / "trial.json").exists() else None


class TensorBoard:
    """Events in `tensorboard/` of the workdir. The overrides of a trial are its hyperparameters."""

    def __init__(self, run: LoggedRun):
        self._run, self._ended = run, None
        events = run.workdir.absolute() / "tensorboard"  # absolute, as tensorboardX takes "gs:..." for a bucket's name
        self._writer = SummaryWriter(str(events), purge_step=run.start_step + 1 if run.start_step else 0)

    def log(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Writes the metrics as "split/name"."""
        if self._run.trial and split != "train" and self._ended is None:  # here, where the names are known
            experiment, start, self._ended = hparams(dict(self._values()), {f"{split}/{name}": 0 for name in metrics})
            assert self._writer.file_writer is not None
            self._writer.file_writer.add_summary(experiment)
            self._writer.file_writer.add_summary(start)
        for name, value in metrics.items():
            self._writer.add_scalar(f"{split}/{name}", value, step)

    def close(self, *, complete: bool) -> None:
        """Writes what is left."""
        if self._ended is not None and complete:
            assert self._writer.file_writer is not None
            self._writer.file_writer.add_summary(self._ended)
        self._writer.flush()
        self._writer.close()

    def _values(self):
        """The hyperparameters as the numbers and texts that TensorBoard takes."""
        for name, value in self._run.trial.items():
            yield name, value if isinstance(value, (bool, int, float, str)) else str(value)


def _service(name: str) -> Callable[[LoggedRun], Logger]:
    def open_service(run: LoggedRun) -> Logger:
        from training import services  # nothing else needs their packages

        return services.open_service(name, run)

    return open_service


LOGGERS: dict[str, Callable[[LoggedRun], Logger]] = {
    "tensorboard": TensorBoard,
    "wandb": _service("wandb"),
    "mlflow": _service("mlflow"),
    "trackio": _service("trackio"),
}


def check_installed(names: Sequence[str]) -> None:
    """Raises UserError if the package of a logger is not installed."""
    for name in names:
        if name != "tensorboard" and importlib.util.find_spec(name) is None:
            raise UserError(f"loggers = {name!r}: the package is not installed: {INSTALL}")
