"""Several processes that train one model: they find each other, and none waits for ever for one that has ended."""

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
from jax._src.lib import _jax, utils

from core.errors import Stopped, UserError, printable

SILENT = 20  # seconds without a sign of life after which a process counts as ended
ENDING = 30  # seconds that a process waits for the others when it ends
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
      ValueError, RuntimeError: from JAX; an argument is missing or wrong, or the others cannot be reached.
    """
    where = {} if coordinator == "auto" else {"coordinator_address": coordinator}
    numbers = {} if coordinator == "auto" else {"num_processes": processes, "process_id": process}
    utils.absl_set_min_log_level(3)  # the runtime's own words about an ended process, which `MESSAGE` says in one line
    with _ending_by(_end):
        jax.distributed.initialize(
            **where, **numbers, heartbeat_timeout_seconds=SILENT, shutdown_timeout_seconds=ENDING
        )


@contextmanager
def with_the_others() -> Iterator[None]:
    """In a `with` block, an error that comes of the end of another process ends this one by `MESSAGE`.

    Such an error may come from any collective operation, in the words of the library that communicates. Whether another
    process has ended is known for sure within `SILENT` seconds, so the block waits for that before it raises the error.
    """
    try:
        yield
    except (UserError, Stopped):
        raise
    except Exception:
        if jax.distributed.is_initialized() and jax.process_count() > 1:
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


_end_in_c = ctypes.CFUNCTYPE(None)(_end)
