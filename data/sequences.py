"""Sequences of tokens of different lengths, each with a class, as batches with padding and a mask."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.dataset import Batch, Dataset, Reading
from data.identity import identity_of
from data.splits import split_rows
from data.vocabulary import Vocabulary

Encode = Callable[[list[str]], list[np.ndarray]]


@dataclass(frozen=True)
class Sequences:
    """Sequences of different lengths and their classes, stored in three arrays.

    Attributes:
      tokens: the tokens of all sequences, one after the other, of any integer type.
      lengths: the number of tokens of each sequence, (N,).
      targets: the class of each sequence, (N,).
    """

    tokens: np.ndarray
    lengths: np.ndarray
    targets: np.ndarray

    @classmethod
    def of(cls, sequences: Sequence[np.ndarray], targets: Sequence[int]) -> "Sequences":
        """Returns the concatenation of `sequences`, each (T,), with their classes."""
        return cls(np.concatenate(sequences), np.array([len(x) for x in sequences]), np.array(targets, np.int32))


def sequence_dataset(
    name: str, sequences: Sequences, sizes: dict[str, int], train: str, evaluation: str, *, context: int,
    vocabulary: Vocabulary | None = None, names: Sequence[str] | None = None, encode: Encode | None = None, **facts,
) -> Dataset:  # fmt: skip
    """Returns the set `name` of labelled sequences.

    Args:
      sequences: all examples, split after split.
      sizes: the number of examples of each split, in the same order.
      train, evaluation: the splits to use, in TFDS notation.
      context: the length that sequences are padded or cut to, also one of the facts.
      names: those of the classes.
      encode: from texts to the tokens of each, as the sequences were made of texts; None if they were not.
      facts: what a model must agree with, see `Dataset`.

    Raises UserError for a split that does not exist.
    """
    rows = lambda spec: split_rows(name, sizes, spec)
    return Dataset(
        facts={"context": context} | facts,
        train=LabelledSequences(sequences, rows(train), context),
        evaluation=LabelledSequences(sequences, rows(evaluation), context),
        evaluation_name=evaluation,
        vocabulary=vocabulary,
        classes=None if names is None else tuple(names),
        reading=None if encode is None else text_reading(encode, context),
    )


def text_reading(encode: Encode, context: int) -> Reading:
    """Returns how texts are read for a model of sequences of up to `context` tokens."""

    def source(texts: Sequence[str]) -> LabelledSequences:
        rows = np.arange(len(texts))
        return LabelledSequences(Sequences.of(encode(list(texts)), [0] * len(texts)), rows, context)

    return Reading("texts", source)


class LabelledSequences:
    """A source of tokens int32 (B, T) with T = `context`, mask bool (B, T), False at padding, targets int32 (B,).

    Padding is token 0. A sequence longer than `context` is cut.

    Args:
      sequences: all sequences. rows: the indices of those to use, (N,).
    """

    draws = 0

    def __init__(self, sequences: Sequences, rows: np.ndarray, context: int):
        self._tokens = sequences.tokens
        self._starts = (sequences.lengths.cumsum() - sequences.lengths)[rows]
        self._lengths = sequences.lengths[rows]
        self._targets = sequences.targets[rows]
        self._places = np.arange(context)

    def __len__(self) -> int:
        return len(self._targets)

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, see `data.dataset.Source`."""
        ends = self._starts + self._lengths
        breaks = np.flatnonzero(self._starts[1:] != ends[:-1]) + 1  # sequences that follow one another are one piece
        firsts, lasts = np.append(0, breaks), np.append(breaks - 1, len(self) - 1)
        pieces = [self._tokens[self._starts[first] : ends[last]] for first, last in zip(firsts, lasts)]
        return identity_of(len(self), self._lengths, self._targets, *pieces)

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        mask = self._places < self._lengths[indices, None]
        places = self._starts[indices, None] + np.where(mask, self._places, 0)
        return {
            "inputs": {"tokens": np.where(mask, self._tokens[places], 0).astype(np.int32), "mask": mask},
            "targets": self._targets[indices],
            "weights": np.ones(len(indices), np.float32),
        }
