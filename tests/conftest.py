"""How tests compile: quickly, with one cache for them and for the runs that they start. And data that they share."""

from contextlib import suppress
import ctypes
import gc
import os
from pathlib import Path

ROOM = 2 * 2**30  # bytes that a process of tests may grow by until programs that it compiled are given up

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


def pytest_sessionstart():
    """Prepares the sets that come with the packages: the note about it must not be among errors that tests look at."""
    from data.digits import Digits
    from data.number_languages import NumberLanguages
    from data.number_words import NumberWords
    from data.python_docs import PythonDocs
    from data.storage import open_embedded

    for builder in (Digits, NumberLanguages, NumberWords, PythonDocs):
        open_embedded(builder)


def pytest_runtest_logfinish():
    """Gives up what was traced and compiled before it fills the memory: thousands of programs are several GiB."""
    import jax

    global _limit
    if _memory() > _limit:
        jax.clear_caches()
        gc.collect()
        with suppress(OSError, AttributeError):  # without it, most of the memory stays with the process
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        _limit = _memory() + ROOM


def _memory() -> int:
    """The bytes of memory that this process has; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


_limit = 2 * ROOM
