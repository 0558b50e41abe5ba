"""How much of the machine this process may take, and how to keep freed memory in it for the next step."""

import ctypes
import os
from pathlib import Path

import jax

# Environment variable: the part of the system's memory and CPU cores that this process may take, where several runs
# are at work. 0.5 is half.
SHARE = "LECTERN_SHARE"
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h


def keep_memory(keep: bool = True) -> None:
    """Tells glibc to keep freed memory instead of returning it to the system, or to go back to its defaults.

    Does nothing if an environment variable MALLOC_... is set, or with another C library.

    The programs of a population compute in several threads at once. By default glibc requests the memory of their
    arrays from the system again at every step, page by page. For five small encoders (150 steps of
    experiments/suites/digits.py:encoder) keeping it saves 28 % of the CPU time: 27.6 s instead of 38.4 s. A single run
    gains nothing. The process may take up to twice the memory, so this is not for programs that need much of it.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    mallopt(M_MMAP_MAX, 0 if keep else 65_536)
    mallopt(M_TRIM_THRESHOLD, -1 if keep else 131_072)
    mallopt(M_ARENA_MAX, 1)  # in both cases: threads cannot give up the arenas that they have


def cpu_cores() -> int:
    """Returns how many CPU cores this process may keep busy: its share of those that it may use, at least one."""
    return max(1, round(len(os.sched_getaffinity(0)) * _share()))


def program_memory(devices: int) -> int:
    """Returns the bytes that programs may take on each of `devices` devices of this process.

    An accelerator has its own memory. On a CPU the devices divide this process's share of the system's memory. A part
    of it (10 % or 20 %) is left for everything outside the programs.
    """
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in statistics:
        return int(0.9 * statistics["bytes_limit"])
    return int(0.8 * _system_memory() * _share() / devices)


def _share() -> float:
    return float(os.environ.get(SHARE) or 1)


def _system_memory() -> int:
    texts = [Path(path).read_text().strip() for path in _LIMITS if Path(path).exists()]
    limits = [int(text) for text in texts if text.isdecimal()]  # "max" is no limit
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *limits])
