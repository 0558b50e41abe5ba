"""Strings of random tokens and their reverse: a translation that only changes the order."""

from typing import Annotated

import numpy as np

from core.errors import UserError
from core.ranges import Range
from data.dataset import Dataset
from data.different import first_different
from data.source_target import Pairs
from data.splits import split_rows
from data.subwords import SPECIALS

_SIZES = {"train": 20_000, "test": 1_000}


def reversal(
    *, train: str = "train", evaluation: str = "test", symbols: Annotated[int, Range(1, 2**16)] = 13,
    length: Annotated[int, Range(1, 1024)] = 8,
) -> Dataset:  # fmt: skip
    """Returns strings of `length` tokens, of `symbols` different ones, and as targets the strings reversed.

    All strings are different. They are generated at each start, always the same ones; splits train (20,000) and test
    (1,000). The symbols are numbered after the special tokens.
    """
    if symbols**length < 2 * sum(_SIZES.values()):
        raise UserError(
            f"symbols = {symbols}, length = {length}: there are too few different strings. Raise either of them."
        )
    candidates = np.random.default_rng(0).integers(symbols, size=(4 * sum(_SIZES.values()), length), dtype=np.int32)
    strings = candidates[first_different(candidates, sum(_SIZES.values()))] + len(SPECIALS)

    def pairs(spec: str) -> Pairs:
        rows = strings[split_rows("reversal", _SIZES, spec)]
        return Pairs(list(rows), list(rows[:, ::-1]), source_length=length, length=length + 1)

    size = symbols + len(SPECIALS)
    return Dataset(
        facts={"source_vocab_size": size, "vocab_size": size, "source_context": length, "context": length + 1},
        train=pairs(train),
        evaluation=pairs(evaluation),
        evaluation_name=evaluation,
    )
