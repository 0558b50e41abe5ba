"""The exceptions that a command does not treat as bugs: a user's mistake, and work that was asked to stop."""

import re
from typing import Any

LONGEST = 100  # characters of a value in a message
_LOOSE_BREAK = re.compile(r"\n(?!  )")
_LONG_WORD = re.compile(r"\S{300,}")  # longer than the path of a file is in practice


def printable(text: str) -> str:
    """Returns `text` without what a terminal would act on, or could not show: "\\x1b" stands for an escape character.

    Line breaks and tabs stay. Names of files, tensors and fields come from elsewhere and may hold anything.
    """
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


class UserError(ValueError):
    """A mistake of the user's: a wrong field, a missing file, a damaged folder.

    Raise it where input is checked. The message is one sentence, or a few lines, that name what is wrong, what was
    expected and what to do; each line after the first begins with two blanks. What names and values of a user's may
    hold is dealt with here: what a terminal would act on (`printable`), hundreds of characters, and other line breaks.
    A command prints it without a stack trace (`core.command`). Every other exception is a bug and keeps its trace.
    """

    def __init__(self, message: object = ""):
        text = _LOOSE_BREAK.sub(r"\\n", printable(str(message)))
        super().__init__(_LONG_WORD.sub(lambda word: cut(word[0]), text))


class Stopped(Exception):
    """Work that was asked to stop, by Ctrl-C or a signal, and has saved what it had.

    Attributes:
      code: the exit code of the process, 128 + the signal's number.
    """

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


def shown(value: Any) -> str:
    """Returns a value as Python writes it, for a message; a long one is cut."""
    return cut(repr(value))


def cut(text: str, longest: int = LONGEST) -> str:
    """Returns a text for a message, in one line; of more than `longest` characters, the middle is left out."""
    text = text.replace("\n", "\\n").replace("\t", "\\t")
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}... ({len(text):,} characters) ...{text[-half:]}"


def reason(error: BaseException) -> str:
    """Returns what an exception says, in one line, for the message of a UserError: libraries write several lines."""
    return cut(str(error), 300)
