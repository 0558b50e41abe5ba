"""Atomic writes: a file is written completely or not at all. And JSON, which is read from files of any origin."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
import difflib
import json
import os
from pathlib import Path
import threading
from typing import Any

import orjson

from core.errors import UserError, reason
from core.reading import read_text

ROOT = Path(__file__).resolve().parents[1]  # of the project
DEEPEST = 100  # levels of a JSON text


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path to write to, and moves it to `path` when the block ends.

    A reader sees the old file or the new one, never a part, also after a crash. Several processes and threads may write
    at once: each has a temporary file of its own, and the last one wins.

    Raises:
      UserError: there is no folder to write into.
      OSError: the file cannot be written; the message names `path`, which stays as it was. It also stays as it was
        if the block raises anything else.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"{path} could not be written: there is no folder {path.parent}")
    # The name begins with a part of that of `path`, which may itself be as long as a name can be.
    temporary = path.with_name(f".{path.name[:50]}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, f"{path} could not be written ({error.strerror}); the old file is kept") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def find(path: str) -> str:
    """Returns a path, or that below the project's folder where only this exists: configs are named from anywhere."""
    if not Path(path).exists() and (below := ROOT / path).is_file():
        return str(below)
    return path


def make_folder_of(path: str | Path) -> None:
    """Makes the folder of a file that will be written, with those above it.

    Raises:
      UserError: there is a file in the place of a folder.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{path} cannot be written: {error.filename} is no folder") from error


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` through `replacing`. A file that already holds exactly this text is left alone."""
    path = Path(path)
    if path.is_file() and path.read_bytes() == text.encode():
        return
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_figure(path: str | Path, figure: Any, **options: Any) -> None:
    """Writes a Matplotlib figure through `replacing`, as the ending of `path` says; PNG without one.

    Raises:
      UserError: no picture has this ending.
    """
    ending = Path(path).suffix.removeprefix(".").lower() or "png"
    if ending not in (endings := figure.canvas.get_supported_filetypes()):
        raise UserError(f"{path}: expected a name that ends with one of {', '.join(sorted(endings))}")
    with replacing(path) as temporary:
        figure.savefig(temporary, format=ending, **options)


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as indented JSON through `write_text`. NaN and infinity, which JSON lacks, become null."""
    strict = json.loads(json.dumps(value), parse_constant=lambda _: None)
    write_text(path, json.dumps(strict, indent=2) + "\n")


def parse_json(text: str | bytes) -> Any:
    """Returns what a JSON text holds.

    Raises:
      ValueError: it is not JSON, or is nested deeper than 100 levels, which no file of ours is and no recursive
        function need stand.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    brackets = text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")
    if brackets > DEEPEST:
        level = [value]
        for _ in range(DEEPEST + 1):
            level = [x for parent in level for x in _children(parent)]
        if level:
            raise ValueError("nested too deeply")
    return value


def parse_json_lines(lines: Sequence[bytes]) -> list:
    """Returns what each line holds, parsed at once: logs have up to a million lines.

    Raises:
      ValueError: a line is not JSON, or is nested deeper than orjson allows. It does not say which line.
    """
    return orjson.loads(b"[" + b",".join(lines) + b"]")


def _children(value: Any) -> list:
    """The lists and dictionaries in a list or dictionary."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [x for x in inner if isinstance(x, (dict, list))]


def read_json(path: str | Path, *keys: str) -> Any:
    """Returns what a JSON file holds. With `keys`, this is an object that has at least these.

    Raises:
      UserError: there is no such file, it is not JSON, or it holds something else.
    """
    if not Path(path).exists():
        raise UserError(f"{path} does not exist")
    try:
        content = parse_json(read_text(path))
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path} is damaged: it is not JSON ({reason(error)})") from error
    if keys and not (isinstance(content, dict) and content.keys() >= set(keys)):
        raise UserError(f"{path} is damaged: expected a JSON object with {', '.join(keys)}")
    return content


def refuse_unknown_keys(place: str | Path, content: Mapping, keys: Iterable[str]) -> None:
    """Raises UserError if something that a user wrote has a key that nobody reads, which may be a misspelt one.

    `place` says where it was written, for the message.
    """
    keys = sorted(keys)
    for key in content:
        if key not in keys:
            close = difflib.get_close_matches(str(key), keys, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise UserError(f"{place}: {str(key)[:100]!r} is not read by anything.{hint} Expected {', '.join(keys)}")
