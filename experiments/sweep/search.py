"""Adaptive search: Optuna says which trial comes next, and which ones are not worth their time.

A sweep file for it sets, besides CONFIG, METRIC, BETTER and BASE (`experiments.sweep.sweep_file`):

  search(trial)  gives the overrides of an `optuna.Trial`: {"model.width": trial.suggest_categorical(...), ...}
  TRIALS   how many
  SAMPLER  an Optuna sampler; by default TPE
  PRUNER   an Optuna pruner, such as ASHA (SuccessiveHalvingPruner) or Hyperband; by default none

The pruner sees METRIC at every evaluation, read from the `metrics.jsonl` that the run writes. The study is in the
workdir, in SQLite or in Optuna's journal file. Any number of runners work on it: a trial that the study calls running,
and that no process holds, was left behind, and is continued by whoever finds it.
"""

import json
import os
from pathlib import Path
import time

import optuna
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from experiments.sweep import trials as states
from experiments.sweep.runner import LOOK_AGAIN, Job
from experiments.sweep.sweep_file import Sweep, check
from experiments.sweep.trials import Trial, claimed

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Search:
    """A queue of trials that follow from those before; see `experiments.sweep.runner.Queue`.

    `storage` is "sqlite", "journal" (for a folder on a network file system), or the URL of a database.

    Raises ValueError where the sweep file lacks something, or search() suggests what could not run.
    """

    def __init__(self, sweep: Sweep, workdir: str | Path, storage: str = "sqlite"):
        self._sweep, self._workdir, self._storage = sweep, Path(workdir), storage
        self.total = sweep.names.get("TRIALS")
        if not isinstance(self.total, int) or self.total < 1:
            raise ValueError(f"{sweep.path} does not set TRIALS, how many trials to make, such as TRIALS = 30")
        sampler = sweep.names.get("SAMPLER")
        if isinstance(sampler, (optuna.samplers.GridSampler, optuna.samplers.BruteForceSampler)):
            raise ValueError(f"{sweep.path}: {type(sampler).__name__} is no search: write a sweep() of a product()")
        self._running: dict[Job, optuna.Trial] = {}
        self._seen: set[int] = set()  # numbers of the trials that this runner has had
        self._looked, self._all_asked = 0.0, False
        check([self._trial(optuna.create_study().ask(), "first")], sweep.metric)

    def open(self) -> None:
        """Opens the study, or begins it."""
        direction = {"min": "minimize", "max": "maximize"}[self._sweep.better]
        names = self._sweep.names
        self._study = optuna.create_study(
            storage=_storage(self._storage, self._workdir), study_name="sweep", load_if_exists=True,
            direction=direction, sampler=names.get("SAMPLER", optuna.samplers.TPESampler()),
            pruner=names.get("PRUNER", optuna.pruners.NopPruner()),
        )  # fmt: skip
        if (known := self._study.direction.name.lower()) != direction:
            raise ValueError(f"the study in {self._workdir} is to {known}, but the sweep file now says {direction}")

    def settled(self) -> int:
        """How many trials the study has done with."""
        return sum(trial.state.is_finished() for trial in self._study.get_trials(deepcopy=False))

    def take(self) -> Job | None:
        now = time.monotonic()
        if now - self._looked > LOOK_AGAIN:
            self._looked, self._all_asked = now, False
            for frozen in self._left_behind():
                if job := self._claimed(optuna.Trial(self._study, frozen._trial_id)):
                    return job
        while not self._all_asked:
            if len(self._study.get_trials(deepcopy=False)) >= self.total:
                self._all_asked = True
                break
            trial = self._study.ask()
            if trial.number >= self.total:  # other runners asked at the same moment
                self._study.tell(trial, state=TrialState.FAIL)
            elif job := self._claimed(trial):
                return job
        return None

    def left(self) -> int:
        return len(self._left_behind())

    def watch(self, job: Job) -> str:
        trial = self._running[job]
        known = self._study.get_trials(deepcopy=False)[trial.number].intermediate_values
        (progress,) = job.progress.values()
        for step, value in progress.values(self._sweep.metric):
            if step not in known:
                trial.report(value, step)
                if trial.should_prune():
                    return f"at step {step:,}, with {self._sweep.metric} {value:.5g}"
        return ""

    def close(self, job: Job, found: dict[Trial, str]) -> None:
        (trial,) = job.trials
        self._tell(self._running.pop(job), trial)

    def _left_behind(self) -> list:
        trials = self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        return [trial for trial in trials if trial.number not in self._seen]

    def _claimed(self, trial: optuna.Trial) -> Job | None:
        """A job for a trial that nobody works on. What ended without the study's knowledge is told it."""
        mine = self._trial(trial, f"{trial.number:04}")
        if (claim := claimed(mine.folder)) is None:
            return None
        ended = self._study.get_trials(deepcopy=False)[trial.number].state.is_finished()
        if ended or self._tell(trial, mine):
            os.close(claim)
            return None
        self._seen.add(trial.number)
        job = Job([mine], [claim])
        self._running[job] = trial
        return job

    def _tell(self, trial: optuna.Trial, mine: Trial) -> bool:
        """Tells the study how a trial ended; whether it has."""
        state = mine.settled()
        if state == states.DONE:
            value = json.loads((mine.folder / "summary.json").read_text())["metrics"].get(self._sweep.metric)
            self._study.tell(trial, value, state=TrialState.FAIL if value is None else None)
        elif state:
            self._study.tell(trial, state=TrialState.PRUNED if state == states.PRUNED else TrialState.FAIL)
        return state is not None

    def _trial(self, trial: optuna.Trial, name: str) -> Trial:
        return self._sweep.trial(self._workdir, self._sweep.suggested(trial), name)


def _storage(kind: str, workdir: Path):
    if kind == "journal":
        return JournalStorage(JournalFileBackend(str(workdir / "study.journal")))
    if kind == "sqlite":
        options = {"connect_args": {"timeout": 60}}  # seconds that a runner waits for another one's write
        return RDBStorage(f"sqlite:///{(workdir / 'study.db').absolute()}", engine_kwargs=options)
    if "://" not in kind:
        raise ValueError(f"--storage={kind}: expected sqlite, journal, or the URL of a database")
    return kind
