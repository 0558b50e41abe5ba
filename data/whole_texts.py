"""Texts as a classifier reads them: each is one example, cut where it is longer than the context."""

import numpy as np

from core.errors import UserError
from core.notes import note
from data.bytes import Bytes
from data.subwords import CLS, SEP, Subwords


class WholeTexts:
    """Turns each text into the tokens of one example.

    Args:
      name: of the set, for a message that says how many texts were cut.
      tokenizer: "bytes" for one token per byte; or a file of `data.subwords.Subwords`, in which case a text stands
        between [CLS] and [SEP], as for BERT.
      context: the longest example, in tokens.

    Attributes:
      vocabulary: maps text to tokens and back.

    Raises UserError where the file is none, and for a context that holds no token.
    """

    def __init__(self, name: str, *, tokenizer: str, context: int):
        self._framed, self._name = tokenizer != "bytes", name
        self._longest = context - 2 * self._framed
        if self._longest < 1:
            raise UserError(f"context = {context}: expected at least 1 token, or 3 with [CLS] and [SEP].")
        self.vocabulary = Subwords.load(tokenizer) if self._framed else Bytes()

    def encode(self, texts: list[str]) -> list[np.ndarray]:
        """Returns the tokens of each text, (T,) with T <= the context."""
        tokens, longest = self.vocabulary.encode_all(texts), self._longest
        if cut := sum(len(text) > longest for text in tokens):
            note(f"{self._name}: {cut:,} of {len(texts):,} texts are longer than {longest:,} tokens and were cut")
        tokens = [text[:longest] for text in tokens]
        return [np.concatenate([[CLS], text, [SEP]]) for text in tokens] if self._framed else tokens
