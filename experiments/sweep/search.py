"""Adaptive search: Optuna says which trial comes next, and which trials are not worth their time.

A sweep file for a search sets, besides CONFIG, METRIC, BETTER and BASE (`experiments.sweep.sweep_file`):

  search(trial)  returns the overrides of an `optuna.Trial`: {"model.width": trial.suggest_categorical(...), ...}
  TRIALS   the number of trials
  SEEDS    runs of each trial, with seeds 0, 1, ..., as one program; its value is their mean. By default a single run
  SAMPLER  an Optuna sampler; by default TPE
  PRUNER   an Optuna pruner, such as ASHA (SuccessiveHalvingPruner) or Hyperband; by default none

The pruner sees METRIC at every evaluation, read from the `metrics.jsonl` that each run writes. The study is stored in
the workdir, in SQLite or in Optuna's journal file. Any number of runners can work on it. A trial that is running
according to the study, but whose folder no process has claimed, was interrupted: the next runner that looks resumes it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
import json
from pathlib import Path
from statistics import mean
import time
from typing import Literal
from urllib.parse import quote

import optuna
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from core.errors import UserError, cut, shown
from experiments.sweep import population
from experiments.sweep import trials as states
from experiments.sweep.progress import Progress
from experiments.sweep.runner import LOOK_AGAIN, Job, request
from experiments.sweep.sweep_file import Sweep, check, refuse_other
from experiments.sweep.trials import Trial, claim_folder, read_trial

MOST_SEEDS = 1000
_ADVICE = "bring the study back as it was, or take another workdir"


class Search:
    """A queue of trials, each chosen in the light of those before; see `experiments.sweep.runner.Queue`.

    Args:
      sweep: a sweep file with `search(trial)`.
      workdir: the folder of the sweep.
      storage: "sqlite", "journal" (for a folder on a network file system), or the URL of a database.

    Attributes:
      total: the number of runs that the search may begin: of its trials, times the seeds of each.

    Raises:
      UserError: the sweep file lacks something, or `search(trial)` suggests something that cannot run.
    """

    def __init__(self, sweep: Sweep, workdir: str | Path, storage: str = "sqlite"):
        self._sweep, self._workdir, self._storage = sweep, Path(workdir), storage
        total = sweep.names.get("TRIALS")
        if not isinstance(total, int) or total < 1:
            raise UserError(f"{sweep.path} does not set TRIALS, the number of trials, such as TRIALS = 30")
        self._seeds = sweep.names.get("SEEDS", 1)
        if not isinstance(self._seeds, int) or not 1 <= self._seeds <= MOST_SEEDS:
            raise UserError(f"{sweep.path}: SEEDS = {self._seeds!r}: expected a whole number from 1 to {MOST_SEEDS}")
        self._trials = total
        self.total: int = total * self._seeds
        kinds = {"SAMPLER": optuna.samplers.BaseSampler, "PRUNER": optuna.pruners.BasePruner}
        for name, kind in kinds.items():
            if name in sweep.names and not isinstance(value := sweep.names[name], kind):
                example = {"SAMPLER": "optuna.samplers.TPESampler()", "PRUNER": "optuna.pruners.MedianPruner()"}[name]
                raise UserError(f"{sweep.path}: {name} = {shown(value)}: expected one of Optuna's, such as {example}")
        sampler = sweep.names.get("SAMPLER")
        if isinstance(sampler, (optuna.samplers.GridSampler, optuna.samplers.BruteForceSampler)):
            raise UserError(f"{sweep.path}: {type(sampler).__name__} is no search: write a sweep() of a product()")
        self._running: dict[Job, optuna.Trial] = {}
        self._seen: set[int] = set()  # numbers of the trials that this runner has had
        self._looked, self._all_asked, self._looked_for_results = 0.0, False, False
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # or it prints a line for each trial
        first = self._trials_of(optuna.create_study().ask(), "first")
        check(first, sweep.metric)
        if len(population.groups([request(trial) for trial in first])) > 1:
            reason = "runs that may stop early (patience) share no program"
            raise UserError(f"{sweep.path}: SEEDS = {self._seeds}: {reason}")

    def open(self) -> None:
        """Opens the study in the workdir, or creates it.

        Raises:
          UserError: the study there is damaged or in the other direction, or `storage` is unknown.
        """
        directions: dict[str, Literal["minimize", "maximize"]] = {"min": "minimize", "max": "maximize"}
        direction, names = directions[self._sweep.better], self._sweep.names
        try:
            self._study = optuna.create_study(
                storage=_storage(self._storage, self._workdir), study_name="sweep", load_if_exists=True,
                direction=direction, sampler=names.get("SAMPLER", optuna.samplers.TPESampler()),
                pruner=names.get("PRUNER", optuna.pruners.NopPruner()),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AssertionError) as error:  # what a damaged journal leads to
            if self._storage != "journal" or isinstance(error, UserError):
                raise
            raise UserError(f"{self._workdir / 'study.journal'} is damaged: {_ADVICE}") from error
        if (stored := self._study.direction.name.lower()) != direction:
            raise UserError(
                f"the study in {self._workdir} has the direction {stored}, but the sweep file now says {direction}: "
                "take another workdir, or set BETTER as it was"
            )

    @contextmanager
    def storing(self) -> Iterator[None]:
        """In a `with` block, what the database of the study raises becomes a UserError that names it."""
        try:
            yield
        except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
            place = self._workdir / "study.db" if self._storage == "sqlite" else self._storage
            reason = str(error.__cause__ or error).splitlines()[0]
            raise UserError(f"{place} is damaged, or cannot be written ({cut(reason, 200)}): {_ADVICE}") from error

    def settled(self) -> int:
        """Returns how many runs of the study have ended."""
        return self._seeds * sum(trial.state.is_finished() for trial in self._study.get_trials(deepcopy=False))

    def take(self) -> Job | None:
        now = time.monotonic()
        if now - self._looked > LOOK_AGAIN:
            self._looked, self._all_asked = now, False
            for frozen in [*self._without_results(), *self._of_other_runners()]:
                if job := self._claim(optuna.Trial(self._study, frozen._trial_id)):
                    return job
        while not self._all_asked:
            if len(self._study.get_trials(deepcopy=False)) >= self._trials:
                self._all_asked = True
                break
            trial = self._study.ask()
            if trial.number >= self._trials:  # another runner asked at the same moment
                self._study.tell(trial, state=TrialState.FAIL)
            elif job := self._claim(trial):
                return job
        return None

    def left(self) -> int:
        return self._seeds * len(self._of_other_runners())

    def watch(self, job: Job) -> str:
        trial = self._running[job]
        frozen = self._study.get_trials(deepcopy=False)[trial.number]
        if frozen.state.is_finished():  # it runs again for its results, see `_without_results`
            return ""
        reported = frozen.intermediate_values
        # NaN is reported too: every pruner ends such a trial.
        curves = [dict(_progress(job, run).values(self._sweep.metric, finite=False)) for run in job.group]
        for step in sorted(set.intersection(*map(set, curves))):
            value = mean(curve[step] for curve in curves)
            if step not in reported:
                trial.report(value, step)
                if trial.should_prune():
                    return f"at step {step:,}, with {self._sweep.metric} {value:.5g}"
        return ""

    def close(self, job: Job, ended: Mapping[Trial, str]) -> None:
        self._tell(self._running.pop(job), job.group)

    def _of_other_runners(self) -> list[FrozenTrial]:
        """Trials that the study calls running and that this runner never had. Their runners may have been killed."""
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [trial for trial in trials if trial.number not in self._seen]

    def _without_results(self) -> list[FrozenTrial]:
        """Trials that have ended according to the study, but whose folder has lost how. Looked for once."""
        if self._looked_for_results:
            return []
        self._looked_for_results = True
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        runs_of = lambda trial: self._trials_of(optuna.Trial(self._study, trial._trial_id), f"{trial.number:04}")
        return [trial for trial in trials if not all(run.settled() for run in runs_of(trial))]

    def _claim(self, suggestion: optuna.Trial) -> Job | None:
        """The job for a suggested trial, or None if another process has it or it has ended.

        If a trial has ended and its runner was killed before it could tell the study, this tells it.
        """
        runs = self._trials_of(suggestion, f"{suggestion.number:04}")
        claims = [claim_folder(run.folder) for run in runs]
        job = Job([run for run in runs if not run.settled()], [claim for claim in claims if claim is not None], runs)
        if None in claims:
            job.release()
            return None
        try:
            for run in runs:
                self._refuse_other(run)
        except UserError:
            job.release()
            raise
        state = self._study.get_trials(deepcopy=False)[suggestion.number].state
        if state == TrialState.PRUNED:
            for run in job.group:
                run.mark(states.PRUNED, "the study says so")
        lost = state == TrialState.COMPLETE and bool(job.group)
        if not lost and (state.is_finished() or self._tell(suggestion, runs)):
            job.release()
            return None
        self._seen.add(suggestion.number)
        self._running[job] = suggestion
        return job

    def _refuse_other(self, trial: Trial) -> None:
        """Raises UserError if the folder of a trial holds one with other fields than the study suggests for it."""
        refuse_other(trial, trial.read_config())
        begun = (trial.folder / "trial.json").exists()
        there = read_trial(trial.folder)["overrides"] if begun else trial.overrides
        if there != json.loads(json.dumps(trial.overrides)):
            raise UserError(
                f"{trial.folder} holds a trial with {there}, but the study suggests {trial.overrides} for it. Was the "
                "study removed, or search(trial) changed? Put it back, or take another workdir"
            )

    def _tell(self, suggestion: optuna.Trial, runs: Sequence[Trial]) -> bool:
        """Tells the study how a trial has ended. Returns whether it has: with its last run, or one that failed."""
        ended = {run.settled() for run in runs}
        if states.FAILED in ended:
            self._study.tell(suggestion, state=TrialState.FAIL, skip_if_finished=True)
        elif states.PRUNED in ended:
            self._study.tell(suggestion, state=TrialState.PRUNED, skip_if_finished=True)
        elif ended == {states.DONE}:
            values = [run.read_summary().get("metrics", {}).get(self._sweep.metric) for run in runs]
            result = (None, TrialState.FAIL) if None in values else (mean(values), None)
            self._study.tell(suggestion, *result, skip_if_finished=True)
        else:
            return False
        return True

    def _trials_of(self, suggestion: optuna.Trial, name: str) -> list[Trial]:
        """The runs of a suggested trial, in folders of this name: one, or one for each seed."""
        overrides = self._sweep.suggested(suggestion)
        if self._seeds == 1:
            return [self._sweep.trial(self._workdir, overrides, name)]
        if "seed" in overrides:
            raise UserError(f"{self._sweep.path}: search(trial) sets the seed, which SEEDS = {self._seeds} does too")
        names = {seed: f"{name},seed={seed}" for seed in range(self._seeds)}
        return [self._sweep.trial(self._workdir, {**overrides, "seed": i}, names[i]) for i in names]


def _progress(job: Job, run: Trial) -> Progress:
    """The progress of a run of a job, also of one that had ended before the job began."""
    if run in job.progress:
        return job.progress[run]
    progress = Progress(run.folder / "metrics.jsonl", steps=0)
    progress.read()
    return progress


def _sqlite_url(path: Path) -> str:
    """The URL of a database file. In a plain path ? would begin the options, and Optuna replaces what is in braces."""
    for_sqlite = f"file:{quote(str(path))}"  # SQLite decodes the path, and SQLAlchemy before it the URL
    return f"sqlite:///{quote(for_sqlite)}?uri=true"


def _storage(kind: str, workdir: Path) -> JournalStorage | RDBStorage | str:
    if kind == "journal":
        return JournalStorage(JournalFileBackend(str(workdir / "study.journal")))
    if kind == "sqlite":
        options = {"connect_args": {"timeout": 60}}  # seconds to wait while another runner writes
        return RDBStorage(_sqlite_url((workdir / "study.db").absolute()), engine_kwargs=options)
    if "://" not in kind:
        raise UserError(f"--storage={kind}: expected sqlite, journal, or the URL of a database")
    return kind
