"""Files that are written whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
import json
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path to write to, and moves it to `path` once it is written.

    A reader sees the old file or the new one, never a part, also after a crash. Several processes may write at once:
    each has a temporary file of its own, and the last one wins. If the body raises, `path` stays as it was. An OSError
    names `path`.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, f"{path} could not be written ({error.strerror}); the old file is kept") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` through `replacing`. A file that already holds exactly this text is left alone."""
    path = Path(path)
    if path.is_file() and path.read_bytes() == text.encode():
        return
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value) -> None:
    """Writes `value` as indented JSON through `write_text`. NaN and infinity, which JSON lacks, become null."""
    strict = json.loads(json.dumps(value), parse_constant=lambda _: None)
    write_text(path, json.dumps(strict, indent=2) + "\n")
