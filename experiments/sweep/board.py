"""What a sweep shows while it runs: a live table on a terminal, plain lines elsewhere."""

from statistics import mean
import time

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from experiments.sweep import trials as states
from experiments.sweep.progress import Progress, clock
from experiments.sweep.runner import Job
from experiments.sweep.trials import Trial

STYLES = {states.DONE: "green", states.FAILED: "bold red", states.PRUNED: "yellow", states.STOPPED: "yellow"}


class Board:
    """Shows the trials of a sweep that are compared by `metric` ("split/name"), the `better` of "min" or "max".

    `total` counts all trials; those in `before` were settled earlier.
    """

    def __init__(self, *, metric: str, better: str, total: int, before: int, jobs: int):
        self._metric, self._better = metric, better
        self._total, self._settled, self._jobs = total, before, jobs
        self._seconds: list[float] = []
        self._counts: dict[str, int] = {}
        self._recent: list[tuple] = []
        self._console = Console(highlight=False, markup=False, soft_wrap=True)
        self._live = None
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self):
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_):
        if self._live:
            self._live.update(self._table([]), refresh=True)
            self._live.stop()

    def started(self, job: Job) -> None:
        if not self._live:
            for trial in job.trials:
                again = "continues" if (trial.folder / "checkpoints").exists() else "begins"
                self._say(f"{again:9} {trial.name}")

    def ended(self, job: Job, found: dict[Trial, str]) -> None:
        seconds = time.monotonic() - job.began
        for trial, state in found.items():
            self._settled += state != states.STOPPED
            self._counts[state] = self._counts.get(state, 0) + 1
            if state == states.DONE:
                self._seconds.append(seconds / len(job.trials))
            best = self._best(job.progress[trial])
            self._recent = [*self._recent[-7:], (state, trial.name, best, clock(seconds))]
            if not self._live:
                place = f"{self._settled} of {self._total}, {self._left([])} left"
                self._say(f"{state:9} {trial.name}  best {self._metric} {best}  in {clock(seconds)}  ({place})")
            if state == states.FAILED:
                self._say("".join(f"    {line}\n" for line in trial.reason().splitlines()).rstrip())

    def look(self, running: list[Job]) -> None:
        """Shows the progress of the runs; called about once a second."""
        if self._live:
            self._live.update(self._table(running), refresh=True)

    def _say(self, text: str) -> None:
        self._console.print(text)
        self._console.file.flush()

    def _best(self, progress: Progress) -> str:
        values = [value for _, value in progress.values(self._metric)]
        return f"{(min if self._better == 'min' else max)(values):.5g}" if values else "-"

    def _left(self, running: list[Job]) -> str:
        if not self._seconds:
            return "-:--"
        share = sum(progress.share for job in running for progress in job.progress.values())
        return clock(mean(self._seconds) * (self._total - self._settled - share) / self._jobs)

    def _table(self, running: list[Job]) -> Group:
        table = Table("state", "trial", "step", f"best {self._metric}", "time", "left", box=None)
        for state, name, best, took in self._recent:
            table.add_row(state, name, "", best, took, "", style=STYLES[state])
        for job in running:
            for trial, progress in job.progress.items():
                spent = time.monotonic() - job.began
                left = clock(spent * (1 - progress.share) / progress.share) if progress.share else "-:--"
                step = f"{progress.step:,}/{progress.steps:,}"
                table.add_row(states.RUNNING, trial.name, step, self._best(progress), clock(spent), left)
        counts = "".join(f"   {count} {state}" for state, count in sorted(self._counts.items()))
        return Group(table, f"{self._settled} of {self._total} settled{counts}   {self._left(running)} left")
