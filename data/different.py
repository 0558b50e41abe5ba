"""Draws what is different: rows that occur only once, so that splits share no example, and numbers within a row."""

import numpy as np


def first_different(rows: np.ndarray, count: int) -> np.ndarray:
    """Returns the indices of the first `count` of the rows (N, M) that differ from all rows before them, in order.

    There are fewer indices where fewer rows differ.
    """
    return np.sort(np.unique(rows, axis=0, return_index=True)[1])[:count]


def different_numbers(generator: np.random.Generator, count: int, below: int, size: int) -> np.ndarray:
    """Returns rows of `size` different numbers from 0 to `below` - 1, in random order, int32 (count, size).

    Each row is a random subset (Floyd's algorithm, Bentley & Floyd 1987), so nothing as long as `below` is shuffled.
    """
    numbers = np.empty((count, size), np.int32)
    for place, last in enumerate(range(below - size, below)):
        drawn = generator.integers(last + 1, size=count, dtype=np.int32)
        taken = (numbers[:, :place] == drawn[:, None]).any(axis=1)
        numbers[:, place] = np.where(taken, last, drawn)
    return generator.permuted(numbers, axis=1)
