"""Whether memory stays with a process is seen from outside."""

import os
import platform
import subprocess
import sys

import pytest

from training import memory

PROGRAM = """
import numpy as np
from training.memory import keep_memory
pages = lambda: int(open("/proc/self/statm").read().split()[1])
keep_memory()
keep_memory({keep})
before = pages()
for _ in range(3):
    array = np.ones(2**25)
    del array
print((pages() - before) * 4096 / 2**28)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library has no such settings")
def test_memory_stays_with_the_process_unless_the_user_says_otherwise():
    def kept(keep=True, **more):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | more
        program = PROGRAM.replace("{keep}", str(keep))
        process = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        return float(process.stdout)

    assert kept() == pytest.approx(1, abs=0.1)
    assert kept(keep=False) == pytest.approx(0, abs=0.1)
    assert kept(MALLOC_ARENA_MAX="3") == pytest.approx(0, abs=0.1)


def test_on_a_cpu_devices_divide_the_share_of_this_process(monkeypatch, tmp_path):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_LIMITS", (str(limit), str(tmp_path / "nothing")))
    monkeypatch.delenv(memory.SHARE, raising=False)
    total_memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit.write_text("max\n")
    assert memory.program_memory(1) == pytest.approx(total_memory * 0.8, rel=1e-6)
    limit.write_text("3000000000\n")
    monkeypatch.setenv(memory.SHARE, "0.5")
    assert memory.program_memory(5) == 240_000_000


def test_runs_at_a_time_divide_the_cores(monkeypatch):
    monkeypatch.setattr(memory.os, "sched_getaffinity", lambda process: range(5))
    for share, cores in ("", 5), ("0.5", 2), ("0.333", 2), ("0.100", 1):
        monkeypatch.setenv(memory.SHARE, share)
        assert memory.cpu_cores() == cores
