"""Memory that a step has freed stays with the process, for the next step."""

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h


def keep_memory() -> None:
    """Has glibc give nothing back to the system; a variable MALLOC_... of the environment leaves all as it is.

    The programs of a population compute in several threads at once, whose arrays glibc else fetches from the system
    page by page, step for step. Of five small encoders, 150 steps of experiments/suites/digits.py:encoder, that is 28 %
    of the CPU time (27.6 s in the place of 38.4); one run alone gains nothing. The process grows by up to half.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    try:
        tune = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    tune(M_MMAP_MAX, 0)
    tune(M_TRIM_THRESHOLD, -1)
    tune(M_ARENA_MAX, 1)
