"""What every vocabulary can do: `data.characters`, `data.bytes` and `data.subwords` are three of them."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike


class Vocabulary(Protocol):
    """Maps text to tokens and back."""

    def save(self, path: str | Path) -> None:
        """Writes `text()` to a file."""
        ...

    def text(self) -> str:
        """Returns the vocabulary itself as JSON; two are the same where these are equal."""
        ...

    def __len__(self) -> int:
        """Returns the number of tokens."""
        ...

    def encode(self, text: str) -> np.ndarray:
        """Returns the tokens of `text`, int32 (T,)."""
        ...

    def decode(self, tokens: ArrayLike) -> str:
        """Returns the text of `tokens`, integers (T,). Raises ValueError for a token outside the vocabulary."""
        ...


def checked_tokens(tokens: ArrayLike, size: int) -> np.ndarray:
    """Returns `tokens` as int64. Raises ValueError where one is outside a vocabulary of `size` tokens."""
    numbers = np.asarray(tokens, np.int64)
    if ((numbers < 0) | (numbers >= size)).any():
        raise ValueError(f"Tokens must lie in 0..{size - 1}, got {numbers.min()}..{numbers.max()}.")
    return numbers
