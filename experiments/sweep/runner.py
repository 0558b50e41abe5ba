"""Runs trials as processes, some at a time, and tells how each ended from its folder.

A job is one process: a run of `train.py`, or a population, which is several trials in one program. The folder of each
trial is claimed (`trials.claimed`) by the runner and by the job's process, until both have let go. So several runners
can work on one sweep, also on several machines that share the folder, and a run that outlives its runner is neither
lost nor started twice.
"""

from collections import deque
from collections.abc import Callable
import glob
import hashlib
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Protocol

from core.files import ROOT, write_json
from core.processes import NotedSignals, with_parent
from experiments.sweep import trials as states
from experiments.sweep.progress import Progress
from experiments.sweep.trials import Trial, claimed, last_lines
from training.memory import SHARE

LOOK_AGAIN = 1.0  # seconds between looks at what changes slowly: progress, trials that other runners hold
# Exit codes of runs that were killed from outside. Such a run is continued by the next sweep, and not called failed.
# Where the system did so for lack of memory, it would do so again, and the run has failed.
KILLED = {code for n in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP) for code in (-n, 128 + n)}


class Job:
    """A process that works on claimed trials; `group` are these, and those of their population that are settled."""

    def __init__(self, trials: list[Trial], claims: list[int], group: list[Trial] = ()):
        self.trials, self.claims, self.group = trials, claims, list(group or trials)
        self.place, self.stopped, self.pruned = 0, False, ""

    def start(self, environment: dict[str, str], command: Callable[[list[Trial]], list[str]]) -> None:
        """Starts the process, with what it prints added to a log, and without the terminal's Ctrl-C."""
        self.progress = {}
        for trial in self.trials:
            self.progress[trial] = Progress(trial.folder / "metrics.jsonl", trial.begin()["steps"])
        self.began, self._starved = time.monotonic(), _starved()
        self.log = _folder(self.group) / "log.txt"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                with_parent(command(self.group)), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=self.claims, start_new_session=True, env=os.environ | environment,
            )  # fmt: skip

    def stop(self, pruned: str = "") -> None:
        """Asks the run to save and end, for good where there is a reason to prune it; `ended` says when it has."""
        if not self.stopped:
            self.stopped, self.pruned = True, pruned
            self.process.terminate()

    def read(self) -> None:
        """Brings `progress`, of each trial, up to date."""
        for progress in self.progress.values():
            progress.read()

    def ended(self) -> bool:
        return self.process.poll() is not None

    def close(self) -> dict[Trial, str]:
        """The state that each trial ended in, with the reason for a failure left in its folder."""
        self.read()
        code = self.process.returncode
        found = {}
        for trial in self.trials:
            state = trial.settled()
            if state is None and self.pruned:
                state = states.PRUNED
                trial.mark(state, self.pruned)
            elif state is None:
                state = states.STOPPED
                if code in (-signal.SIGKILL, 128 + signal.SIGKILL) and _starved() > self._starved:
                    state = states.FAILED
                    trial.mark(state, "killed by the system: out of memory. Try --retry-failed with fewer --jobs.")
                elif not self.stopped and code not in KILLED:
                    ended = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
                    trial.mark(states.FAILED, f"{ended}\n{last_lines(self.log)}")
                    state = states.FAILED
            found[trial] = state
        self.release()
        return found

    def release(self) -> None:
        for claim in self.claims:
            os.close(claim)


class Queue(Protocol):
    """What is to be run: a fixed list here, an adaptive search in `experiments.sweep.search`."""

    def take(self) -> Job | None:
        """The next job, its trials claimed; None if there is none at this moment."""

    def left(self) -> int:
        """How many trials others hold that may still come back."""

    def watch(self, job: Job) -> str:
        """Looks at a running job's progress; a reason to prune it, or nothing."""

    def close(self, job: Job, found: dict[Trial, str]) -> None:
        """Notes how the trials of a job ended."""


class Groups:
    """A queue of a fixed list of groups, each of which is one job."""

    def __init__(self, groups: list[list[Trial]]):
        self._waiting, self._held, self._looked = deque(groups), [], time.monotonic()

    def take(self) -> Job | None:
        now = time.monotonic()
        if now - self._looked > LOOK_AGAIN:
            self._looked = now
            self._waiting.extend(self._held)
            self._held = []
        while self._waiting:
            group = self._waiting.popleft()
            open_ = [trial for trial in group if not trial.settled()]
            claims = [claimed(trial.folder) for trial in open_]
            job = Job(open_, [claim for claim in claims if claim is not None], group)
            if None not in claims and open_ and not any(trial.settled() for trial in open_):
                return job
            job.release()
            if open_:  # another runner has some, or had until now
                self._held.append(group)
        return None

    def left(self) -> int:
        return sum(not trial.settled() for group in [*self._held, *self._waiting] for trial in group)

    def watch(self, job: Job) -> str:
        return ""

    def close(self, job: Job, found: dict[Trial, str]) -> None:
        pass


def run(
    queue: Queue, board, *, places: list[dict[str, str]], command: Callable[[list[Trial]], list[str]], wait: bool = True
) -> dict[Trial, str]:
    """Works until nothing is left; gives the state that each trial that ran here ended in.

    Args:
      board: `experiments.sweep.board.Board`, or what has its methods.
      places: the environment to add for each of the jobs at a time.
      command: what runs the trials of a job.
      wait: also for trials that other runners hold, to take them over where those die.

    Raises Stopped after SIGINT, SIGTERM or SIGUSR2 (which Slurm sends before a job's end), once all runs have saved and
    ended. A second signal kills them.
    """
    running: list[Job] = []
    free = list(range(len(places)))
    found: dict[Trial, str] = {}
    looked = 0.0
    with NotedSignals(signal.SIGINT, signal.SIGTERM, signal.SIGUSR2) as signals:
        while True:
            while free and not signals.number and (job := queue.take()):
                job.place = free.pop(0)
                job.start(places[job.place], command)
                running.append(job)
                board.started(job)
            if not running and (signals.number or not (wait and queue.left())):
                break
            if signals.number:
                for job in running:
                    job.process.kill() if signals.count > 1 else job.stop()
            for job in [job for job in running if job.ended()]:
                running.remove(job)
                free.append(job.place)
                ended = job.close()
                queue.close(job, ended)
                found |= ended
                board.ended(job, ended)
            now = time.monotonic()
            if now - looked > LOOK_AGAIN:
                looked = now
                for job in running:
                    job.read()
                    if why := queue.watch(job):
                        job.stop(pruned=why)
                board.look(running)
            time.sleep(0.02)
    if signals.number:
        raise Stopped(signals.number)
    return found


class Stopped(Exception):
    """The runner was asked to stop, and did. `code` is the exit code that shells expect."""

    def __init__(self, number: int):
        super().__init__("stopped; what was trained is saved. To go on, run the same command again.")
        self.code = 128 + number


def places(jobs: int) -> list[dict[str, str]]:
    """The environment of each of `jobs` processes at a time: one NVIDIA GPU each where there are several jobs.

    A single job has all GPUs, over which a run divides its batches. Where there are fewer GPUs than jobs they are
    shared, and so is their memory; without a GPU, that of the system.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = given.split(",") if given else [str(i) for i in range(len(glob.glob("/dev/nvidia[0-9]*")))]
    if jobs == 1:
        return [{}]
    if not devices:
        return [{SHARE: f"{1 / jobs:.3f}"} for _ in range(jobs)]
    sharing = -(-jobs // len(devices))
    share = {} if sharing == 1 else {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 / sharing:.3f}"}
    return [{"CUDA_VISIBLE_DEVICES": devices[i % len(devices)]} | share for i in range(jobs)]


def command(trials: list[Trial]) -> list[str]:
    """One trial: `train.py`. Several: `experiments.population`, which reads them from a file."""
    if len(trials) == 1:
        return [sys.executable, str(ROOT / "train.py"), *trials[0].flags()]
    path = _folder(trials) / "trials.json"
    write_json(path, {"trials": [request(trial) for trial in trials]})
    return [sys.executable, "-m", "experiments.population", str(path)]


def request(trial: Trial) -> dict:
    """A trial as `experiments.population` reads it."""
    return {"config": trial.config, "overrides": trial.fields, "workdir": str(trial.folder)}


def _starved() -> int:
    """How many processes the system has killed for lack of memory since it runs; 0 where it does not say."""
    try:
        words = Path("/proc/vmstat").read_text().split()
        return int(words[words.index("oom_kill") + 1])
    except (OSError, ValueError):
        return 0


def _folder(trials: list[Trial]) -> Path:
    """Where a job leaves its log: the trial's folder, or one of the group's own."""
    if len(trials) == 1:
        return trials[0].folder
    names = json.dumps([trial.name for trial in trials])
    folder = trials[0].folder.parents[1] / "populations" / hashlib.sha256(names.encode()).hexdigest()[:8]
    folder.mkdir(parents=True, exist_ok=True)
    return folder
