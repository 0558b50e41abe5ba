"""Text files of the user's own, one item a line."""

from pathlib import Path


def read_lines(path: str | Path) -> list[str]:
    """Returns the lines of a UTF-8 file without their ends.

    Raises FileNotFoundError, or ValueError that names the line which is empty or not UTF-8.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    # Only \n and \r\n end a line: str.splitlines would also split at characters such as \x85 and \u2028.
    lines = Path(path).read_bytes().removesuffix(b"\n").split(b"\n")
    texts = []
    for number, line in enumerate(lines, start=1):
        try:
            text = line.removesuffix(b"\r").decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}, line {number}: not UTF-8 ({error.reason} at byte {error.start + 1} of the line). "
                "Convert the file, for example with iconv -t UTF-8."
            ) from error
        if not text.strip():
            raise ValueError(f"{path}, line {number}: empty. Every line must hold text; remove it or fill it.")
        texts.append(text)
    return texts
