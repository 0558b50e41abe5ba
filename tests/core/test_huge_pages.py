"""A command starts itself again, in the same process, where that gives it huge pages."""

import os
import subprocess
import sys

import pytest

from core import huge_pages
from core.files import ROOT

PROGRAM = """
import os, sys
print(os.getpid(), flush=True)
from core.huge_pages import use_huge_pages
use_huge_pages()
print(os.environ.get("GLIBC_TUNABLES"), sys.argv[1:])
"""
NEEDS_GLIBC = pytest.mark.skipif(not huge_pages._is_known(), reason="no glibc or kernel that can be asked")


def run(program: str, tunables: str | None = None) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if name != huge_pages.TUNABLES}
    environment |= {} if tunables is None else {huge_pages.TUNABLES: tunables}
    words = [sys.executable, "-c", program, "a b", "--c"]
    return subprocess.run(words, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout.split(
        "\n"
    )


@NEEDS_GLIBC
@pytest.mark.parametrize("before, after", [
    (None, "glibc.malloc.hugetlb=1"),
    ("glibc.malloc.arena_max=2", "glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1"),
])  # fmt: skip
def test_the_same_process_starts_again_once_with_the_setting(before, after):
    first, second, last, _ = run(PROGRAM, before)
    assert first == second
    assert last == f"{after} ['a b', '--c']"


def test_a_setting_of_the_user_stays():
    _, last, _ = run(PROGRAM, "glibc.malloc.hugetlb=0")
    assert last == "glibc.malloc.hugetlb=0 ['a b', '--c']"


@NEEDS_GLIBC
def test_commands_start_so_and_imports_do_not():
    shows = "import os; print(os.environ.get('GLIBC_TUNABLES'))"
    assert run(f"import experiments, train; {shows}")[-2] == "None"
    # This is what the arguments are while Python looks for the module of `python -m experiments.<command>`.
    assert run(f"import sys; sys.argv[0] = '-m'; import experiments; {shows}")[-2] == "glibc.malloc.hugetlb=1"


@pytest.mark.parametrize("content", ["[always] madvise never", "always madvise [never]"])
def test_nothing_starts_again_where_the_kernel_needs_no_asking(monkeypatch, tmp_path, content):
    (tmp_path / "enabled").write_text(content)
    monkeypatch.setattr(huge_pages, "_KERNEL", tmp_path / "enabled")
    monkeypatch.delenv(huge_pages.TUNABLES, raising=False)
    starts = []
    monkeypatch.setattr(os, "execve", lambda *arguments: starts.append(arguments))
    huge_pages.use_huge_pages()
    assert not starts


def test_the_default_environment_has_all_but_the_setting(monkeypatch):
    monkeypatch.setenv(huge_pages.TUNABLES, "glibc.malloc.hugetlb=1")
    assert huge_pages.TUNABLES not in huge_pages.default_environment()
    monkeypatch.setenv(huge_pages.TUNABLES, "glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1")
    environment = huge_pages.default_environment()
    assert environment[huge_pages.TUNABLES] == "glibc.malloc.arena_max=2"
    assert environment["PATH"] == os.environ["PATH"]
