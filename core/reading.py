"""Reads files that users bring: ordinary files only, and text as UTF-8 with or without a byte-order mark."""

import codecs
from pathlib import Path
import stat

from core.errors import UserError

_OTHER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32",  # before UTF-16, whose mark begins the same
    codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip


def read_file(path: str | Path) -> bytes:
    """Returns the content of an ordinary file.

    Raises:
      UserError: there is no such file, it is not an ordinary one (a pipe would make the reader wait for ever), or it
        may not be read.
    """
    refuse_special_file(path)
    try:
        return Path(path).read_bytes()
    except PermissionError as error:
        raise UserError(f"{path} may not be read: {error.strerror}.") from error


def refuse_special_file(path: str | Path) -> None:
    """Raises UserError, which names the path, unless an ordinary file is there."""
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        link = ": it is a link to nothing" if Path(path).is_symlink() else ""
        raise UserError(f"There is no file {path}{link}.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(mode), "a device")
        raise UserError(f"{path} is {kind}: expected an ordinary file. Move it away, or name another one.")


def read_text(path: str | Path) -> str:
    """Returns the text of a UTF-8 file without its byte-order mark; line ends stay as they are.

    Raises:
      UserError: as `read_file`, or the content is not UTF-8; the message names the first line that is not.
    """
    content = read_file(path)
    for mark, encoding in _OTHER_MARKS.items():
        if content.startswith(mark):
            raise UserError(f"{path} is {encoding}, not UTF-8. Convert it: iconv -f {encoding} -t UTF-8")
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line_start = content.rfind(b"\n", 0, error.start) + 1
        line, byte = content.count(b"\n", 0, error.start) + 1, error.start - line_start + 1
        raise UserError(
            f"{path}, line {line}: not UTF-8 ({error.reason} at byte {byte} of the line). "
            "Convert the file, for example with iconv -t UTF-8."
        ) from error
