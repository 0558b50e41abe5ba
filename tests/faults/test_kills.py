"""A kill campaign: work of every kind, killed at random moments and started again, ends as if nothing had happened.

`make test-kill KILLS=20` kills each kind of work 20 times.
"""

from collections.abc import Iterable
import os
from pathlib import Path
import random
import signal
import subprocess
import time

import pytest

from tests.faults.works import WORKS, Work

KILLS = int(os.environ.get("KILLS", "2"))
TOGETHER = 60  # seconds within which the other processes of a run end, too


def descendants(process: int) -> list[int]:
    """The numbers of the processes that a process has started, and of those that these have started."""
    children = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
        if parent == process:
            children.append(int(status.parent.name))
    return [number for child in children for number in (child, *descendants(child))]


def kill_one(processes: Iterable[subprocess.Popen], generator: random.Random) -> bool:
    """Kills one of the processes, or of those that they started. Returns whether there was one."""
    running = [process.pid for process in processes if process.poll() is None]
    numbers = running + [number for process in running for number in descendants(process)]
    if not numbers:
        return False
    try:
        os.kill(generator.choice(numbers), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def interrupt(work: Work, folder: Path, seconds: float, generator: random.Random) -> bool:
    """Starts the work and kills one of its processes after a while. Returns whether there was one to kill."""
    log, running = folder / "run" / "metrics.jsonl", lambda: any(process.poll() is None for process in processes)
    before = log.stat().st_size if log.exists() else 0
    processes = work.start(folder)
    if work.concurrent:  # one that has not found the others yet may wait for minutes for them to be started
        while running() and not (log.exists() and log.stat().st_size != before):
            time.sleep(0.01)
        seconds /= 4
    end = time.monotonic() + generator.uniform(0, seconds)
    while time.monotonic() < end and running():
        time.sleep(0.01)
    killed = kill_one(processes, generator)
    kill_time = time.monotonic()
    for process in processes:
        output, _ = process.communicate(timeout=600)  # the pipe closes when the last process that holds it ends
        assert "Traceback" not in output and "Check failure" not in output, output
        if work.concurrent and killed:
            assert time.monotonic() < kill_time + TOGETHER
            assert process.returncode in (0, 1, -signal.SIGKILL), output
            if process.returncode == 1:
                assert [line[:38] for line in output.splitlines() if "rror" in line] == [
                    "error: another process of this run has"
                ], output
    return killed


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKS)
def test_killed_work_ends_as_if_nothing_had_happened(name, tmp_path):
    work, generator = WORKS[name], random.Random(name)
    begin = time.monotonic()
    expected = work.finish(tmp_path / "whole")
    seconds = time.monotonic() - begin
    kills = folders = 0
    while kills < KILLS:
        folders += 1
        folder = tmp_path / str(folders)
        for _ in range(generator.randint(1, 4)):
            begin = time.monotonic()
            if interrupt(work, folder, seconds, generator):
                kills += 1
            else:  # it ended first: the first of all compiled its programs, later ones find them
                seconds = min(seconds, time.monotonic() - begin)
        assert work.finish(folder) == expected, f"{folder}, after {kills} kills"
    print(f"{name}: {kills} kills in {folders} folders: 0 lost, 0 other results, 0 traces")
