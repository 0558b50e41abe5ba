"""Silences libraries whose stack traces repeat what this project says in one line. For commands only."""

from collections.abc import Iterator
from contextlib import contextmanager
import logging
import os
import signal
import sys
import threading

from core.errors import Stopped

AGAIN = 0.1  # seconds until a signal is sent again that Python could not act on


def silence_failed_writes() -> None:
    """Keeps Orbax, asyncio and TensorBoard from printing stack traces for a write that failed, as on a full disk.

    `CheckpointFailed` and the log's own error say the same in one line. A signal that comes while garbage is collected,
    where Python drops what a handler raises, is sent again, so that it is not lost.

    This changes loggers and hooks of the whole process until it ends, because the tasks of a failed write may end after
    everything else: call it from a command, not from a library. Calling it again changes nothing.
    """
    absl = logging.getLogger("absl")
    if _not_from_orbax in absl.filters:
        return
    absl.addFilter(_not_from_orbax)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    logging.getLogger("concurrent.futures").setLevel(logging.CRITICAL)
    unraisablehook, excepthook = sys.unraisablehook, threading.excepthook

    def without_late_writes(unraisable) -> None:
        if isinstance(unraisable.exc_value, (KeyboardInterrupt, Stopped)):
            number = signal.SIGINT if isinstance(unraisable.exc_value, KeyboardInterrupt) else signal.SIGTERM
            timer = threading.Timer(AGAIN, os.kill, (os.getpid(), number))  # not here, where it would be dropped again
            timer.daemon = True
            timer.start()
            return
        # A write of TensorStore that ends after its save was given up reports to an event loop that is closed.
        if str(unraisable.exc_value) != "Event loop is closed":
            unraisablehook(unraisable)

    def without_failed_events(failure) -> None:
        # TensorBoard's thread dies of a full disk. The next record of the log reports it.
        if not issubclass(failure.exc_type, OSError):
            excepthook(failure)

    sys.unraisablehook, threading.excepthook = without_late_writes, without_failed_events


@contextmanager
def without_remarks() -> Iterator[None]:
    """In a block, Orbax logs nothing; afterwards loggers are as they were."""
    absl = logging.getLogger("absl")
    there = _not_from_orbax in absl.filters  # adding it again does nothing, but removing it would
    absl.addFilter(_not_from_orbax)
    try:
        yield
    finally:
        if not there:
            absl.removeFilter(_not_from_orbax)


def _not_from_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname
