"""Sends a sweep to Slurm: a job array of runners, which divide the trials among them.

Each task of the array is the sweep's own command for one job at a time, so all that holds for runners on one machine
holds here: claims keep two from working on one trial (the workdir must be on a file system whose locks hold across
nodes, as NFS 4 and Lustre have it), and what is preempted or out of time is requeued, and resumes.
"""

from collections.abc import Callable
from pathlib import Path
import shutil
import subprocess
import sys
import time

import submitit
from submitit.core.utils import FailedJobError
from submitit.helpers import DelayedSubmission

from experiments.sweep import trials as states
from experiments.sweep.trials import Trial

SETTLED = (states.DONE, states.FAILED, states.PRUNED)
DEFAULTS = {"time": 24 * 60, "additional_parameters": {"requeue": True}}  # time: minutes


class Worker:
    """What a task of the array does: one runner, in a process of its own; requeued, it begins again."""

    def __init__(self, command: list[str]):
        self.command = command

    def __call__(self) -> int:
        with subprocess.Popen(self.command) as process:
            try:
                return process.wait()
            except BaseException:  # requeued
                process.terminate()
                process.wait()
                raise

    def checkpoint(self) -> DelayedSubmission:
        """What submitit asks for when the time is nearly over."""
        return DelayedSubmission(self)


def submit(flags: list[str], workdir: str | Path, *, workers: int, resources: list[str]) -> list[str]:
    """Brings the array up to so many workers; gives the ids of all jobs of this sweep that may still run.

    Args:
      flags: of the sweep's command, but for --launcher, --jobs and --slurm.
      resources: "name=value" as submitit's SlurmExecutor takes them: partition=gpu, time=60, gpus_per_node=1, mem=8GB.

    Raises ValueError where Slurm is not here, or refuses the job.
    """
    if not shutil.which("sbatch"):
        raise ValueError("--launcher=slurm: this machine has no sbatch; run it where jobs are submitted")
    folder = Path(workdir) / "slurm"
    folder.mkdir(parents=True, exist_ok=True)
    known = folder / "jobs"  # ids, a line each
    ids = known.read_text().split() if known.exists() else []
    missing = workers - alive(ids)
    if missing > 0:
        executor = submitit.SlurmExecutor(folder, max_num_timeout=1000)
        parameters = DEFAULTS | dict(_parameter(text) for text in resources)
        try:
            executor.update_parameters(job_name="sweep", array_parallelism=workers, **parameters)
            command = [sys.executable, "-m", "experiments.sweep", *flags, "--jobs=1", "--no-wait"]
            jobs = executor.map_array(lambda worker: worker(), [Worker(command)] * missing)
        except (ValueError, FailedJobError) as error:
            lines = [line for line in str(error).splitlines() if "arameter" in line or "error" in line]
            raise ValueError(f"--slurm {' '.join(resources)}: {' '.join(lines[:2]) or error}") from error
        ids.append(jobs[0].job_id.split("_")[0])
        known.write_text("\n".join(ids) + "\n")
    return ids


def alive(ids: list[str]) -> int:
    """How many tasks of these jobs wait or run."""
    if not ids:
        return 0
    command = ["squeue", "--noheader", "--array", f"--jobs={','.join(ids)}", "--format=%T"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and "Invalid job id" not in done.stderr:  # jobs that are long over
        raise ValueError(f"squeue: {done.stderr.strip()}")
    return len(done.stdout.split())


def watch(trials: Callable[[], list[Trial]], total: int, ids: list[str]) -> None:
    """Prints a line whenever the state of a trial changes, until `total` are settled or no worker is left."""
    print(f"jobs {', '.join(ids)}; they go on without this command (see squeue, scancel)", flush=True)
    last = {trial: state for trial in trials() if (state := trial.settled())}
    while sum(state in SETTLED for state in last.values()) < total:
        ended = alive(ids) == 0  # before the look at the trials: what the last worker did is seen
        for trial in trials():
            state = trial.state()
            if state != last.get(trial, states.WAITING):
                last[trial] = state
                settled = sum(state in SETTLED for state in last.values())
                print(f"{state:9} {trial.name}  ({settled} of {total})", flush=True)
        if ended:
            break
        time.sleep(2)


def _parameter(text: str) -> tuple[str, str | int]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--slurm {text}: expected name=value, such as partition=gpu")
    return name, int(value) if value.isdecimal() else value
