"""Addition modulo a number: every pair of summands, of which a share is seen in training.

The task of "grokking" (Power et al. 2022): a small transformer first learns its examples by heart, and long after that,
if its weights decay, it suddenly knows the others too. Nanda et al. 2023 find the algorithm that it has learned then.
"""

from typing import Annotated

import numpy as np

from core.ranges import Range
from data.dataset import Dataset
from data.in_memory import array_dataset


def modular_addition(
    *, train: str = "train", evaluation: str = "test", modulus: Annotated[int, Range(3, 997)] = 113,
    seen: Annotated[float, Range(0.05, 0.95)] = 0.3,
) -> Dataset:  # fmt: skip
    """Returns the sequences "a b =" for all a and b below `modulus`; the target at "=" is (a + b) mod `modulus`.

    Tokens are the numbers, and the last symbol is "=". The split train has the share `seen` of the pairs, drawn at
    random but always the same, and test has all others. A sum and its mirror image, a + b and b + a, may be in
    different splits. The defaults are those of Nanda et al. 2023.

    Raises UserError for a split that does not exist.
    """
    pairs = np.random.default_rng(0).permutation(modulus**2)
    first, second = np.divmod(pairs, modulus)
    tokens = np.stack([first, second, np.full_like(first, modulus)], axis=1).astype(np.int32)
    targets, weights = np.zeros_like(tokens), np.zeros(tokens.shape, np.float32)
    targets[:, -1], weights[:, -1] = (first + second) % modulus, 1
    trained = round(seen * len(pairs))
    return array_dataset(
        "modular_addition",
        {"inputs": {"tokens": tokens}, "targets": targets, "weights": weights},
        {"train": trained, "test": len(pairs) - trained},
        train, evaluation, vocab_size=modulus + 1, context=3,
    )  # fmt: skip
