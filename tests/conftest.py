"""How tests compile: quickly, with one cache for them and for the runs that they start."""

import gc
import os
from pathlib import Path

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def pytest_configure():
    import jax

    # Programs that were traced stay in memory, and going through all of them again and again took 15 % of the time.
    gc.set_threshold(200_000, 50, 1000)

    # Tests compile hundreds of tiny programs and run each once or twice: optimising them would take most of the time.
    # The complete runs that tests start are processes of their own and compile as usual, so the flags are removed.
    jax.config.update("jax_disable_most_optimizations", True)
    flags = os.environ.get("XLA_FLAGS")
    os.environ["XLA_FLAGS"] = f"{flags or ''} --xla_cpu_use_fusion_emitters=false"
    jax.devices()  # reads the flags
    if flags is None:
        del os.environ["XLA_FLAGS"]
    else:
        os.environ["XLA_FLAGS"] = flags
