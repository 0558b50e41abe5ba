"""Random text from a Markov chain: what a language model can learn of it, and no more, is known."""

import numpy as np

from data.arrays import array_dataset
from data.dataset import Dataset

_SIZES = {"train": 20_000, "test": 2_000}


def markov(*, train: str = "train", evaluation: str = "test", symbols: int = 12, context: int = 16) -> Dataset:
    """Returns sequences in which each token is drawn given the one before it; made anew at each start, always the same.

    Splits train (20,000) and test (2,000). The targets are one token on. No model can have a loss below `entropy_rate`
    in the long run, but for one that sees the target.
    """
    if symbols < 2 or context < 1:
        raise ValueError(f"symbols = {symbols}, context = {context}: expected at least 2 and 1.")
    generator, count = np.random.default_rng(1), sum(_SIZES.values())
    borders = transitions(symbols).cumsum(axis=1)
    tokens = np.empty((count, context + 1), np.int32)
    tokens[:, 0] = generator.choice(symbols, count, p=stationary(symbols))
    for place in range(context):
        tokens[:, place + 1] = _drawn(generator, borders[tokens[:, place]])
    made = {
        "inputs": {"tokens": tokens[:, :-1]},
        "targets": tokens[:, 1:],
        "weights": np.ones((count, context), np.float32),
    }
    return array_dataset("markov", made, _SIZES, train, evaluation, vocab_size=symbols, context=context)


def transitions(symbols: int) -> np.ndarray:
    """Returns the probabilities (from, to) of the chain."""
    return np.random.default_rng(0).dirichlet(np.full(symbols, 0.4), size=symbols)


def stationary(symbols: int) -> np.ndarray:
    """Returns how often each symbol comes in the long run."""
    equations = np.vstack([transitions(symbols).T - np.eye(symbols), np.ones(symbols)])
    return np.linalg.lstsq(equations, np.append(np.zeros(symbols), 1), rcond=None)[0]


def entropy_rate(symbols: int) -> float:
    """Returns the entropy of a symbol given those before it, in nats."""
    matrix = transitions(symbols)
    return float(-stationary(symbols) @ (matrix * np.log(matrix)).sum(axis=1))


def _drawn(generator: np.random.Generator, borders: np.ndarray) -> np.ndarray:
    """One draw for each row of cumulated probabilities."""
    return np.minimum((generator.random((len(borders), 1)) >= borders).sum(axis=1), borders.shape[1] - 1)
