"""Damage to any file that work leaves: the same command ends with the same bits, or one line names the file.

`make test-damage DAMAGES=100` damages 100 files of each kind of work, each in one of four ways.
"""

from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
import hashlib
import io
import json
import os
from pathlib import Path
import random
import re
from typing import Any

import pytest

from core.files import ROOT
from tests.faults.works import FIGURE, WORKS, Work, copy
import train

DAMAGES = int(os.environ.get("DAMAGES", "3"))
# What every start writes, or that only people read. In a text each byte whose highest bit is set is damage that shows;
# a digit that became another one is not noticed in a log.
REWRITTEN = (".lock", ".claim", "log.txt", "tensorboard")


def files(folder: Path) -> dict[str, str]:
    """The digest of each file below a folder, but for those that every start writes."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    kept = [path for path in paths if not set(path.relative_to(folder).parts) & set(REWRITTEN)]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def truncate(path: Path, generator: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: generator.randrange(path.stat().st_size)])


def flip(path: Path, generator: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[generator.randrange(len(content))] ^= 0x80
    path.write_bytes(content)


WAYS: dict[str, Callable[[Path, random.Random], Any]] = {
    "truncated": truncate,
    "flipped": flip,
    "removed": lambda path, _: path.unlink(),
    "emptied": lambda path, _: path.write_bytes(b""),
}


def digests(folder: Path) -> dict[str, str]:
    """The digest of parameters and optimizer state of each run below a folder."""
    summaries = {str(path.relative_to(folder)): path for path in folder.rglob("summary.json")}
    return {name: json.loads(path.read_text())["state_digest"] for name, path in summaries.items()}


def interrupted(folder: Path) -> None:
    """Leaves a folder as if it had been killed just before the end of its first run."""
    for path in sorted(folder.rglob("summary.json"))[:1]:
        path.unlink()


def again(work: Work, folder: Path) -> tuple[int, str]:
    """Does the work again. Returns the exit code and what was printed. A single run is done in this process."""
    lines = work.commands(folder)
    if lines[0][0] == "train.py":
        with redirect_stdout(io.StringIO()) as output, redirect_stderr(output):
            try:
                train.main(lines[0][1:])
            except SystemExit as end:
                return int(end.code or 0), output.getvalue()
        return 0, output.getvalue()
    (process,) = work.start(folder)
    output, _ = process.communicate(timeout=600)
    return process.returncode, output


def damage(work: Work, folder: Path, name: str, way: str, kept: Path, expected: Any, generator: random.Random) -> str:
    """Damages a file and does the work again. Returns "same" or "refused".

    Args:
      kept: the undamaged folder, `expected` what came out of it.
    """
    WAYS[way](folder / name, generator)
    before = files(folder)
    code, output = again(work, folder)
    case = f"{name} {way}: {output[-3000:]}"
    assert "Traceback" not in output, case
    if not code:
        if name.endswith("metrics.jsonl"):  # the log of steps that are not done again is lost
            assert digests(folder) == digests(kept), case
        else:
            assert work.outcome(folder) == expected, case
        return "same"
    errors = [line for line in output.splitlines() if re.match(rf"(.*(error|failed)|{FIGURE}): ", line)]
    places = [part for part in Path(name).parts if part not in ("run", "runs", "trials")]
    assert any(part in error for part in places for error in errors), case
    after = files(folder)
    assert {path: after.get(path) for path in before if path not in work.remade} == {
        path: digest for path, digest in before.items() if path not in work.remade
    }, case
    return "refused"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in WORKS if name != "two processes"])
def test_a_damaged_file_is_made_again_or_named(name, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    work, generator = WORKS[name], random.Random(name)
    folder, kept = tmp_path / "work", tmp_path / "kept"  # paths stand in some files, so the place stays the same
    folder.mkdir()
    code, output = again(work, folder)  # compiled as it will be again
    assert code == 0, output
    expected = work.outcome(folder)
    folder.rename(kept)
    counts = {"same": 0, "refused": 0}
    for number in range(DAMAGES):
        copy(kept, folder)
        if number % 2:
            interrupted(folder)
        paths = [path for path in sorted(files(folder)) if (folder / path).stat().st_size]
        name_of_file, way = generator.choice(paths), generator.choice(list(WAYS))
        counts[damage(work, folder, name_of_file, way, kept, expected, generator)] += 1
    print(f"{name}: {DAMAGES} damages: {counts['same']} same bits, {counts['refused']} refused in a line, 0 wrong")
