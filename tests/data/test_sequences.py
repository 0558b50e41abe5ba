"""Sequences with a class: padding, masks, slices and sums of splits."""

import numpy as np
import pytest

from data.sequences import LabelledSequences, Sequences, sequence_dataset

TOKENS = ([11], [21, 22, 23], [31, 32], [41, 42, 43, 44, 45])
SEQUENCES = Sequences.of([np.array(tokens, np.uint8) for tokens in TOKENS], [3, 1, 0, 2])


def test_sequences_are_padded_and_masked():
    batch = LabelledSequences(SEQUENCES, np.array([0, 1, 2, 3]), 4).examples(np.array([1, 0]))
    assert batch["inputs"]["tokens"].tolist() == [[21, 22, 23, 0], [11, 0, 0, 0]]
    assert batch["inputs"]["mask"].tolist() == [[True, True, True, False], [True, False, False, False]]
    assert batch["targets"].tolist() == [1, 3] and batch["weights"].tolist() == [1, 1]
    assert (batch["inputs"]["tokens"].dtype, batch["targets"].dtype) == (np.int32, np.int32)


def test_a_sequence_longer_than_the_context_is_cut():
    batch = LabelledSequences(SEQUENCES, np.array([2, 3]), 4).examples(np.array([1]))
    assert batch["inputs"]["tokens"].tolist() == [[41, 42, 43, 44]] and batch["inputs"]["mask"].all()


@pytest.mark.parametrize(
    "split, expected", [("b", [2]), ("a[1:]", [1, 0]), ("b+a[:1]", [2, 3]), ("a+b", [3, 1, 0, 2])], ids=str
)
def test_slices_and_sums_of_splits(split, expected):
    sizes = {"a": 3, "b": 1}
    dataset = sequence_dataset("x", SEQUENCES, sizes, split, "a", context=4, classes=5, vocab_size=47)
    targets = dataset.train.examples(np.arange(len(dataset.train)))["targets"].tolist()
    assert targets == expected
    assert dataset.facts == {"context": 4, "classes": 5, "vocab_size": 47} and dataset.evaluation_name == "a"


def test_the_caller_may_change_a_batch():
    source = LabelledSequences(SEQUENCES, np.arange(4), 4)
    for array in (batch := source.examples(np.array([1])))["inputs"].values():
        array[:] = 0
    batch["targets"][:] = 9
    again = source.examples(np.array([1]))
    assert again["inputs"]["tokens"].tolist() == [[21, 22, 23, 0]] and again["targets"].tolist() == [1]


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match=r"x has no split 'c'. It has a \(3\), b \(1\)"):
        sequence_dataset("x", SEQUENCES, {"a": 3, "b": 1}, "a", "c", context=4)
