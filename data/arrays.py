"""Examples that are made as whole arrays."""

import numpy as np

from data.dataset import Batch, Dataset
from data.storage import split_rows


def array_dataset(name: str, made: Batch, sizes: dict[str, int], train: str, evaluation: str, **facts) -> Dataset:
    """Returns the set `name`, whose splits, of these sizes, follow one another in the batch `made` of all examples.

    `facts` are what a model must agree with. Raises ValueError where a split does not exist.
    """
    source = lambda spec: Arrays(made, split_rows(name, sizes, spec))
    return Dataset(facts=facts, train=source(train), evaluation=source(evaluation), evaluation_name=evaluation)


class Arrays:
    """A source of the given rows of a batch."""

    draws = 0

    def __init__(self, batch: Batch, rows: np.ndarray):
        self._batch = _take(batch, rows)

    def __len__(self) -> int:
        return len(self._batch["weights"])

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        return _take(self._batch, indices)


def _take(part, rows: np.ndarray):
    return {name: _take(x, rows) for name, x in part.items()} if isinstance(part, dict) else part[rows]
