"""Examples of linear functions, a new function in each sequence: a model must learn it from its context."""

from typing import Annotated

import numpy as np

from core.errors import UserError
from core.ranges import Range
from data.dataset import Dataset
from data.in_memory import array_dataset

_SIZES = {"train": 100_000, "test": 2_000}
_LARGEST = 2**29  # numbers: 2 GiB


def linear_functions(
    *, train: str = "train", evaluation: str = "test", dimensions: Annotated[int, Range(1, 128)] = 2,
    length: Annotated[int, Range(1, 512)] = 12,
) -> Dataset:  # fmt: skip
    """Returns sequences of `length` points, with the values of one linear function at them, without noise.

    Points are drawn from N(0, I). The function's vector is too, and is divided by sqrt(`dimensions`), so that values
    have variance 1 (Garg et al. 2022, section 3.1). The targets are the values. The sequences are generated at each
    start, always the same ones; splits train (100,000) and test (2,000).

    Raises UserError for points that need more than 2 GiB.
    """
    generator, count = np.random.default_rng(0), sum(_SIZES.values())
    if count * length * dimensions > _LARGEST:
        raise UserError(
            f"dimensions = {dimensions}, length = {length}: all points are kept in memory, and these are too many. "
            f"Expected dimensions * length <= {_LARGEST // count:,}."
        )
    points = generator.standard_normal((count, length, dimensions), np.float32)
    slopes = generator.standard_normal((count, dimensions, 1), np.float32) / np.float32(dimensions**0.5)
    values = (points @ slopes)[..., 0]
    examples = {
        "inputs": {"points": points, "values": values},
        "targets": values,
        "weights": np.ones(values.shape, np.float32),
    }
    return array_dataset("linear_functions", examples, _SIZES, train, evaluation, dimensions=dimensions, context=length)
