"""Reads the user's text files that hold one item per line."""

from pathlib import Path

from core.errors import UserError
from core.reading import read_text


def read_lines(path: str | Path) -> list[str]:
    """Returns the lines of a UTF-8 file without their line ends.

    Raises UserError where there is no such file, and for a line that is empty or not UTF-8.
    """
    # Only \n and \r\n end a line: str.splitlines would also split at characters such as \x85 and \u2028.
    lines = [line.removesuffix("\r") for line in read_text(path).removesuffix("\n").split("\n")]
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise UserError(f"{path}, line {number}: empty. Every line must hold text; remove it or fill it.")
    return lines
