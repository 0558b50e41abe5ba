"""Arithmetic progressions on a circle, such as 15 1 4 7 modulo 17: any two terms give all the others."""

import numpy as np

from data.arrays import array_dataset
from data.dataset import Dataset

_SIZES = {"train": 20_000, "test": 2_000}


def progressions(
    *, train: str = "train", evaluation: str = "test", modulus: int = 17, length: int = 6, shifted: bool = True
) -> Dataset:
    """Returns start, start + step, start + 2 step, ..., for random starts and steps; always the same ones.

    There are `modulus` squared of them, so that train (20,000) and test (2,000) share most: what they show is which
    terms a model can see, not whether it can compute. Token 0 is none of the terms, which are 1 to `modulus`.

    Args:
      shifted: the model reads token 0 and all terms but the last, and the targets are the terms, as for a language
        model; else it reads the terms, and the targets are the same, as for a masked one, with token 0 as the mask.
    """
    if modulus < 2 or length < 3:
        raise ValueError(f"modulus = {modulus}, length = {length}: expected at least 2 and 3.")
    count = sum(_SIZES.values())
    start, step = np.random.default_rng(0).integers(modulus, size=(2, count, 1))
    terms = (1 + (start + step * np.arange(length)) % modulus).astype(np.int32)
    read = np.concatenate([np.zeros((count, 1), np.int32), terms[:, :-1]], axis=1) if shifted else terms
    made = {"inputs": {"tokens": read}, "targets": terms, "weights": np.ones(terms.shape, np.float32)}
    facts = {"vocab_size": modulus + 1, "context": length, "mask_id": 0, "special_below": 1}
    return array_dataset("progressions", made, _SIZES, train, evaluation, **facts)
