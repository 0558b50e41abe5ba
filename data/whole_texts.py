"""Texts as a classifier reads them: each is one example, cut where it is longer than the context."""

import numpy as np

from core.errors import UserError
from data.bytes import Bytes
from data.subwords import CLS, SEP, Subwords


def longest_text(tokenizer: str, context: int) -> int:
    """Returns how many tokens of a text fit, see `whole_texts`. Raises UserError for a context that holds none."""
    longest = context if tokenizer == "bytes" else context - 2
    if longest < 1:
        raise UserError(f"context = {context}: expected at least 1 token, or 3 with [CLS] and [SEP].")
    return longest


def whole_texts(
    name: str, texts: list[str], *, tokenizer: str, context: int
) -> tuple[Bytes | Subwords, list[np.ndarray]]:
    """Returns the vocabulary and the tokens of each text, (T,) with T <= `context`.

    Args:
      name: of the set, for a message that says how many texts were cut.
      tokenizer: "bytes" for one token per byte; or a file of `data.subwords.Subwords`, in which case a text stands
        between [CLS] and [SEP], as for BERT.

    Raises UserError where the file is none, and as `longest_text`.
    """
    longest = longest_text(tokenizer, context)
    vocabulary = Bytes() if tokenizer == "bytes" else Subwords.load(tokenizer)
    tokens = vocabulary.encode_all(texts)
    if cut := sum(len(text) > longest for text in tokens):
        print(f"{name}: {cut:,} of {len(texts):,} texts are longer than {longest:,} tokens and were cut", flush=True)
    tokens = [text[:longest] for text in tokens]
    return vocabulary, tokens if tokenizer == "bytes" else [np.concatenate([[CLS], text, [SEP]]) for text in tokens]
