"""How a process that computes is set up: it keeps what it compiled on disk, and what a step allocated in memory."""

import ctypes
import os
from pathlib import Path

import jax

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h


def set_up_process() -> None:
    """Turns JAX's cache on, in $JAX_COMPILATION_CACHE_DIR, or ~/.cache/lectern/compiled where that is not set.

    And with glibc, unless a variable MALLOC_... of the environment says how it is to work: memory that was freed stays
    with the process. Else the large arrays of a step are given back to the system, to be fetched page by page for the
    next one. The first 400 steps of configs/vit.py take 13.2 s of CPU time in the place of 16.9, those of
    configs/vae.py 4.5 in the place of 6.7.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lectern" / "compiled"
    jax.config.update("jax_compilation_cache_dir", os.environ.get("JAX_COMPILATION_CACHE_DIR", str(cache)))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if not any(name.startswith("MALLOC_") for name in os.environ):
        _keep_memory()


def _keep_memory() -> None:
    try:
        tune = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return
    tune(M_MMAP_MAX, 0)
    tune(M_TRIM_THRESHOLD, -1)
    tune(M_ARENA_MAX, 1)
