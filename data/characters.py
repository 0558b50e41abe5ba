"""A vocabulary of single characters."""

from dataclasses import dataclass
from functools import cached_property
import json
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Characters:
    """One token a character; its number is its place in `symbols`, which are sorted and all different."""

    symbols: str

    @classmethod
    def of(cls, *texts: str) -> "Characters":
        """Returns the vocabulary of all characters in `texts`."""
        return cls("".join(sorted(set().union(*texts))))

    @classmethod
    def load(cls, path: str | Path) -> "Characters":
        """Reads what `save` wrote. Raises ValueError where the file holds something else."""
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content.get("type") != "characters":
            raise ValueError(f"{path} does not hold a vocabulary of characters.")
        return cls(content["symbols"])

    def save(self, path: str | Path) -> None:
        """Writes `text()` to a file."""
        Path(path).write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """Returns {"type": "characters", "symbols": ...} as JSON."""
        return json.dumps({"type": "characters", "symbols": self.symbols})

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> np.ndarray:
        """Returns the tokens of `text`, int32 (T,). Raises ValueError that names an unknown character."""
        codes = _codes(text)
        tokens = np.searchsorted(self._codes, codes)
        unknown = np.append(self._codes, 0)[tokens] != codes
        unknown |= tokens == len(self)
        if unknown.any():
            raise ValueError(
                f"The character {text[unknown.argmax()]!r} is not among the {len(self)} characters of the "
                f"training text. Use only these: {self.symbols!r}."
            )
        return tokens.astype(np.int32)

    def decode(self, tokens: np.ndarray) -> str:
        """Returns the text of `tokens`, integers (T,). Raises ValueError for one outside the vocabulary."""
        tokens = np.asarray(tokens, dtype=np.int64)
        if ((tokens < 0) | (tokens >= len(self))).any():
            raise ValueError(f"Tokens must lie in 0..{len(self) - 1}, got {tokens.min()}..{tokens.max()}.")
        return "".join(self.symbols[token] for token in tokens)

    @cached_property
    def _codes(self) -> np.ndarray:
        return _codes(self.symbols)


def _codes(text: str) -> np.ndarray:
    """Returns the Unicode code points of `text`, uint32 (T,)."""
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
