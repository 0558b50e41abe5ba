"""Examples of linear functions, another one in each sequence: what a model must learn in its context."""

import numpy as np

from data.arrays import array_dataset
from data.dataset import Dataset

_SIZES = {"train": 100_000, "test": 2_000}


def linear_functions(
    *, train: str = "train", evaluation: str = "test", dimensions: int = 2, length: int = 12
) -> Dataset:
    """Returns sequences of `length` points and the values there of one linear function, without noise.

    The points are N(0, I), and so is the function's vector, divided by sqrt(`dimensions`), so that values have
    variance 1 (Garg et al. 2022, section 3.1). The targets are the values. Made anew at each start, always the same;
    splits train (100,000) and test (2,000).
    """
    if dimensions < 1 or length < 1:
        raise ValueError(f"dimensions = {dimensions}, length = {length}: expected at least 1 of each.")
    generator, count = np.random.default_rng(0), sum(_SIZES.values())
    points = generator.standard_normal((count, length, dimensions), np.float32)
    slopes = generator.standard_normal((count, dimensions, 1), np.float32) / np.float32(dimensions**0.5)
    values = (points @ slopes)[..., 0]
    made = {
        "inputs": {"points": points, "values": values},
        "targets": values,
        "weights": np.ones(values.shape, np.float32),
    }
    return array_dataset("linear_functions", made, _SIZES, train, evaluation, dimensions=dimensions, context=length)
