"""A tagging task on the documentation of Python: which words were in quotes?"""

from collections.abc import Sequence
import re
from typing import Annotated, Any

import numpy as np

from core.ranges import Range, Vocabulary
from data.dataset import Batch, Dataset, Reading
from data.identity import identity_of
from data.python_docs import PythonDocs
from data.sentence_pairs import frame, python_docs_vocabulary
from data.storage import open_embedded
from data.subwords import CLS, SEP
from data.text import builder_texts, split_text


def python_docs_quotes(
    *, context: Annotated[int, Range(3, 2**17)], vocab_size: Vocabulary = 2048, train: str = "train",
    evaluation: str = "validation",
) -> Dataset:  # fmt: skip
    """Returns paragraphs of `python_docs` without double quotes; class 1 marks the tokens that were in quotes, else 0.

    The quotes mark code, as in: The "assert" statement. A paragraph with an odd number of quotes is left out, and a
    long one becomes several examples. The vocabulary is that of `data.sentence_pairs`.

    Args:
      context: tokens of an example, including [CLS] and [SEP]; at least 3.
      vocab_size: tokens of the vocabulary.
      train, evaluation: splits, and slices of them counted in characters.

    Raises UserError for a split that does not exist.
    """
    vocabulary = python_docs_vocabulary(vocab_size)
    texts = builder_texts(open_embedded(PythonDocs))

    def source(split: str) -> TaggedTexts:
        examples = []
        for paragraph in re.split(r"\n\s*\n", split_text("python_docs", texts, split)):
            parts = paragraph.split('"')
            if len(parts) % 2:
                examples += _quoted(vocabulary.encode_all(parts), context - 2)
        tokens, mask = frame([tokens for tokens, _ in examples], context)
        targets = np.zeros_like(tokens)
        for row, (_, labels) in zip(targets, examples):
            row[1 : 1 + len(labels)] = labels
        return TaggedTexts(tokens, mask, targets, _words(tokens, mask))

    def read(items: Sequence[str]) -> TaggedTexts:
        tokens, mask = frame(vocabulary.encode_all(list(items)), context)
        return TaggedTexts(tokens, mask, np.zeros_like(tokens), _words(tokens, mask))

    return Dataset(
        facts={"vocab_size": len(vocabulary), "context": context, "classes": 2},
        train=source(train),
        evaluation=source(evaluation),
        evaluation_name=evaluation,
        vocabulary=vocabulary,
        classes=("outside", "quoted"),
        reading=Reading("texts", read),
    )


class TaggedTexts:
    """A source of texts between [CLS] and [SEP], tokens and mask (B, T), with a class and a weight for each token.

    Args:
      tokens, mask, targets, weights: (N, T) each.
    """

    draws = 0

    def __init__(self, tokens: np.ndarray, mask: np.ndarray, targets: np.ndarray, weights: np.ndarray):
        self._tokens, self._mask, self._targets, self._weights = tokens, mask, targets, weights

    def __len__(self) -> int:
        return len(self._tokens)

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, see `data.dataset.Source`."""
        return identity_of(len(self), self._tokens, self._targets)

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        return {
            "inputs": {"tokens": self._tokens[indices], "mask": self._mask[indices]},
            "targets": self._targets[indices],
            "weights": self._weights[indices],
        }


def _words(tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns the weight of each token, (N, T): 0 at [CLS], [SEP] and padding."""
    return (mask & (tokens != CLS) & (tokens != SEP)).astype(np.float32)


def _quoted(parts: list[np.ndarray], longest: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns pieces of up to `longest` tokens and their labels; every second of `parts` was in quotes."""
    tokens = np.concatenate(parts)
    labels = np.repeat(np.arange(len(parts)) % 2, [len(part) for part in parts])
    pieces = range(0, len(tokens), longest)
    return [(tokens[at : at + longest], labels[at : at + longest]) for at in pieces]
