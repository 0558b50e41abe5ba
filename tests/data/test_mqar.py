"""Multi-query associative recall: every key comes back once, and its value is the only thing that is asked for."""

from typing import Any

import numpy as np
import pytest

from data.mqar import mqar

SMALL: dict[str, Any] = {"symbols": 22, "length": 23, "pairs": 5}  # 6 places of two tokens for 5 keys, and a blank


def everything(source):
    batch = source.examples(np.arange(len(source)))
    return batch["inputs"]["tokens"], batch["targets"], batch["weights"]


def test_every_key_comes_back_once_and_its_target_is_the_value_after_it():
    dataset = mqar(**SMALL)
    assert dataset.facts == {"vocab_size": 22, "context": 23}
    tokens, targets, weights = everything(dataset.evaluation)
    assert tokens.shape == targets.shape == weights.shape == (3_000, 23)
    assert tokens.dtype == targets.dtype == np.int32 and weights.dtype == np.float32
    for row, target, weight in zip(tokens.tolist(), targets.tolist(), weights.tolist()):
        value_of = dict(zip(row[0:10:2], row[1:10:2]))
        queries = [place for place in range(10, 23) if row[place]]
        assert sorted(row[place] for place in queries) == sorted(value_of) and len(value_of) == 5
        assert all(place % 2 == 0 for place in queries)
        assert [target[place] for place in queries] == [value_of[row[place]] for place in queries]
        assert [place for place in range(23) if weight[place]] == queries and sum(weight) == 5
        assert not any(target[place] for place in range(23) if place not in queries)


def test_keys_and_values_have_their_own_symbols_which_occur_equally_often():
    tokens, _, _ = everything(mqar(**SMALL).train)
    keys, values = tokens[:, 0:10:2], tokens[:, 1:10:2]
    np.testing.assert_allclose(np.bincount(keys.ravel(), minlength=22)[1:11] / keys.size, 1 / 10, atol=0.002)
    np.testing.assert_allclose(np.bincount(values.ravel(), minlength=22)[11:] / values.size, 1 / 11, atol=0.002)
    assert (keys.min(), keys.max(), values.min(), values.max()) == (1, 10, 11, 21)
    assert all(len(set(row)) == 5 for row in values[:500].tolist())
    # Also in each place: the order says nothing.
    np.testing.assert_allclose(np.bincount(keys[:, 4], minlength=11)[1:] / len(keys), 1 / 10, atol=0.005)


def test_the_first_key_comes_back_by_the_power_law():
    tokens, _, _ = everything(mqar(**SMALL, power=0.3).train)
    gaps = ((tokens == tokens[:, :1])[:, 10:].argmax(1)) // 2
    expected = np.arange(1, 7) ** (0.3 - 1)
    np.testing.assert_allclose(np.bincount(gaps) / len(gaps), expected / expected.sum(), atol=0.005)


def test_the_second_key_comes_back_at_a_free_place():
    """P(first at i) P(second at j) = c_i c_j / (1 - c_i), for shares c in proportion to n^(power - 1)."""
    tokens, _, _ = everything(mqar(symbols=64, length=10, pairs=2, power=0.3).train)
    gaps = [((tokens == tokens[:, [place]])[:, 4:].argmax(1)) // 2 for place in (0, 2)]
    shares = np.arange(1, 4) ** (0.3 - 1)
    shares /= shares.sum()
    frequencies = np.zeros((3, 3))
    np.add.at(frequencies, tuple(gaps), 1 / len(tokens))
    expected = shares[:, None] * shares / (1 - shares[:, None]) * (1 - np.eye(3))
    np.testing.assert_allclose(frequencies, expected, atol=0.005)


def test_with_power_one_all_places_are_equally_likely():
    tokens, _, _ = everything(mqar(symbols=64, length=24, pairs=3, power=1.0).train)
    np.testing.assert_allclose((tokens[:, 6:24:2] > 0).mean(0), 3 / 9, atol=0.006)


def test_all_sequences_are_different_and_the_same_at_each_start():
    dataset = mqar(**SMALL)
    (train, _, _), (test, _, _) = everything(dataset.train), everything(dataset.evaluation)
    assert len(np.unique(np.concatenate([train, test]), axis=0)) == 103_000
    np.testing.assert_array_equal(everything(mqar(**SMALL).train)[0], train)


def test_a_batch_does_not_depend_on_where_its_examples_stand():
    source = mqar(**SMALL).train
    together, alone = source.examples(np.array([7, 3])), source.examples(np.array([3]))
    np.testing.assert_array_equal(together["inputs"]["tokens"][1:], alone["inputs"]["tokens"])


def test_an_encoder_gets_classes_of_tokens():
    dataset = mqar(**SMALL, form="tags")
    assert dataset.facts == {"vocab_size": 22, "context": 23, "classes": 22}
    for x, y in zip(everything(dataset.train), everything(mqar(**SMALL).train)):
        np.testing.assert_array_equal(x, y)


def test_an_encoder_decoder_gets_the_pairs_as_its_source():
    dataset = mqar(**SMALL, form="answers")
    assert dataset.facts == {"source_vocab_size": 22, "source_context": 10, "vocab_size": 22, "context": 13}
    batch, plain = (mqar(**SMALL, form=form).train.examples(np.arange(7)) for form in ("answers", "next_token"))
    tokens = np.concatenate([batch["inputs"]["source"], batch["inputs"]["tokens"]], axis=1)
    np.testing.assert_array_equal(tokens, plain["inputs"]["tokens"])
    for part in ("targets", "weights"):
        np.testing.assert_array_equal(batch[part], plain[part][:, 10:])


def test_the_published_sizes():
    tokens, _, weights = everything(mqar(length=256, pairs=16, evaluation="test[:100]").evaluation)
    assert tokens.shape == (100, 256) and (weights.sum(1) == 16).all()
    assert tokens.max() < 8192 and tokens[:, 0:32:2].max() < 4096 <= tokens[:, 1:32:2].min()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"length": 30, "pairs": 8}, "length = 30, pairs = 8: expected at least 4 tokens per pair"),
        ({"symbols": 16, "pairs": 8}, "symbols = 16, pairs = 8: expected at least 18 symbols"),
        ({"symbols": 4, "length": 4, "pairs": 1}, "only about 2 different sequences, and 103,000 are needed"),
        ({"form": "tag"}, "form = 'tag': expected one of next_token, tags, answers"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        mqar(**settings)
