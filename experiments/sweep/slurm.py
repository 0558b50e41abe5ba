"""Sends a sweep to Slurm: a job array of runners, which divide the trials among them.

Each task of the array is the sweep's own command with one job at a time, so what holds for several runners on one
machine holds here as well. Claims keep two runners from working on one trial; the workdir must be on a file system
whose locks hold across nodes, such as NFS 4 or Lustre. A task that is preempted or runs out of time is requeued, and
resumes its trial.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
import shutil
import subprocess
import sys
import time

import submitit
from submitit.core.utils import FailedJobError
from submitit.helpers import DelayedSubmission

from core.errors import UserError
from core.files import write_text
from experiments.sweep import trials as states
from experiments.sweep.trials import Trial

SETTLED = (states.DONE, states.FAILED, states.PRUNED)
DEFAULTS = {"time": 24 * 60, "additional_parameters": {"requeue": True}}  # time: minutes


class Worker:
    """One task of the array: a runner in a process of its own. A task that is requeued starts it again."""

    def __init__(self, command: list[str]):
        self.command = command

    def __call__(self) -> int:
        """Returns the exit code of the runner."""
        with subprocess.Popen(self.command) as process:
            try:
                return process.wait()
            except BaseException:  # the task is requeued
                process.terminate()
                process.wait()
                raise

    def checkpoint(self) -> DelayedSubmission:
        """Returns what submitit submits again shortly before the time of the task is over."""
        return DelayedSubmission(self)


def submit(flags: Sequence[str], workdir: str | Path, *, workers: int, resources: Sequence[str]) -> list[str]:
    """Submits tasks until `workers` of them wait or run. Returns the ids of all jobs of this sweep.

    Args:
      flags: those of the sweep's command, but for --launcher, --jobs and --slurm.
      resources: "name=value" for submitit's SlurmExecutor: partition=gpu, time=60, gpus_per_node=1, mem=8GB.

    Raises:
      UserError: this machine cannot submit jobs, or Slurm refuses this one.
    """
    if not shutil.which("sbatch"):
        raise UserError("--launcher=slurm: this machine has no sbatch; run the command where jobs are submitted")
    folder = Path(workdir) / "slurm"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "jobs"  # one id a line
    ids = path.read_text().split() if path.exists() else []
    missing = workers - count_tasks(ids)
    if missing > 0:
        executor = submitit.SlurmExecutor(folder, max_num_timeout=1000)
        parameters = DEFAULTS | dict(_parameter(text) for text in resources)
        try:
            executor.update_parameters(job_name="sweep", array_parallelism=workers, **parameters)
            command = [sys.executable, "-m", "experiments.sweep", *flags, "--jobs=1", "--no_wait"]
            jobs = executor.map_array(lambda worker: worker(), [Worker(command)] * missing)
        except (ValueError, FailedJobError) as error:  # what submitit raises for resources that do not exist
            lines = [line for line in str(error).splitlines() if "arameter" in line or "error" in line]
            raise UserError(f"--slurm {' '.join(resources)}: {' '.join(lines[:2]) or error}") from error
        ids.append(jobs[0].job_id.split("_")[0])
        write_text(path, "\n".join(ids) + "\n")
    return ids


def count_tasks(ids: Sequence[str]) -> int:
    """Returns how many tasks of these jobs wait or run.

    Raises:
      UserError: Slurm does not answer.
    """
    if not ids:
        return 0
    command = ["squeue", "--noheader", "--array", f"--jobs={','.join(ids)}", "--format=%T"]
    squeue = subprocess.run(command, capture_output=True, text=True)
    if squeue.returncode and "Invalid job id" not in squeue.stderr:  # Slurm forgets jobs that ended long ago
        raise UserError(f"squeue: {squeue.stderr.strip()}")
    return len(squeue.stdout.split())


def watch(trials: Callable[[], list[Trial]], total: int, ids: Sequence[str]) -> None:
    """Prints a line whenever the state of a trial changes, until `total` trials are settled or no task is left."""
    print(f"jobs {', '.join(ids)}; they go on without this command (see squeue, scancel)", flush=True)
    last = {trial: state for trial in trials() if (state := trial.settled())}
    while sum(state in SETTLED for state in last.values()) < total:
        all_ended = count_tasks(ids) == 0  # before the trials are read, to see what the last task did
        for trial in trials():
            state = trial.state()
            if state != last.get(trial, states.WAITING):
                last[trial] = state
                settled = sum(state in SETTLED for state in last.values())
                print(f"{state:9} {trial.name}  ({settled} of {total})", flush=True)
        if all_ended:
            break
        time.sleep(2)


def _parameter(text: str) -> tuple[str, str | int]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--slurm {text}: expected name=value, such as partition=gpu")
    return name, int(value) if value.isdecimal() else value
