"""On a terminal: what is printed before the first step, and after the last one, has lines of its own."""

from contextlib import suppress
import os
import pty
import re
import subprocess
import sys

from tests import tiny

CODE = """
from training.log import Display
import time
display = Display(300)
print("part       parameters")
print("embedding  1,234")
for step in range(1, 4):
    display.step(step)
    display.progress(step, "loss 1.5")
    time.sleep(0.3)
    print("warning: a note")
    display.line(step, "test  loss 1.25")
display.close()
print("train/loss  1.5")
"""


def on_a_terminal(code: str) -> list[str]:
    """The lines that are left on a terminal of a process that runs this code."""
    ours, its = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=its, stdout=its, stderr=its, cwd=tiny.ROOT, env=environment
    )
    os.close(its)
    output = b""
    with suppress(OSError):  # how Linux ends a terminal
        while part := os.read(ours, 4096):
            output += part
    os.close(ours)
    assert process.wait() == 0
    return screen(output.decode())


def screen(output: str) -> list[str]:
    """What a terminal shows: carriage returns, line feeds, cursor up and erased lines; colours are left out."""
    rows, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", output):
        if token == "\n":
            row += 1
            rows += [""] * (row - len(rows) + 1)
        elif token == "\r":
            column = 0
        elif token.startswith("\x1b"):
            count = int(re.sub(r"\D", "", token) or 1)
            if token.endswith("A"):
                row -= count
            elif token.endswith("K"):
                rows[row] = "" if token == "\x1b[2K" else rows[row][:column]
        else:
            rows[row] = rows[row][:column].ljust(column) + token + rows[row][column + len(token) :]
            column += len(token)
    return [row.rstrip() for row in rows if row.strip()]


def test_the_bar_shares_no_line_with_what_is_printed_before_between_and_after():
    lines = on_a_terminal(CODE)
    assert lines[:2] == ["part       parameters", "embedding  1,234"]
    assert lines.count("warning: a note") == 3
    assert [line for line in lines if "test  loss" in line] == [f"step   {n}/300  test  loss 1.25" for n in (1, 2, 3)]
    assert lines[-1] == "train/loss  1.5"
    (bar,) = [line for line in lines if "3/300" in line and "loss 1.5" in line]
    assert "part" not in bar and "train/loss" not in bar
