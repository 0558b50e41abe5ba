"""The vocabulary of single bytes, which can encode every text."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from core.files import write_text
from data.subwords import SPECIALS
from data.vocabulary import checked_tokens


class Bytes:
    """One token for each byte of the text in UTF-8: the byte's value, counted after the special tokens."""

    def save(self, path: str | Path) -> None:
        """Writes `text()` to a file."""
        write_text(path, self.text())

    def text(self) -> str:
        """Returns {"type": "bytes", "special": ...} as JSON."""
        return json.dumps({"type": "bytes", "special": SPECIALS})

    def __len__(self) -> int:
        return len(SPECIALS) + 256

    def encode(self, text: str) -> np.ndarray:
        """Returns the tokens of `text`, int32 (T,)."""
        return np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int32) + len(SPECIALS)

    def decode(self, tokens: ArrayLike) -> str:
        """Returns the text of `tokens`, integers (T,), without special tokens; invalid UTF-8 becomes "\\ufffd".

        Raises ValueError for a token outside the vocabulary.
        """
        numbers = checked_tokens(tokens, len(self))
        values = numbers[numbers >= len(SPECIALS)] - len(SPECIALS)
        return values.astype(np.uint8).tobytes().decode("utf-8", errors="replace")
