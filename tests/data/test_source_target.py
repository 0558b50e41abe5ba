"""Pairs of sequences as batches: the shift, the padding, and lengths that are too short."""

import numpy as np
import pytest

from data.pipeline import evaluation_batches
from data.source_target import Pairs

SOURCES = [np.array(row, np.int32) for row in ([11, 12, 13], [14], [15, 16])]
TARGETS = [np.array(row, np.int32) for row in ([21], [22, 23, 24, 25], [26, 27])]


def test_the_target_is_shifted_and_both_are_padded():
    batch = Pairs(SOURCES, TARGETS, source_length=3, length=5).examples(np.array([1, 0]))
    assert batch["inputs"]["source"].tolist() == [[14, 0, 0], [11, 12, 13]]
    assert batch["inputs"]["source_mask"].tolist() == [[True, False, False], [True, True, True]]
    # [BOS] is 2, [EOS] is 3, [PAD] is 0.
    assert batch["inputs"]["tokens"].tolist() == [[2, 22, 23, 24, 25], [2, 21, 0, 0, 0]]
    assert batch["targets"].tolist() == [[22, 23, 24, 25, 3], [21, 3, 0, 0, 0]]
    assert batch["weights"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
    tokens = (batch["inputs"]["source"], batch["inputs"]["tokens"], batch["targets"])
    assert {x.dtype for x in tokens} == {np.dtype(np.int32)} and batch["weights"].dtype == np.float32


def test_every_pair_occurs_once_per_evaluation_also_with_more_padding():
    batches = list(evaluation_batches(Pairs(SOURCES, TARGETS, source_length=7, length=11), batch_size=2))
    assert [batch["inputs"]["source"].shape for batch in batches] == [(2, 7)] * 2
    assert sum(batch["weights"].sum() for batch in batches) == (1 + 1) + (4 + 1) + (2 + 1)


def test_the_caller_may_change_a_batch():
    pairs = Pairs(SOURCES, TARGETS, source_length=3, length=5)
    before = pairs.examples(np.arange(3))
    for array in (*pairs.examples(np.arange(3))["inputs"].values(), pairs.examples(np.arange(3))["targets"]):
        array[:] = 0
    np.testing.assert_equal(pairs.examples(np.arange(3)), before)


@pytest.mark.parametrize(
    "targets, lengths, words",
    [
        (TARGETS[:2], (3, 5), "3 sources, but 2 targets"),
        (TARGETS, (2, 5), "source_length = 2: expected at least 3"),
        (TARGETS, (3, 4), "length = 4: expected at least 5"),
    ],
)
def test_lengths_that_are_too_short_are_named(targets, lengths, words):
    with pytest.raises(ValueError, match=words):
        Pairs(SOURCES, targets, source_length=lengths[0], length=lengths[1])
