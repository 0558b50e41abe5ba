"""The runner: it runs trials as processes, some at a time, and tells from the folder of each how it ended.

A job is one process: a run of `train.py`, or a population, which is several trials in one program. The folder of each
trial is claimed (`trials.claim_folder`) by the runner and by the process, until both have let go of it. So several
runners can work on one sweep, also on several machines that share the folder, and a run that outlives its runner is
neither lost nor started twice.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
import glob
import hashlib
import itertools
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Protocol

from core.errors import Stopped
from core.files import ROOT, write_json
from core.processes import NotedSignals, with_parent
from experiments.sweep import trials as states
from experiments.sweep.progress import Progress
from experiments.sweep.trials import Trial, claim_folder, last_lines
from training.memory import SHARE

LOOK_AGAIN = 1.0  # seconds between looks at what changes slowly: progress, trials that other runners work on
# Exit codes of runs that were killed from outside. Such a run has not failed: the next sweep continues it. But if the
# system killed it for lack of memory, it would do so again, and the run has failed.
KILLED = {code for n in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP) for code in (-n, 128 + n)}


class Job:
    """A process that works on claimed trials.

    Attributes:
      trials: those that are not settled yet. The job owns their claims.
      group: all trials of the population, also those that are settled. They keep their places in the program.
      progress: of each of `trials`.
      start_time: when the process was started, on the clock of `time.monotonic`.
      environment: the number of the environment that the process runs in.
      stopped: whether the process was asked to stop.
      pruned: the reason why, if that is for good.
    """

    def __init__(self, trials: list[Trial], claims: list[int], group: Sequence[Trial] = ()):
        self.trials, self.group, self._claims = trials, list(group or trials), claims
        self.progress: dict[Trial, Progress] = {}
        self.start_time, self.environment, self.stopped, self.pruned = 0.0, 0, False, ""

    def start(self, environment: Mapping[str, str], command: Callable[[list[Trial]], list[str]]) -> None:
        """Starts the process. What it prints is appended to a log; Ctrl-C in the terminal does not reach it.

        Args:
          environment: variables that are added to those of this process.
          command: gives the command that runs the trials of a group.
        """
        for trial in self.trials:
            self.progress[trial] = Progress(trial.folder / "metrics.jsonl", trial.begin()["steps"])
        self.start_time, self._out_of_memory = time.monotonic(), _out_of_memory_kills()
        self.log = _folder(self.group) / "log.txt"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                with_parent(command(self.group)), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=self._claims, start_new_session=True, env={**os.environ, **environment},
            )  # fmt: skip

    def stop(self, pruned: str = "") -> None:
        """Asks the process to save and end; `ended` tells when it has. `pruned` is the reason to stop it for good."""
        if not self.stopped:
            self.stopped, self.pruned = True, pruned
            self.process.terminate()

    def kill(self) -> None:
        """Ends the process without giving it time to save."""
        self.process.kill()

    def read(self) -> None:
        """Updates `progress`."""
        for progress in self.progress.values():
            progress.read()

    def ended(self) -> bool:
        """Returns whether the process has ended."""
        return self.process.poll() is not None

    def close(self) -> dict[Trial, str]:
        """Returns the state that each trial ended in. Writes the reason of a failure to the trial's folder."""
        self.read()
        ended = {trial: trial.settled() or self._state_of_unsettled(trial) for trial in self.trials}
        self.release()
        return ended

    def release(self) -> None:
        """Gives up the claims of this process."""
        for claim in self._claims:
            os.close(claim)

    def _state_of_unsettled(self, trial: Trial) -> str:
        code = self.process.returncode
        if self.pruned:
            trial.mark(states.PRUNED, self.pruned)
            return states.PRUNED
        if code in (-signal.SIGKILL, 128 + signal.SIGKILL) and _out_of_memory_kills() > self._out_of_memory:
            trial.mark(states.FAILED, "killed by the system: out of memory. Try --retry_failed with fewer --jobs.")
            return states.FAILED
        if self.stopped or code in KILLED:
            return states.STOPPED
        end = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        trial.mark(states.FAILED, f"{end}\n{last_lines(self.log)}")
        return states.FAILED


class Queue(Protocol):
    """What there is to run: a fixed list (`Groups`), or an adaptive search (`experiments.sweep.search`)."""

    def take(self) -> Job | None:
        """Returns the next job, its trials claimed, or None if there is none at this moment."""
        ...

    def left(self) -> int:
        """Returns how many trials other runners work on. They come back if those runners are killed."""
        ...

    def watch(self, job: Job) -> str:
        """Looks at the progress of a running job. Returns a reason to prune it, or "" to let it run."""
        ...

    def close(self, job: Job, ended: Mapping[Trial, str]) -> None:
        """Notes the states that the trials of a job ended in."""
        ...


class Groups:
    """A queue with a fixed list of groups of trials. Each group is one job."""

    def __init__(self, groups: Sequence[list[Trial]]):
        self._waiting, self._claimed_elsewhere = deque(groups), []
        self._looked = time.monotonic()

    def take(self) -> Job | None:
        now = time.monotonic()
        if now - self._looked > LOOK_AGAIN:
            self._looked = now
            self._waiting.extend(self._claimed_elsewhere)
            self._claimed_elsewhere = []
        while self._waiting:
            group = self._waiting.popleft()
            unsettled = [trial for trial in group if not trial.settled()]
            claims = [claim_folder(trial.folder) for trial in unsettled]
            job = Job(unsettled, [claim for claim in claims if claim is not None], group)
            if None not in claims and unsettled and not any(trial.settled() for trial in unsettled):
                return job
            job.release()
            if unsettled:  # another runner has one of them, or had it until now
                self._claimed_elsewhere.append(group)
        return None

    def left(self) -> int:
        groups = [*self._claimed_elsewhere, *self._waiting]
        return sum(not trial.settled() for group in groups for trial in group)

    def watch(self, job: Job) -> str:
        return ""

    def close(self, job: Job, ended: Mapping[Trial, str]) -> None:
        pass


class Display(Protocol):
    """What shows the work of a runner: see `experiments.sweep.display.SweepDisplay`."""

    def started(self, job: Job) -> None: ...

    def ended(self, job: Job, ended: Mapping[Trial, str]) -> None: ...

    def update(self, running: Sequence[Job]) -> None: ...


def run(
    queue: Queue, display: Display, *, environments: Sequence[Mapping[str, str]],
    command: Callable[[list[Trial]], list[str]], wait: bool = True,
) -> dict[Trial, str]:  # fmt: skip
    """Works on the trials of a queue until none is left. Returns the state that each trial that ran here ended in.

    Args:
      environments: one for each of the jobs that run at a time: variables to add to those of this process.
      command: gives the command that runs the trials of a job.
      wait: also for trials that other runners work on, to take them over if those runners are killed.

    Raises:
      Stopped: SIGINT, SIGTERM or SIGUSR2 (which Slurm sends shortly before a job's end) came. All processes have saved
        and ended; a second signal kills them.
    """
    running: list[Job] = []
    free = list(range(len(environments)))
    all_ended: dict[Trial, str] = {}
    looked = 0.0
    with NotedSignals(signal.SIGINT, signal.SIGTERM, signal.SIGUSR2) as signals:
        while True:
            while free and not signals.number and (job := queue.take()):
                job.environment = free.pop(0)
                job.start(environments[job.environment], command)
                running.append(job)
                display.started(job)
            if not running and (signals.number or not (wait and queue.left())):
                break
            if signals.number:
                for job in running:
                    job.kill() if signals.count > 1 else job.stop()
            for job in [job for job in running if job.ended()]:
                running.remove(job)
                free.append(job.environment)
                ended = job.close()
                queue.close(job, ended)
                all_ended |= ended
                display.ended(job, ended)
            now = time.monotonic()
            if now - looked > LOOK_AGAIN:
                looked = now
                for job in running:
                    job.read()
                    if not job.stopped and (reason := queue.watch(job)):
                        job.stop(pruned=reason)
                display.update(running)
            time.sleep(0.02)
    if signals.number:
        message = "stopped; what was trained is saved. To go on, run the same command again."
        raise Stopped(message, 128 + signals.number)
    return all_ended


def environments(jobs: int) -> list[dict[str, str]]:
    """Returns the environment of each of `jobs` processes that run at a time.

    A single job has all GPUs, and divides its batches over them. Several jobs have one NVIDIA GPU each. If there are
    fewer GPUs than jobs, jobs share them and their memory; without a GPU they share the system's cores and memory.
    """
    if jobs == 1:
        return [{}]
    devices = _gpus()
    if not devices:
        return [{SHARE: f"{1 / jobs:.3f}"} for _ in range(jobs)]
    jobs_per_device = -(-jobs // len(devices))
    memory = {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 / jobs_per_device:.3f}"} if jobs_per_device > 1 else {}
    return [{"CUDA_VISIBLE_DEVICES": devices[i % len(devices)]} | memory for i in range(jobs)]


def _gpus() -> list[str]:
    """The NVIDIA GPUs that processes may use. An empty CUDA_VISIBLE_DEVICES means none, as it does to CUDA."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return []
    if visible is None:
        return [str(i) for i in range(len(glob.glob("/dev/nvidia[0-9]*")))]
    names = [name.strip() for name in visible.split(",")]
    usable = lambda name: name and not name.startswith("-") and name != "NoDevFiles"
    return list(itertools.takewhile(usable, names))  # CUDA ignores all that follow an invalid one


def command(trials: list[Trial]) -> list[str]:
    """Returns the command that runs trials: `train.py` for one, `experiments.population` and a file for several."""
    if len(trials) == 1:
        return [sys.executable, str(ROOT / "train.py"), *trials[0].flags()]
    path = _folder(trials) / "trials.json"
    write_json(path, {"trials": [request(trial) for trial in trials]})
    return [sys.executable, "-m", "experiments.population", str(path)]


def request(trial: Trial) -> dict:
    """Returns a trial as `experiments.population` reads it."""
    return {"config": trial.config, "overrides": trial.fields, "workdir": str(trial.folder)}


def _out_of_memory_kills() -> int:
    """The number of processes that the system has killed for lack of memory since it started; 0 if it does not say."""
    try:
        words = Path("/proc/vmstat").read_text().split()
        return int(words[words.index("oom_kill") + 1])
    except (OSError, ValueError):
        return 0


def _folder(trials: Sequence[Trial]) -> Path:
    """The folder for the log of a job: that of its trial, or one for the group."""
    if len(trials) == 1:
        return trials[0].folder
    names = json.dumps([trial.name for trial in trials])
    folder = trials[0].folder.parents[1] / "populations" / hashlib.sha256(names.encode()).hexdigest()[:8]
    folder.mkdir(parents=True, exist_ok=True)
    return folder
