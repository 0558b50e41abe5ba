"""The folder of a run from its opening to its summary: who has it, what is in it already, what is written into it."""

from collections.abc import Callable
from contextlib import ExitStack, closing
import functools
import json
import os
from pathlib import Path

import jax

from training import workdir as workdirs
from training.checkpoints import Checkpoints, digest
from training.fields import Fields
from training.log import Log
from training.loop import Record
from training.state import TrainState


class Account:
    """Takes a workdir for the run of a complete config, until `stack` ends. Every process of the run makes one.

    `checkpoints` are those of the run; `summary` is what `summary.json` holds if the run is complete, else None.

    Raises BlockingIOError where another process has the folder, and ValueError where it holds another run.
    """

    def __init__(self, workdir: str | Path, config: dict, stack: ExitStack):
        self.workdir, self.config, self.fields, self._stack = Path(workdir), config, Fields(**config), stack
        self._main = jax.process_index() == 0
        if self._main:
            stack.callback(os.close, workdirs.lock(self.workdir))
        better = "min" if self.fields.best == "loss" else "max"
        self.checkpoints = Checkpoints(self.workdir / "checkpoints", keep=self.fields.keep, better=better)
        stack.enter_context(closing(self.checkpoints))  # also after an error: a save may be under way
        if earlier := self.checkpoints.about():
            workdirs.refuse_difference(self.workdir, earlier["config"], config, free=["steps"])
        newest, summary = max(self.checkpoints.steps(), default=0), self.workdir / "summary.json"
        complete = newest == self.fields.steps and summary.exists()
        self.summary = json.loads(summary.read_text()) if complete else None

    def record(
        self, about: dict, *, start: int, unit: str, split: str, learning_rate: Callable, shown: bool = True
    ) -> Record:
        """Writes what the folder says of its run, and opens the log at step `start`. See `loop.Record`."""
        steps = self.fields.steps
        if start > steps:
            raise ValueError(f"steps = {steps:,}, but {self.workdir} holds a run of {start:,} already")
        log = Log(self.workdir, steps=steps, unit=unit, start_step=start, enabled=self._main, shown=shown)
        self._stack.enter_context(closing(log))
        if self._main:
            workdirs.write_json(self.workdir / "config.json", self.config)
            workdirs.write_json(self.workdir / "environment.json", _environment())
        return Record(
            start=start, steps=steps, log=log, log_every=self.fields.log_every, split=split,
            learning_rate=learning_rate, checkpoints=self.checkpoints, about=about, best=self.fields.best,
        )  # fmt: skip

    def summarise(self, record: Record, state: TrainState, seconds: float) -> dict:
        """Writes `summary.json`, and gives what it holds. `seconds`: those of this process for the run."""
        about = record.about
        summary = {
            "metrics": about["results"] | record.results,
            "best": {"metric": self.fields.best, "value": about["best"], "step": about["best_step"]},
            "steps": int(state.step),
            "parameters": sum(x.size for x in state.parameters.values()),
            "seconds": round(seconds, 1),
            "state_digest": digest({"parameters": state.parameters, "optimizer": state.optimizer}),
        }
        if self._main:
            workdirs.write_json(self.workdir / "summary.json", summary)
        return summary


_environment = functools.cache(workdirs.environment)  # the same for all runs of a process; asking git takes time
