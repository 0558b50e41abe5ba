"""Pairs of random tokens that come again: after A B ... A stands B, whatever A and B are."""

import numpy as np

from data.arrays import array_dataset
from data.dataset import Dataset

_SIZES = {"train": 50_000, "test": 2_000}


def repeats(
    *, train: str = "train", evaluation: str = "test", symbols: int = 16, pairs: int = 6, length: int = 16
) -> Dataset:
    """Returns sequences of `length` pairs of tokens, drawn from `pairs` pairs that are others in each sequence.

    All tokens of these pairs are different, of `symbols` that there are. The targets are one token on, and count behind
    the first token of a pair that came before: the second one follows. Made anew at each start, always the same; splits
    train (50,000) and test (2,000). Olsson et al. 2022 ("In-context learning and induction heads") ask for the like.
    """
    if not 2 <= 2 * pairs <= symbols or length < 2:
        raise ValueError(
            f"symbols = {symbols}, pairs = {pairs}, length = {length}: expected at least a pair, two symbols for each, "
            "and a length of 2 or more."
        )
    generator, count = np.random.default_rng(0), sum(_SIZES.values())
    different = generator.permuted(np.tile(np.arange(symbols, dtype=np.int32), (count, 1)), axis=1)
    drawn = generator.integers(pairs, size=(count, length))
    before = [(drawn[:, :place] == drawn[:, place, None]).any(axis=1) for place in range(length)]
    places = np.stack([2 * drawn, 2 * drawn + 1], axis=-1).reshape(count, 2 * length)
    tokens = np.take_along_axis(different, places, axis=1)
    counts = np.stack([np.stack(before, axis=1), np.zeros((count, length), bool)], axis=-1).reshape(count, 2 * length)
    made = {
        "inputs": {"tokens": tokens[:, :-1]},
        "targets": tokens[:, 1:],
        "weights": counts[:, :-1].astype(np.float32),
    }
    return array_dataset("repeats", made, _SIZES, train, evaluation, vocab_size=symbols, context=2 * length - 1)
