"""Reads the user's text files that hold one item per line."""

from pathlib import Path

from core.errors import UserError


def read_lines(path: str | Path) -> list[str]:
    """Returns the lines of a UTF-8 file without their line ends.

    Raises UserError where there is no such file, and for a line that is empty or not UTF-8.
    """
    if not Path(path).is_file():
        raise UserError(f"There is no file {path}.")
    # Only \n and \r\n end a line: str.splitlines would also split at characters such as \x85 and \u2028.
    lines = Path(path).read_bytes().removesuffix(b"\n").split(b"\n")
    texts = []
    for number, line in enumerate(lines, start=1):
        try:
            text = line.removesuffix(b"\r").decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path}, line {number}: not UTF-8 ({error.reason} at byte {error.start + 1} of the line). "
                "Convert the file, for example with iconv -t UTF-8."
            ) from error
        if not text.strip():
            raise UserError(f"{path}, line {number}: empty. Every line must hold text; remove it or fill it.")
        texts.append(text)
    return texts
