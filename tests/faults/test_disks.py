"""A folder that is full or read-only, in place of each folder that work writes to: named in a line, or not needed."""

from collections.abc import Callable
import os
from pathlib import Path
import subprocess

import pytest

from tests.faults.works import WORKS

KINDS = ["vit", "population", "sweep", "search", "benchmark", "figure"]


def fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as filler:
        for size in (4096, 1):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError:
                pass


def forbid(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)


@pytest.fixture
def disk(tmp_path):
    """A folder on a small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


STATES = pytest.mark.parametrize("spoil", [fill, forbid], ids=["full", "read-only"])


@pytest.mark.slow
@STATES
@pytest.mark.parametrize("name", KINDS)
def test_a_workdir_that_cannot_be_written_is_named_in_one_line(name: str, spoil: Callable, disk):
    work = WORKS[name]
    lines = work.commands(disk)  # which writes what the commands read
    for line in lines:
        if "--workdir" in str(line[-1]):
            Path(str(line[-1]).partition("=")[2]).mkdir(exist_ok=True)
    spoil(disk)
    (process,) = work.run(lines)
    output, _ = process.communicate(timeout=300)
    assert process.returncode and "Traceback" not in output, output
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and str(disk) in errors[0], output
    assert "No space left" in errors[0] or "Read-only" in errors[0], output


@pytest.mark.slow
@STATES
@pytest.mark.parametrize("variable", ["JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME", "LECTERN_DATA", "TMPDIR"])
def test_a_folder_that_keeps_things_for_later_is_not_needed_or_named(variable, spoil, disk, tmp_path, monkeypatch):
    monkeypatch.setenv(variable, str(disk))
    if variable == "XDG_CACHE_HOME":
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    spoil(disk)
    (process,) = WORKS["vit"].start(tmp_path)
    output, _ = process.communicate(timeout=300)
    assert "Traceback" not in output, output
    if process.returncode:
        errors = [line for line in output.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and variable in errors[0] and str(disk) in errors[0], output
    else:
        assert WORKS["vit"].outcome(tmp_path)
