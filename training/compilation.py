"""Compiled programs are kept on disk, so that a second start is quick."""

import os
from pathlib import Path

import jax


def use_compilation_cache() -> None:
    """Turns on JAX's cache of compiled programs.

    Its folder is $JAX_COMPILATION_CACHE_DIR, or $XDG_CACHE_HOME/lectern/compiled, or ~/.cache/lectern/compiled. An
    empty JAX_COMPILATION_CACHE_DIR turns the cache off, as it does in JAX; an empty XDG_CACHE_HOME counts as not set,
    as its specification says.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lectern" / "compiled"
    jax.config.update("jax_compilation_cache_dir", os.environ.get("JAX_COMPILATION_CACHE_DIR", str(cache)))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
