"""Selective copying: tokens among blanks, to be written down in their order at the end, without the blanks.

Poli et al. 2024, see `data.answers`; the task is older (Gu & Dao 2023 have it too).
"""

from typing import Annotated

import numpy as np

from core.errors import UserError
from core.ranges import Range
from data.answers import COUNT, answers_dataset
from data.dataset import Dataset


def selective_copying(
    *, train: str = "train", evaluation: str = "test", symbols: Annotated[int, Range(3, 2**16)] = 16,
    length: Annotated[int, Range(4, 1024)] = 256, copied: Annotated[int, Range(1, 256)] = 16,
) -> Dataset:  # fmt: skip
    """Returns sequences of `copied` tokens among blanks, a sign to begin, and as many blanks again.

    The last symbol is the sign and the one before it the blank. The targets at the last blanks are the tokens, in their
    order; the weights are 1 there. What was written is no input. The places of the tokens are drawn for each sequence.
    The axis of difficulty is `copied`. The sequences are generated at each start, always the same ones.

    Raises UserError where the sequence is too short.
    """
    places = length - 1 - copied
    if places < copied:
        raise UserError(f"length = {length}, copied = {copied}: expected a length of at least {2 * copied + 1}.")
    generator, sign, blank = np.random.default_rng(0), symbols - 1, symbols - 2
    content = generator.integers(blank, size=(COUNT, copied))
    among = np.sort(generator.random((COUNT, places)).argsort(axis=1)[:, :copied], axis=1)
    tokens, asked = np.full((COUNT, length), blank), np.zeros((COUNT, length), bool)
    targets = np.zeros_like(tokens)
    np.put_along_axis(tokens, among, content, axis=1)
    tokens[:, places], targets[:, -copied:], asked[:, -copied:] = sign, content, True
    return answers_dataset("selective_copying", tokens, targets, asked, train, evaluation, symbols=symbols)
