"""Signals are noted instead of ending a process, and a child does not outlive its parent."""

import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

from core import processes
from core.processes import NotedSignals, with_parent

ROOT = Path(__file__).parents[2]
CHILD = """
import signal, sys, time
from core.processes import signal_when_parent_ends
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(0))
signal_when_parent_ends(signal.SIGUSR1)
print("ready", flush=True)
time.sleep(60)
"""
PARENT = """
import subprocess, sys, time
from core.processes import with_parent
child = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def is_running(process: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_signals_are_noted_and_then_handled_as_before():
    before = signal.getsignal(signal.SIGTERM)
    with NotedSignals(signal.SIGINT, signal.SIGTERM) as signals:
        assert (signals.number, signals.count) == (0, 0)
        signal.raise_signal(signal.SIGTERM)
        assert (signals.number, signals.count) == (signal.SIGTERM, 1)
        signal.raise_signal(signal.SIGINT)
        assert (signals.number, signals.count) == (signal.SIGINT, 2)
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
@pytest.mark.parametrize(
    "command",
    [
        f"[sys.executable, '-c', {CHILD!r}]",
        "with_parent([sys.executable, '-c', 'import time; print(flush=True); time.sleep(60)'])",
    ],
    ids=["asks for a signal", "is started with its parent"],
)
def test_a_child_ends_when_its_parent_is_killed(command):
    code = PARENT.replace("COMMAND", command)
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = int(parent.stdout.readline())
    assert is_running(child)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_command_with_its_parent_keeps_its_arguments_output_and_exit_code():
    code = "import signal, sys; print(sys.argv[1:], signal.getsignal(signal.SIGUSR2).name); sys.exit(3)"
    completed = subprocess.run(with_parent([sys.executable, "-c", code, "a b", ""]), capture_output=True, text=True)
    assert (completed.returncode, completed.stdout, completed.stderr) == (3, "['a b', ''] SIG_IGN\n", "")


def test_a_command_whose_parent_has_ended_already_does_not_start():
    command = [sys.executable, "-I", "-S", processes.__file__, str(os.getppid()), sys.executable, "-c", "print('ran')"]
    completed = subprocess.run(command, capture_output=True, text=True)
    assert completed.returncode == 1 and completed.stdout == "" and "has ended" in completed.stderr
