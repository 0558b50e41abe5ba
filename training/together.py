"""Several processes that train one model: they find each other, and none waits for ever for one that has ended."""

import atexit
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
import ctypes
from functools import partial
import os
import sys
import threading
import time
from typing import Any

import jax
from jax._src.distributed import global_state
from jax._src.lib import _jax, utils

from core.errors import Stopped, UserError, printable

WAIT = 300  # seconds that the processes of a run have to find each other
SILENT = 30  # seconds without a sign of life after which a process counts as ended
MESSAGE = (
    "another process of this run has ended, or cannot be reached, so this one ends too. What was saved before is kept. "
    "To go on, start all processes again."
)
_told = threading.Lock()


def join(coordinator: str, processes: int | None = None, process: int | None = None) -> None:
    """Makes this process one of several that train together.

    If another one ends early, in whatever way, this one ends too, with a message and exit code 1.

    Args:
      coordinator: HOST:PORT of process 0, or "auto" on a TPU pod or under Slurm.
      processes: how many there are. process: the number of this one, from 0.

    Raises:
      UserError: the others cannot be reached.
      ValueError, RuntimeError: from JAX; an argument is missing or wrong.
    """
    utils.absl_set_min_log_level(3)  # the runtime's own words about an ended process, which `MESSAGE` says in one line
    numbers = (None, None, None) if coordinator == "auto" else (coordinator, processes, process)
    with _ending_by(_end):
        try:
            jax.distributed.initialize(*numbers, initialization_timeout=WAIT, heartbeat_timeout_seconds=SILENT)
        except RuntimeError as error:
            if global_state.client is None:  # nothing was tried
                raise
            atexit.register(_leave)  # leaving a run that it never joined, JAX prints a stack trace
            raise UserError(
                f"the other processes cannot be reached after {WAIT} s: expected all of them to be started with the "
                "same coordinator and the same number of processes, and none to have ended"
            ) from error


@contextmanager
def with_the_others() -> Iterator[None]:
    """In a `with` block, an error that comes of the end of another process ends this one by `MESSAGE`.

    Such an error may come from any collective operation, in the words of the library that communicates. Whether another
    process has ended is known for sure within `SILENT` seconds, so the block waits for that before it raises the error.
    """
    try:
        yield
    except Stopped:  # all processes stop after the same step
        raise
    except Exception as error:
        if jax.distributed.is_initialized() and jax.process_count() > 1:
            atexit.register(_leave)
            if not (isinstance(error, UserError) or getattr(error, "errno", None)):
                time.sleep(2 * SILENT)
        raise


@contextmanager
def _ending_by(end: Callable[..., None]) -> Iterator[None]:
    """Within the block, a client of JAX's distributed runtime is made that calls `end` when another process has ended.

    By default the client aborts this process, with the stack trace of a failed check, and JAX passes no other function.
    This version of jaxlib cannot give Python what went wrong: it ends in C++'s `terminate`, which calls `end` as well.
    """
    make = _jax.get_distributed_runtime_client
    _jax.get_distributed_runtime_client = partial(make, missed_heartbeat_callback=end)
    with suppress(OSError, AttributeError):  # another C++ library, such as on a Mac
        ctypes.CDLL("libstdc++.so.6")["_ZSt13set_terminatePFvvE"](_end_in_c)
    try:
        yield
    finally:
        _jax.get_distributed_runtime_client = make


def _end(*_: Any) -> None:
    """Ends the process from any thread: the main one may wait in a collective operation, which cannot be stopped."""
    if _told.acquire(blocking=False):
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            print(printable(f"error: {MESSAGE}"), file=sys.stderr, flush=True)
        os._exit(1)


def _leave() -> None:
    """Ends the process at its exit: JAX would wait for the others, which may wait for this one in an operation."""
    time.sleep(2)  # they may be about to end with the same error
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(1)


_end_in_c = ctypes.CFUNCTYPE(None)(_end)
