"""Random text from a Markov chain, whose entropy rate, the lowest loss of a language model, is known."""

from typing import Annotated

import numpy as np

from core.ranges import Range
from data.dataset import Dataset
from data.in_memory import array_dataset

_SIZES = {"train": 20_000, "test": 2_000}


def markov(
    *, train: str = "train", evaluation: str = "test", symbols: Annotated[int, Range(2, 1024)] = 12,
    context: Annotated[int, Range(1, 1024)] = 16,
) -> Dataset:  # fmt: skip
    """Returns sequences of `context` tokens in which each token depends on the one before it.

    The targets are the next tokens. In the long run no model can have a loss below `entropy_rate`, unless it sees the
    target. The sequences are generated at each start, always the same ones; splits train (20,000) and test (2,000).
    """
    generator, count = np.random.default_rng(1), sum(_SIZES.values())
    # The cumulative probabilities of each row, behind those of the rows before it: one sorted array for all.
    borders = (transitions(symbols).cumsum(axis=1) + np.arange(symbols)[:, None]).ravel()
    tokens = np.empty((count, context + 1), np.int32)
    tokens[:, 0] = generator.choice(symbols, count, p=stationary(symbols))
    for place in range(context):
        row = tokens[:, place]
        smaller = np.searchsorted(borders, row + generator.random(count), side="right") - row * symbols
        tokens[:, place + 1] = np.clip(smaller, 0, symbols - 1)
    examples = {
        "inputs": {"tokens": tokens[:, :-1]},
        "targets": tokens[:, 1:],
        "weights": np.ones((count, context), np.float32),
    }
    return array_dataset("markov", examples, _SIZES, train, evaluation, vocab_size=symbols, context=context)


def transitions(symbols: int) -> np.ndarray:
    """Returns the transition probabilities of the chain, (from, to)."""
    return np.random.default_rng(0).dirichlet(np.full(symbols, 0.4), size=symbols)


def stationary(symbols: int) -> np.ndarray:
    """Returns the stationary distribution of the chain, (symbols,)."""
    equations = np.vstack([transitions(symbols).T - np.eye(symbols), np.ones(symbols)])
    return np.linalg.lstsq(equations, np.append(np.zeros(symbols), 1), rcond=None)[0]


def entropy_rate(symbols: int) -> float:
    """Returns the entropy of a symbol given those before it, in nats."""
    matrix = transitions(symbols)
    return float(-stationary(symbols) @ (matrix * np.log(matrix)).sum(axis=1))
