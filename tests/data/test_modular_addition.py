"""Modular addition: every pair of summands once, in one of two splits."""

import numpy as np
import pytest

from core.errors import UserError
from data.modular_addition import modular_addition


def test_every_pair_is_in_one_split_with_its_sum():
    dataset = modular_addition(modulus=11, seen=0.25)
    assert (len(dataset.train), len(dataset.evaluation)) == (30, 91)
    assert dataset.facts == {"vocab_size": 12, "context": 3}
    pairs = []
    for source in (dataset.train, dataset.evaluation):
        batch = source.examples(np.arange(len(source)))
        for (first, second, sign), target, weight in zip(batch["inputs"]["tokens"], batch["targets"], batch["weights"]):
            assert (sign, target.tolist(), weight.tolist()) == (11, [0, 0, (first + second) % 11], [0, 0, 1])
            pairs.append((int(first), int(second)))
    assert len(pairs) == len(set(pairs)) == 121


def test_the_defaults_are_the_published_ones_and_always_the_same():
    first, again = (modular_addition().train for _ in range(2))
    assert len(first) == 3831  # 30 % of 113 squared
    rows = np.arange(len(first))
    np.testing.assert_array_equal(first.examples(rows)["inputs"]["tokens"], again.examples(rows)["inputs"]["tokens"])


def test_a_split_that_does_not_exist_is_refused():
    with pytest.raises(UserError, match="validation"):
        modular_addition(evaluation="validation")
