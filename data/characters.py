"""The vocabulary of the single characters of a text."""

from dataclasses import dataclass
from functools import cached_property
import json
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from core.errors import UserError
from core.files import read_json, write_text
from data.vocabulary import checked_tokens


@dataclass(frozen=True)
class Characters:
    """One token for each character: its place in `symbols`, which are sorted and all different."""

    symbols: str

    @classmethod
    def of(cls, *texts: str) -> "Characters":
        """Returns the vocabulary of all characters in `texts`."""
        return cls("".join(sorted(set().union(*texts))))

    @classmethod
    def load(cls, path: str | Path) -> "Characters":
        """Reads what `save` wrote. Raises UserError where the file holds something else."""
        content = read_json(path)
        if not isinstance(content, dict) or content.get("type") != "characters":
            raise UserError(f"{path} does not hold a vocabulary of characters.")
        return cls(content["symbols"])

    def save(self, path: str | Path) -> None:
        """Writes `text()` to a file."""
        write_text(path, self.text())

    def text(self) -> str:
        """Returns {"type": "characters", "symbols": ...} as JSON."""
        return json.dumps({"type": "characters", "symbols": self.symbols})

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> np.ndarray:
        """Returns the tokens of `text`, int32 (T,). Raises UserError that names an unknown character."""
        codes = _code_points(text)
        tokens = np.searchsorted(self._codes, codes)
        unknown = np.append(self._codes, 0)[tokens] != codes
        unknown |= tokens == len(self)
        if unknown.any():
            raise UserError(
                f"The character {text[unknown.argmax()]!r} is not among the {len(self)} characters of the "
                f"training text. Use only these: {self.symbols!r}."
            )
        return tokens.astype(np.int32)

    def encode_all(self, texts: list[str]) -> list[np.ndarray]:
        """Returns the tokens of each text, int32 (T,)."""
        return [self.encode(text) for text in texts]

    def decode(self, tokens: ArrayLike) -> str:
        """Returns the text of `tokens`, integers (T,). Raises ValueError for a token outside the vocabulary."""
        return "".join(self.symbols[token] for token in checked_tokens(tokens, len(self)))

    @cached_property
    def _codes(self) -> np.ndarray:
        return _code_points(self.symbols)


def _code_points(text: str) -> np.ndarray:
    """Returns the Unicode code points of `text`, uint32 (T,)."""
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
