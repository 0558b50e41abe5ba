"""The vocabulary of single bytes: it knows every text and is the same for all of them."""

import json
from pathlib import Path

import numpy as np

from data.subwords import SPECIALS


class Bytes:
    """One token for each byte of the text in UTF-8: its value, after the special tokens, which no text gives."""

    def save(self, path: str | Path) -> None:
        """Writes `text()` to a file."""
        Path(path).write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """Returns {"type": "bytes", "special": ...} as JSON."""
        return json.dumps({"type": "bytes", "special": SPECIALS})

    def __len__(self) -> int:
        return len(SPECIALS) + 256

    def encode(self, text: str) -> np.ndarray:
        """Returns the tokens of `text`, int32 (T,)."""
        return np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int32) + len(SPECIALS)

    def decode(self, tokens: np.ndarray) -> str:
        """Returns the text of `tokens`, integers (T,), without the special ones; what is not UTF-8 becomes "\\ufffd".

        Raises ValueError for one outside the vocabulary.
        """
        tokens = np.asarray(tokens, np.int64)
        if ((tokens < 0) | (tokens >= len(self))).any():
            raise ValueError(f"Tokens must lie in 0..{len(self) - 1}, got {tokens.min()}..{tokens.max()}.")
        values = tokens[tokens >= len(SPECIALS)] - len(SPECIALS)
        return values.astype(np.uint8).tobytes().decode("utf-8", errors="replace")
