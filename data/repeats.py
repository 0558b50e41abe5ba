"""Pairs of random tokens that are repeated: after A B ... A comes B, whatever A and B are."""

from typing import Annotated

import numpy as np

from core.errors import UserError
from core.ranges import Range
from data.dataset import Dataset
from data.in_memory import array_dataset

_SIZES = {"train": 50_000, "test": 2_000}


def repeats(
    *, train: str = "train", evaluation: str = "test", symbols: Annotated[int, Range(2, 1024)] = 16,
    pairs: Annotated[int, Range(1, 512)] = 6, length: Annotated[int, Range(2, 256)] = 16,
) -> Dataset:  # fmt: skip
    """Returns sequences of `length` pairs of tokens, drawn from `pairs` pairs that differ between sequences.

    All tokens of these pairs are different, and are chosen from `symbols`. The targets are the next tokens. Their
    weights are 1 where a pair that occurred before has begun again, so that its second token can be predicted, else 0.
    The sequences are generated at each start, always the same ones; splits train (50,000) and test (2,000). The task is
    like that of Olsson et al. 2022, "In-context learning and induction heads".
    """
    if 2 * pairs > symbols:
        raise UserError(f"symbols = {symbols}, pairs = {pairs}: expected at least 2 symbols per pair.")
    generator, count = np.random.default_rng(0), sum(_SIZES.values())
    different = generator.permuted(np.tile(np.arange(symbols, dtype=np.int32), (count, 1)), axis=1)
    pair = generator.integers(pairs, size=(count, length))
    before = [(pair[:, :place] == pair[:, place, None]).any(axis=1) for place in range(length)]
    places = np.stack([2 * pair, 2 * pair + 1], axis=-1).reshape(count, 2 * length)
    tokens = np.take_along_axis(different, places, axis=1)
    weights = np.stack([np.stack(before, axis=1), np.zeros((count, length), bool)], axis=-1).reshape(count, 2 * length)
    examples = {
        "inputs": {"tokens": tokens[:, :-1]},
        "targets": tokens[:, 1:],
        "weights": weights[:, :-1].astype(np.float32),
    }
    return array_dataset("repeats", examples, _SIZES, train, evaluation, vocab_size=symbols, context=2 * length - 1)
