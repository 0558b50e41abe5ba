"""Memory in large pages, which a program must ask for before it starts.

XLA allocates the intermediate results of a training step anew in each step, in one block that glibc returns to the
kernel afterwards. The kernel then clears every page of 4 KiB again when it is first written, which takes up to a
quarter of the time of a step. With pages of 2 MiB hardly anything is left of it. See docs/devices.md for the numbers.
"""

from collections.abc import Mapping
import os
from pathlib import Path
import sys

TUNABLES = "GLIBC_TUNABLES"
SETTING = "glibc.malloc.hugetlb"
_SINCE = (2, 35)  # of glibc
_KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def use_huge_pages() -> None:
    """Starts the command of this process again, in the same process, with glibc's setting for huge pages.

    glibc reads it only when a program starts. The processes that a command starts inherit it. Call this before the
    slow imports. It does nothing where the setting is already there, with whatever value; where glibc or the kernel do
    not know it, or give huge pages to all programs or to none; and in an interactive session.
    """
    if SETTING in os.environ.get(TUNABLES, "") or not _is_known() or hasattr(sys, "ps1") or not sys.executable:
        return
    tunables = ":".join(filter(None, (os.environ.get(TUNABLES), f"{SETTING}=1")))
    try:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {TUNABLES: tunables})
    except OSError:
        pass  # without it, the command is only slower


def default_environment() -> Mapping[str, str]:
    """Returns the environment of this process without the setting: that of a program which does not ask for it."""
    others = [text for text in os.environ.get(TUNABLES, "").split(":") if text and not text.startswith(SETTING)]
    environment = {name: value for name, value in os.environ.items() if name != TUNABLES}
    return environment | ({TUNABLES: ":".join(others)} if others else {})


def _is_known() -> bool:
    try:
        _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        return tuple(map(int, version.split(".")[:2])) >= _SINCE and "[madvise]" in _KERNEL.read_text()
    except (AttributeError, ValueError, OSError):  # not Linux, or not glibc
        return False
