"""Associative recall: the class is the value that came after the key; splits share no example."""

import numpy as np
import pytest

from data.recall import recall


def everything(source):
    batch = source.examples(np.arange(len(source)))
    return batch["inputs"]["tokens"], batch["targets"]


def test_the_class_is_the_value_after_the_key_that_is_the_query():
    dataset = recall(pairs=3, distinct_keys=11, distinct_values=5)
    assert dataset.facts == {"classes": 5, "vocab_size": 16, "context": 7}
    tokens, targets = everything(dataset.train)
    assert tokens.shape == (20_000, 7) and tokens.dtype == np.int32
    for row, target in zip(tokens[:500].tolist(), targets.tolist()):
        value_of = dict(zip(row[0:6:2], row[1:6:2]))
        assert len(value_of) == 3 and value_of[row[6]] == 11 + target
    assert tokens[:, 0:7:2].max() == 10 and tokens[:, 1:6:2].min() == 11 and tokens.max() == 15


def test_a_key_and_its_value_as_one_token():
    dataset = recall(pairs=3, distinct_keys=11, distinct_values=5, joined=True)
    assert dataset.facts == {"classes": 5, "vocab_size": 66, "context": 4}
    tokens, targets = everything(dataset.train)
    assert tokens.shape == (20_000, 4)
    for row, target in zip(tokens[:500].tolist(), targets.tolist()):
        value_of = {token // 5: token % 5 for token in row[:3]}
        assert len(value_of) == 3 and value_of[row[3] - 55] == target
    assert (tokens[:, :3].min(), tokens[:, :3].max()) == (0, 54) and (tokens[:, 3].min(), tokens.max()) == (55, 65)


def test_every_pair_is_queried_and_every_value_occurs_equally_often():
    tokens, targets = everything(recall(pairs=3, distinct_keys=11, distinct_values=5).train)
    queried = (tokens[:, 0:6:2] == tokens[:, 6:]).mean(axis=0)
    np.testing.assert_allclose(queried, 1 / 3, atol=0.01)
    np.testing.assert_allclose(np.bincount(targets) / len(targets), 1 / 5, atol=0.01)


def test_all_examples_are_different_and_the_same_at_each_start():
    dataset = recall()
    (train, _), (test, _) = everything(dataset.train), everything(dataset.evaluation)
    assert len(np.unique(np.concatenate([train, test]), axis=0)) == 22_000
    np.testing.assert_array_equal(everything(recall().train)[0], train)


def test_nothing_is_padded():
    assert recall().train.examples(np.arange(7))["inputs"]["mask"].all()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"pairs": 14}, "pairs = 14, distinct_keys = 13"),
        ({"pairs": 1, "distinct_keys": 3, "distinct_values": 2}, "only about 6 different examples, 22,000 are needed"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        recall(**settings)
