"""The display of a running sweep: a live table in a terminal, plain lines elsewhere."""

from collections.abc import Mapping, Sequence
from statistics import mean
import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from experiments.sweep import trials as states
from experiments.sweep.outcomes import best_of
from experiments.sweep.progress import Progress, clock
from experiments.sweep.runner import Job
from experiments.sweep.trials import Trial

STYLES = {states.DONE: "green", states.FAILED: "bold red", states.PRUNED: "yellow", states.STOPPED: "yellow"}
RECENT = 8  # trials that have ended, in the live table


class SweepDisplay:
    """Shows the trials of a sweep as they start, train and end. Use it in a `with` block.

    Args:
      metric: what trials are compared by, "split/name".
      better: "min" or "max".
      total: the number of trials.
      before: how many of them had finished earlier.
      jobs: how many processes train at a time.
    """

    def __init__(self, *, metric: str, better: str, total: int, before: int, jobs: int):
        self._metric, self._better = metric, better
        self._total, self._finished, self._jobs = total, before, jobs
        self._seconds: list[float] = []  # that each complete trial took
        self._counts: dict[str, int] = {}
        self._recent: list[tuple[str, str, str, str]] = []
        self._console = Console(highlight=False, markup=False, soft_wrap=True)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None

    def __enter__(self) -> "SweepDisplay":
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.update(self._table([]), refresh=True)
            self._live.stop()

    def started(self, job: Job) -> None:
        """Shows that a job was started."""
        if not self._live:
            for trial in job.trials:
                verb = "continues" if (trial.folder / "checkpoints").exists() else "begins"
                self._say(f"{verb:9} {trial.name}")

    def ended(self, job: Job, ended: Mapping[Trial, str]) -> None:
        """Shows the state that each trial of a job ended in, and why it failed."""
        seconds = time.monotonic() - job.start_time
        for trial, state in ended.items():
            self._finished += state != states.STOPPED
            self._counts[state] = self._counts.get(state, 0) + 1
            if state == states.DONE:
                self._seconds.append(seconds / len(job.trials))
            best = self._best(job.progress[trial])
            self._recent = [*self._recent, (state, trial.name, best, clock(seconds))][-RECENT:]
            if not self._live:
                place = f"{self._finished} of {self._total}, {self._time_left([])} left"
                self._say(f"{state:9} {trial.name}  best {self._metric} {best}  in {clock(seconds)}  ({place})")
            if state == states.FAILED:
                self._say("".join(f"    {line}\n" for line in trial.reason().splitlines()).rstrip())

    def update(self, running: Sequence[Job]) -> None:
        """Shows the progress of the running jobs. The runner calls it about once a second."""
        if self._live:
            self._live.update(self._table(running), refresh=True)

    def _say(self, text: str) -> None:
        self._console.print(text)
        self._console.file.flush()

    def _best(self, progress: Progress) -> str:
        best = best_of(progress.values(self._metric), self._better)
        return "-" if best is None else f"{best:.5g}"

    def _time_left(self, running: Sequence[Job]) -> str:
        if not self._seconds:
            return "-:--"
        share = sum(progress.share for job in running for progress in job.progress.values())
        return clock(mean(self._seconds) * (self._total - self._finished - share) / self._jobs)

    def _table(self, running: Sequence[Job]) -> Group:
        table = Table("state", "trial", "step", f"best {self._metric}", "time", "left", box=None)
        for state, name, best, seconds in self._recent:
            table.add_row(state, name, "", best, seconds, "", style=STYLES[state])
        for job in running:
            for trial, progress in job.progress.items():
                seconds = time.monotonic() - job.start_time
                left = clock(seconds * (1 - progress.share) / progress.share) if progress.share else "-:--"
                step = f"{progress.step:,}/{progress.steps:,}"
                table.add_row(states.RUNNING, trial.name, step, self._best(progress), clock(seconds), left)
        counts = "".join(f"   {count} {state}" for state, count in sorted(self._counts.items()))
        return Group(table, f"{self._finished} of {self._total} finished{counts}   {self._time_left(running)} left")
