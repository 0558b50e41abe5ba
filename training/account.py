"""The folder of a run from its opening to its summary: which process has it, and what is read and written there."""

from collections.abc import Callable
from contextlib import ExitStack, closing
import functools
import os
from pathlib import Path

import jax

from core import files
from core.errors import UserError
from training import workdir as workdirs
from training.checkpoints import Checkpoints
from training.fields import Fields
from training.fingerprints import digest
from training.log import Log
from training.loggers import check_installed
from training.loop import Record
from training.profile import Profile
from training.state import TrainState


class Account:
    """Takes a workdir for the run of a complete config, until `stack` is closed. Every process of the run makes one.

    Args:
      data: what the run's data set is known by, see `data.dataset.Dataset.identity`.
      better: whether the "min" or the "max" of the metric `best` is better.

    Attributes:
      checkpoints: those of the run.
      summary: the content of `summary.json` if the run is complete, else None.

    Raises:
      UserError: another process has the folder, or it holds another run, or a damaged one.
    """

    def __init__(self, workdir: str | Path, config: dict, data: dict, stack: ExitStack, *, better: str):
        self.workdir, self.config, self.fields, self._stack = Path(workdir), config, Fields(**config), stack
        self._data, self._better = data, better
        self._main = jax.process_index() == 0
        if self._main:
            check_installed(self.fields.loggers)
            stack.callback(os.close, workdirs.lock(self.workdir))
        self.checkpoints = Checkpoints(self.workdir / "checkpoints", keep=self.fields.keep, better=better)
        stack.enter_context(closing(self.checkpoints))  # also after an error: a checkpoint may still be being written
        workdirs.refuse_other_run(self.workdir, self.checkpoints.about(), config, data)
        self.summary: dict | None = self._summary_of(self.fields.steps)

    def record(
        self, about: dict, *, start: int, unit: str, split: str, learning_rate: Callable, display: bool = True,
        peak_seconds: float | None = None, profile: str | None = None,
    ) -> Record:  # fmt: skip
        """Writes what the run is and runs on, opens the log at step `start`, and returns the run's record.

        Args:
          about: what the checkpoint that the run continues from says about itself; see `loop.Record`.
          unit, display, peak_seconds: see `log.Log`.
          profile: the steps to trace, "first:last", see `training.profile`.
          split, learning_rate: see `loop.Record`.

        Raises:
          UserError: the run is already beyond its number of steps.
        """
        steps = self.fields.steps
        if start > steps:
            raise UserError(f"steps = {steps:,}, but the run in {self.workdir} is already at step {start:,}")
        tracer = None
        if profile and self._main:
            tracer = Profile.of(profile, self.workdir / "profile", start=start, steps=steps)
            self._stack.enter_context(closing(tracer))
        log = Log(
            self.workdir, steps=steps, unit=unit, start_step=start, enabled=self._main, display=display,
            loggers=self.fields.loggers, config=self.config, peak_seconds=peak_seconds,
        )  # fmt: skip
        self._stack.enter_context(closing(log))
        if self._main:
            files.write_json(self.workdir / "config.json", self.config)
            files.write_json(self.workdir / "data.json", self._data)
            files.write_json(self.workdir / "environment.json", _environment())
        about |= {"config": self.config, "identity": self._data}
        return Record(
            start=start, steps=steps, log=log, log_every=self.fields.log_every, split=split,
            learning_rate=learning_rate, checkpoints=self.checkpoints, about=about, best=self.fields.best,
            better=self._better, keep_best=self.fields.keep_best, patience=self.fields.patience, profile=tracer,
        )  # fmt: skip

    def summarise(self, record: Record, state: TrainState, seconds: float) -> dict:
        """Writes `summary.json` and returns its content. `seconds` is how long this process took for the run.

        The last checkpoint is read first: a run is complete only if it can be continued. `state` is given up for that,
        so that the devices need not hold it twice.

        Raises:
          CheckpointFailed: the last checkpoint cannot be read.
        """
        about = record.about
        summary = {
            "metrics": about["results"] | record.results,
            "best": {"metric": self.fields.best, "value": about["best"], "step": about["best_step"]},
            "steps": int(state.step),
            "stopped_early": int(state.step) < self.fields.steps,
            "parameters": sum(x.size for x in state.parameters.values()),
            "seconds": round(seconds, 1),
            "state_digest": digest({"parameters": state.parameters, "optimizer": state.optimizer}),
        }
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)
        jax.tree.map(lambda x: x.delete(), state)
        self.checkpoints.verify(summary["steps"], shapes)
        if self._main:
            files.write_json(self.workdir / "summary.json", summary)
        return summary

    def _summary_of(self, step: int) -> dict | None:
        """The content of `summary.json` if both it and the newest checkpoint are of this step, or of an early stop.

        A run that was continued to further steps and then killed leaves a summary of an earlier step.
        """
        path, about = self.workdir / "summary.json", self.checkpoints.about() or {}
        newest = max(self.checkpoints.steps(), default=0)
        step = newest if 0 < self.fields.patience <= about.get("not_better", 0) else step
        if newest != step or not path.exists():
            return None
        summary = files.read_json(path, "metrics", "best", "steps", "parameters", "seconds", "state_digest")
        return summary if summary["steps"] == step else None


_environment = functools.cache(workdirs.environment)  # the same for all runs of a process; calling git takes time
