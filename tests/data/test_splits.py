"""Splits and slices of them: what they stand for, and the messages for those that do not exist."""

from functools import partial

import pytest

from data.digits import digits
from data.splits import SplitError, make_from_config, split_parts


def test_splits_can_be_sliced_and_added():
    lengths = {"train": 1_000, "test": 17}
    assert split_parts("set", lengths, "test") == [("test", slice(None, None))]
    parts = split_parts("set", lengths, "train[80%:]+test[:5]")
    assert parts == [("train", slice(800, None)), ("test", slice(None, 5))]


@pytest.mark.parametrize("split", ["", "tests", "train[:", "train[2000:]", "all[:5%]"])
def test_the_message_about_an_unknown_split_lists_the_splits(split):
    with pytest.raises(ValueError) as error:
        split_parts("digits", {"train": 1_000, "test": 17}, split)
    assert f"digits has no split {split!r}. It has train (1,000), test (17)" in str(error.value)


def test_an_empty_split_is_refused():
    with pytest.raises(ValueError, match=r"'train\[:0\]' of digits is empty"):
        split_parts("digits", {"train": 1_000}, "train[:0]")


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"train": "train", "evaluation": ""}, "data.evaluation: digits has no split ''. It has train (1,437), test"),
        ({"train": "x", "evaluation": "x"}, "data.train and data.evaluation: digits has no split 'x'"),
        ({"train": "train[:0]"}, "data.train: The split 'train[:0]' of digits is empty"),
        ({}, "digits has no split 'y'"),
    ],
)
def test_the_message_names_the_fields_of_the_config(settings, words):
    make = partial(digits, train="y")
    with pytest.raises(SplitError) as error:
        make_from_config(make, settings)
    assert str(error.value).startswith(words)
