"""Processes that end in good order: signals that are noted, and children that do not outlive their parent.

This file is also a program, which `with_parent` puts before a command. It starts in a few milliseconds, so it imports
nothing outside the standard library.
"""

import ctypes
import os
import signal
import sys
from types import FrameType

_PR_SET_PDEATHSIG = 1  # of Linux's prctl


class NotedSignals:
    """In a `with` block, signals are noted instead of ending the process. Only the main thread may use it.

    Attributes:
      number: the signal that came last, or 0.
      count: how many came.
    """

    def __init__(self, *numbers: int):
        self.number, self.count = 0, 0
        self._numbers = numbers

    def __enter__(self) -> "NotedSignals":
        self._before = {number: signal.signal(number, self._note) for number in self._numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number, self.count = number, self.count + 1


def signal_when_parent_ends(number: int) -> None:
    """Asks Linux to send this process a signal when its parent ends, in whatever way. Elsewhere it does nothing.

    Linux sends it when the thread that started this process ends, so it may come before the parent itself has ended.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, number)


def with_parent(command: list[str]) -> list[str]:
    """Returns the command that runs `command` and, on Linux, sends it SIGTERM when the process that starts it ends.

    The new process ignores SIGUSR2. Slurm sends this signal to all processes of a job shortly before the job's end; it
    is for the parent, which then ends its children itself.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def _run_with_parent(parent: int, command: list[str]) -> None:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal_when_parent_ends(signal.SIGTERM)
    if os.getppid() != parent:  # it ended before this process could ask for the signal
        sys.exit("the process that started this one has ended")
    os.execvp(command[0], command)


if __name__ == "__main__":
    _run_with_parent(int(sys.argv[1]), sys.argv[2:])
