"""Data sets whose examples are all held in memory, as one large batch."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from data.dataset import Batch, Dataset
from data.identity import identity_of
from data.splits import split_rows


def array_dataset(name: str, examples: Batch, sizes: dict[str, int], train: str, evaluation: str, **facts) -> Dataset:
    """Returns the set `name`, whose examples are the rows of one batch.

    Args:
      examples: all examples as one batch, split after split.
      sizes: the number of examples of each split, in the same order.
      train, evaluation: the splits to use, in TFDS notation.
      facts: what a model must agree with, see `Dataset`.

    Raises UserError for a split that does not exist.
    """
    source = lambda spec: ArraySource(examples, split_rows(name, sizes, spec))
    return Dataset(facts=facts, train=source(train), evaluation=source(evaluation), evaluation_name=evaluation)


class ArraySource:
    """A source of some rows of a batch.

    Args:
      examples: a batch. rows: indices of the rows to use, (N,).
    """

    draws = 0

    def __init__(self, examples: Batch, rows: np.ndarray):
        self._batch = _rows_of(examples, rows)

    def __len__(self) -> int:
        return len(self._batch["weights"])

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, see `data.dataset.Source`."""
        return identity_of(len(self), *_leaves(self._batch))

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        return _rows_of(self._batch, indices)


def _leaves(values: Any) -> Iterator[np.ndarray]:
    """Yields every array of a nested dictionary."""
    for value in values.values():
        yield from _leaves(value) if isinstance(value, dict) else [value]


def _rows_of(values: Any, rows: np.ndarray) -> Any:
    """Indexes every array of a nested dictionary."""
    return {name: _rows_of(x, rows) for name, x in values.items()} if isinstance(values, dict) else values[rows]
