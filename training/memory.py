"""How much memory programs may take, and that what a step has freed stays with the process, for the next step."""

import ctypes
import os
from pathlib import Path

import jax

# The part of the system's memory that is this process's, where several runs are at work: 0.5 is half.
SHARE = "LECTERN_MEMORY_SHARE"
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h


def keep_memory(keep: bool = True) -> None:
    """Has glibc give nothing back to the system, or again as usual; a variable MALLOC_... leaves all as it is.

    The programs of a population compute in several threads at once, whose arrays glibc else fetches from the system
    page by page, step for step. Of five small encoders, 150 steps of experiments/suites/digits.py:encoder, that is 28 %
    of the CPU time (27.6 s in the place of 38.4); one run alone gains nothing. The process grows up to twofold, so it
    is not for programs that take much of the memory.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    try:
        tune = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    tune(M_MMAP_MAX, 0 if keep else 65_536)
    tune(M_TRIM_THRESHOLD, -1 if keep else 131_072)
    tune(M_ARENA_MAX, 1)  # stays: threads keep the arenas that they have


def room(devices: int) -> int:
    """Bytes that programs may take on each of `devices` devices of this process.

    An accelerator has memory of its own; on a CPU the devices divide this process's share of the system's. A part of
    it is left for all that is not of a program.
    """
    known = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in known:
        return int(0.9 * known["bytes_limit"])
    return int(0.8 * _system() * float(os.environ.get(SHARE, 1)) / devices)


def _system() -> int:
    limits = [Path(path).read_text().strip() for path in _LIMITS if Path(path).exists()]
    limits = [int(limit) for limit in limits if limit.isdecimal()]  # "max" is none
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *limits])
