"""Notes to the user about what a program does."""

import sys


def note(text: str) -> None:
    """Prints a note to standard error, so that it never gets among results that are piped on."""
    print(text, file=sys.stderr, flush=True)
