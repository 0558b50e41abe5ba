"""Smooth random fields on a grid, as tokens row by row: a missing value can be inferred from its neighbours."""

from statistics import NormalDist
from typing import Annotated

import numpy as np

from core.ranges import Range
from data.dataset import Dataset
from data.in_memory import array_dataset

_SIZES = {"train": 50_000, "test": 2_000}


def random_fields(
    *, train: str = "train", evaluation: str = "test", side: Annotated[int, Range(2, 32)] = 5,
    levels: Annotated[int, Range(2, 256)] = 8, scale: Annotated[float, Range(0.01, 100)] = 1.5,
) -> Dataset:  # fmt: skip
    """Returns Gaussian fields on a grid of `side` x `side`, quantised to `levels` equally frequent levels.

    Two values at distance r have the correlation exp(-r^2 / (2 scale^2)). Tokens 1 to `levels` are the levels, from
    low to high; token 0 is the mask. The targets are the tokens themselves. The fields are generated at each start,
    always the same ones; splits train (50,000) and test (2,000).
    """
    positions = np.indices((side, side)).reshape(2, -1).T
    squared_distance = ((positions[:, None] - positions) ** 2).sum(axis=-1)
    covariance = np.exp(-squared_distance / (2 * scale**2)) + 1e-6 * np.eye(side * side)
    noise = np.random.default_rng(0).standard_normal((sum(_SIZES.values()), side * side))
    values = noise @ np.linalg.cholesky(covariance).T
    borders = [NormalDist().inv_cdf(i / levels) for i in range(1, levels)]
    tokens = 1 + np.searchsorted(borders, values).astype(np.int32)
    examples = {"inputs": {"tokens": tokens}, "targets": tokens, "weights": np.ones(tokens.shape, np.float32)}
    facts = {"vocab_size": levels + 1, "context": side * side, "mask_id": 0, "special_below": 1}
    return array_dataset("random_fields", examples, _SIZES, train, evaluation, **facts)
