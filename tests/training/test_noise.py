"""Libraries are silent about failed writes, and about nothing else."""

import subprocess
import sys

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


def test_failed_writes_are_silent_and_bugs_are_not():
    process = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tiny.ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert "a bug in a thread" in process.stderr and "a bug in a finalizer" in process.stderr
    for words in ("full disk", "Event loop is closed", "a task failed"):
        assert words not in process.stderr
