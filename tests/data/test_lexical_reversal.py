"""The artificial translation: word by word and backwards, with pairs of neighbours that are seen in one split only."""

from typing import Any

import numpy as np
import pytest

from core.errors import UserError
from data import DATASETS
from data.subwords import BOS, EOS, PAD, SPECIALS

WORDS = 24
FIRST = len(SPECIALS)


def sentences(split: str, **fields) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All pairs of a split, numbered from 0 in either language."""
    source = DATASETS["lexical_reversal"](train=split, **fields).train
    batch = source.examples(np.arange(len(source)))
    pairs = []
    for row, mask, target in zip(batch["inputs"]["source"], batch["inputs"]["source_mask"], batch["targets"]):
        (end,) = np.flatnonzero(target == EOS)
        assert (row[~mask] == PAD).all() and (target[end + 1 :] == PAD).all()
        pairs.append((tuple(row[mask] - FIRST), tuple(target[:end] - FIRST - WORDS)))
    return pairs


@pytest.fixture(scope="module")
def splits() -> dict[str, Any]:
    return {split: sentences(split) for split in ("train", "test", "combinations")}


def neighbours(pairs) -> set[tuple[int, int]]:
    return {pair for source, _ in pairs for pair in zip(source, source[1:])}


def test_each_word_has_one_translation_and_the_order_is_reversed(splits):
    translations = dict(pair for source, target in splits["train"] for pair in zip(source, target[::-1]))
    assert sorted(translations) == sorted(translations.values()) == list(range(WORDS))
    for pairs in splits.values():
        assert all(target == tuple(translations[word] for word in source[::-1]) for source, target in pairs)


def test_the_splits_share_no_sentence_and_all_lengths_are_frequent(splits):
    sources = {split: {source for source, _ in pairs} for split, pairs in splits.items()}
    assert [len(sources["train"]), len(sources["test"])] == [20_000, 2_000] and not sources["train"] & sources["test"]
    for split in ("train", "test"):
        counts = np.bincount([len(source) for source in sources[split]])
        assert not counts[:3].any() and counts[3:].min() > 0.6 * counts[3:].max() and len(counts) == 13


def test_held_out_neighbours_are_in_every_sentence_of_combinations_and_in_no_other(splits):
    seen = neighbours(splits["train"])
    assert neighbours(splits["test"]) <= seen and len(seen) == WORDS * (WORDS - 2)
    assert all(set(zip(source, source[1:])) - seen for source, _ in splits["combinations"])


def test_inputs_are_the_target_shifted_right():
    batch = DATASETS["lexical_reversal"]().evaluation.examples(np.arange(7))
    assert (batch["inputs"]["tokens"][:, 0] == BOS).all()
    inside = batch["targets"][:, :-1] != EOS
    np.testing.assert_array_equal(batch["inputs"]["tokens"][:, 1:][inside], batch["targets"][:, :-1][inside])


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"shortest": 5, "longest": 4}, "expected shortest <= longest"),
        ({"words": 8, "shortest": 3}, "words = 8, shortest = 3: there are too few different sentences"),
        ({"train": "validation"}, r"combinations \(2,000\)"),
    ],
)
def test_fields_that_do_not_fit_are_named(fields, words):
    with pytest.raises(UserError, match=words):
        DATASETS["lexical_reversal"](**fields)
