"""Libraries are silent about failed writes, and about nothing else."""

import signal
import subprocess
import sys

import pytest

from tests import tiny

PROGRAM = """
import logging, sys, threading
from training.noise import silence_failed_writes

hooks = sys.unraisablehook, threading.excepthook
silence_failed_writes()
silenced = sys.unraisablehook, threading.excepthook
silence_failed_writes()
assert silenced == (sys.unraisablehook, threading.excepthook) and not set(silenced) & set(hooks)


def fail(error):
    raise error


class Late:
    def __init__(self, error):
        self.error = error

    def __del__(self):
        raise self.error


for error in (OSError("full disk"), ValueError("a bug in a thread")):
    thread = threading.Thread(target=fail, args=[error])
    thread.start()
    thread.join()
for error in (RuntimeError("Event loop is closed"), ValueError("a bug in a finalizer")):
    Late(error)
logging.getLogger("asyncio").error("a task failed")
"""


LOST = """
import gc, os, signal, sys, time
from core.command import command
from core.errors import Stopped
from training.noise import silence_failed_writes


def stop(number, frame):
    raise Stopped("stopped by a signal", 143)


def collect(phase, info):
    gc.callbacks.remove(collect)
    os.kill(os.getpid(), int(sys.argv[1]))


@command
def main(arguments):
    silence_failed_writes()
    signal.signal(signal.SIGTERM, stop)
    gc.callbacks.append(collect)
    gc.collect()
    time.sleep(20)


main()
"""


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_comes_while_garbage_is_collected_is_not_lost(number, code):
    line = [sys.executable, "-c", LOST, str(int(number))]
    process = subprocess.run(line, cwd=tiny.ROOT, capture_output=True, text=True)
    assert process.returncode == code and "stopped" in process.stderr and process.stderr.count("\n") == 1


def test_failed_writes_are_silent_and_bugs_are_not():
    process = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tiny.ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert "a bug in a thread" in process.stderr and "a bug in a finalizer" in process.stderr
    for words in ("full disk", "Event loop is closed", "a task failed"):
        assert words not in process.stderr
