"""Compression: random strings that are to be written down again, from a code of a fixed size.

Poli et al. 2024, see `data.answers`. The data do not make a model compress: its encoder has to hand over one vector, as
`recurrent_encoder_decoder` with attention="fixed" does.
"""

from typing import Annotated

import numpy as np

from core.errors import UserError
from core.ranges import Range
from data.answers import COUNT, SIZES
from data.dataset import Dataset
from data.different import first_different
from data.source_target import Pairs
from data.splits import split_rows
from data.subwords import SPECIALS


def compression(
    *, train: str = "train", evaluation: str = "test", symbols: Annotated[int, Range(1, 2**16)] = 16,
    length: Annotated[int, Range(1, 1024)] = 32,
) -> Dataset:  # fmt: skip
    """Returns strings of `length` tokens, of `symbols` different ones, as sources, and the same strings as targets.

    All strings are different; splits train (12,800) and test (1,280). They are generated at each start, always the same
    ones. The axes of difficulty are `length` and `symbols`. The symbols are numbered after the special tokens.

    Raises UserError where there are too few different strings.
    """
    if length * np.log(symbols) < np.log(COUNT):
        raise UserError(
            f"symbols = {symbols}, length = {length}: there are too few different strings. Raise either of them."
        )
    needed = sum(SIZES.values())
    candidates = np.random.default_rng(0).integers(symbols, size=(4 * COUNT, length), dtype=np.int32)
    strings = candidates[first_different(candidates, needed)] + len(SPECIALS)

    def pairs(spec: str) -> Pairs:
        rows = list(strings[split_rows("compression", SIZES, spec)])
        return Pairs(rows, rows, source_length=length, length=length + 1)

    size = symbols + len(SPECIALS)
    return Dataset(
        facts={"source_vocab_size": size, "vocab_size": size, "source_context": length, "context": length + 1},
        train=pairs(train),
        evaluation=pairs(evaluation),
        evaluation_name=evaluation,
    )
