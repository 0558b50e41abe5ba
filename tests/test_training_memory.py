"""Whether memory stays with a process is seen from outside."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np
from training.memory import keep_memory
pages = lambda: int(open("/proc/self/statm").read().split()[1])
keep_memory()
before = pages()
for _ in range(3):
    array = np.ones(2**25)
    del array
print((pages() - before) * 4096 / 2**28)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library has no such settings")
def test_memory_stays_with_the_process_unless_the_user_says_otherwise():
    def kept(**more):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | more
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
        return float(done.stdout)

    assert kept() == pytest.approx(1, abs=0.1)
    assert kept(MALLOC_ARENA_MAX="3") == pytest.approx(0, abs=0.1)
