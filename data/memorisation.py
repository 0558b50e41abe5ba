"""Memorisation: keys whose values are not in the sequence, but the same in all sequences, so that parameters hold them.

Poli et al. 2024, see `data.answers`.
"""

from typing import Annotated

import numpy as np

from core.ranges import Range
from data.answers import COUNT, answers_dataset
from data.dataset import Dataset


def memorisation(
    *, train: str = "train", evaluation: str = "test", symbols: Annotated[int, Range(3, 2**16)] = 256,
    length: Annotated[int, Range(2, 1024)] = 32,
) -> Dataset:
    """Returns sequences of a key, a blank, another key, a blank and so on; the target at a blank is the key's value.

    The last symbol is the blank. The first half of the others are keys, and each has one of the second half for a
    value, which no other key has. This dictionary is the same in all sequences and both splits, and values are no
    inputs. The weights are 1 at blanks. The axis of difficulty is `symbols`, the size of the dictionary. The sequences
    are generated at each start, always the same ones.
    """
    generator, blank = np.random.default_rng(0), symbols - 1
    value_of = blank // 2 + generator.permutation(blank - blank // 2)
    keys = generator.integers(blank // 2, size=(COUNT, length // 2))
    places = np.zeros((COUNT, length), bool)
    places[:, 1::2] = True
    tokens, targets = np.full((2, COUNT, length), blank)
    tokens[:, 0 : length - length % 2 : 2], targets[:, 1::2] = keys, value_of[keys]
    return answers_dataset("memorisation", tokens, targets, places, train, evaluation, symbols=symbols)
