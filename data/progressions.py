"""Arithmetic progressions modulo a number, such as 15 1 4 7 modulo 17: any two terms determine all others."""

from typing import Annotated

import numpy as np

from core.ranges import Range
from data.dataset import Dataset
from data.in_memory import array_dataset

_SIZES = {"train": 20_000, "test": 2_000}


def progressions(
    *, train: str = "train", evaluation: str = "test", modulus: Annotated[int, Range(2, 2**16)] = 17,
    length: Annotated[int, Range(3, 1024)] = 6, shifted: bool = True,
) -> Dataset:  # fmt: skip
    """Returns sequences start, start + step, start + 2 step, ..., for random starts and steps; always the same ones.

    There are only `modulus` squared different ones, so train (20,000) and test (2,000) share most of them: they show
    which terms a model can see, not whether it can compute. Terms are tokens 1 to `modulus`; token 0 is none of them.

    Args:
      modulus: the number of different terms. length: terms in a sequence.
      shifted: if True, the inputs are token 0 and all terms but the last, as for a language model; if False, the inputs
        are the terms, as for a masked language model, and token 0 is the mask. The targets are the terms in both cases.
    """
    count = sum(_SIZES.values())
    start, step = np.random.default_rng(0).integers(modulus, size=(2, count, 1))
    terms = (1 + (start + step * np.arange(length)) % modulus).astype(np.int32)
    tokens = np.concatenate([np.zeros((count, 1), np.int32), terms[:, :-1]], axis=1) if shifted else terms
    examples = {"inputs": {"tokens": tokens}, "targets": terms, "weights": np.ones(terms.shape, np.float32)}
    facts = {"vocab_size": modulus + 1, "context": length, "mask_id": 0, "special_below": 1}
    return array_dataset("progressions", examples, _SIZES, train, evaluation, **facts)
