"""Generated sequences of which a model has to predict some tokens: the skills of MAD.

MAD (Poli et al. 2024, "Mechanistic design and scaling of hybrid architectures") compares layers by small models of
skills that a language model needs: recall in context, with noise and with keys of several tokens
(`data.key_value_recall`), memorisation (`data.memorisation`), selective copying (`data.selective_copying`) and
compression (`data.compression`). Here a model is trained on what it is tested on, the answers. In the paper both kinds
of recall are trained on all next tokens, and the keys of a fuzzy test all have the largest size.
"""

import numpy as np

from core.errors import UserError
from data.dataset import Dataset
from data.different import first_different
from data.in_memory import array_dataset

SIZES = {"train": 12_800, "test": 1_280}
COUNT = sum(SIZES.values()) * 5 // 4
"""How many sequences a generator draws: a few may be equal."""


def answers_dataset(
    name: str, tokens: np.ndarray, targets: np.ndarray, asked: np.ndarray, train: str, evaluation: str, *, symbols: int
) -> Dataset:
    """Returns the set `name` of sequences, all of them different, with splits train (12,800) and test (1,280).

    Args:
      tokens, targets: integers (N, T), at least as many as the splits need. asked: bool (N, T), where targets count.
      train, evaluation: the splits to use, in TFDS notation.
      symbols: V, the number of tokens.

    Raises UserError where too few sequences are different, and for a split that does not exist.
    """
    rows = first_different(tokens, sum(SIZES.values()))
    if len(rows) < sum(SIZES.values()):
        raise UserError(
            f"{name}: there are only about {len(rows):,} different sequences, and {sum(SIZES.values()):,} are needed. "
            "Raise length or symbols."
        )
    examples = {
        "inputs": {"tokens": tokens[rows].astype(np.int32)},
        "targets": np.where(asked, targets, 0)[rows].astype(np.int32),
        "weights": asked[rows].astype(np.float32),
    }
    return array_dataset(name, examples, SIZES, train, evaluation, vocab_size=symbols, context=tokens.shape[1])
