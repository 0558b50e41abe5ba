"""What makes a start quick: compiled programs are kept on disk, and those that run once are optimised less."""

from collections.abc import Callable
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


def quickly_compiled(function: Callable, **options) -> jax.stages.Wrapped:
    """Returns `jax.jit(function, **options)` for a program that runs once, such as the one that draws parameters.

    On a CPU it is optimised at LLVM's level 1, which takes less time and gives the same numbers. Where JAX is
    told to optimise even less, as in the tests, that counts.
    """
    less = jax.default_backend() == "cpu" and not jax.config.read("jax_disable_most_optimizations")
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 1} if less else None, **options)
