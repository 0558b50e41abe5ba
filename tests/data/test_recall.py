"""Associative recall: the class is the value that stood beside the key; splits share nothing."""

import numpy as np
import pytest

from data.recall import recall


def everything(source):
    batch = source.examples(np.arange(len(source)))
    return batch["inputs"]["tokens"], batch["targets"]


def test_the_class_is_the_value_beside_the_key_that_is_asked_for():
    found = recall(pairs=3, distinct_keys=11, distinct_values=5)
    assert found.facts == {"classes": 5, "vocab_size": 16, "context": 7}
    tokens, targets = everything(found.train)
    assert tokens.shape == (20_000, 7) and tokens.dtype == np.int32
    for row, target in zip(tokens[:500].tolist(), targets.tolist()):
        told = dict(zip(row[0:6:2], row[1:6:2]))
        assert len(told) == 3 and told[row[6]] == 11 + target
    assert tokens[:, 0:7:2].max() == 10 and tokens[:, 1:6:2].min() == 11 and tokens.max() == 15


def test_a_key_and_its_value_as_one_token():
    found = recall(pairs=3, distinct_keys=11, distinct_values=5, joined=True)
    assert found.facts == {"classes": 5, "vocab_size": 66, "context": 4}
    tokens, targets = everything(found.train)
    assert tokens.shape == (20_000, 4)
    for row, target in zip(tokens[:500].tolist(), targets.tolist()):
        told = {token // 5: token % 5 for token in row[:3]}
        assert len(told) == 3 and told[row[3] - 55] == target
    assert (tokens[:, :3].min(), tokens[:, :3].max()) == (0, 54) and (tokens[:, 3].min(), tokens.max()) == (55, 65)


def test_every_place_is_asked_for_and_every_value_is_told_equally_often():
    tokens, targets = everything(recall(pairs=3, distinct_keys=11, distinct_values=5).train)
    asked = (tokens[:, 0:6:2] == tokens[:, 6:]).mean(axis=0)
    np.testing.assert_allclose(asked, 1 / 3, atol=0.01)
    np.testing.assert_allclose(np.bincount(targets) / len(targets), 1 / 5, atol=0.01)


def test_no_example_comes_twice_and_each_start_makes_the_same():
    found = recall()
    (train, _), (test, _) = everything(found.train), everything(found.evaluation)
    assert len(np.unique(np.concatenate([train, test]), axis=0)) == 22_000
    np.testing.assert_array_equal(everything(recall().train)[0], train)


def test_nothing_is_padded():
    assert recall().train.examples(np.arange(7))["inputs"]["mask"].all()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"pairs": 14}, "pairs = 14, distinct_keys = 13"),
        ({"distinct_values": 1}, "and 2 values"),
        ({"pairs": 1, "distinct_keys": 3, "distinct_values": 2}, "only about 6 different examples, 22,000 are needed"),
    ],
)
def test_what_cannot_be_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        recall(**settings)
