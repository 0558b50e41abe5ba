"""The skills of MAD: what is asked for can be known from what came before, and nothing else is asked for."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from data.compression import compression
from data.dataset import Dataset
from data.key_value_recall import first_of_each, fuzzy_recall, noisy_recall
from data.memorisation import memorisation
from data.selective_copying import selective_copying
from data.subwords import BOS, SPECIALS

SETS: dict[str, tuple[Callable[..., Dataset], dict[str, Any]]] = {
    "noisy_recall": (noisy_recall, {"symbols": 17, "noise_symbols": 5, "noise": 0.3, "length": 22}),
    "fuzzy_recall": (fuzzy_recall, {"symbols": 12, "key_tokens": 2, "value_tokens": 3, "length": 23}),
    "memorisation": (memorisation, {"symbols": 24, "length": 13}),
    "selective_copying": (selective_copying, {"symbols": 13, "length": 19, "copied": 7}),
    "compression": (compression, {"symbols": 11, "length": 7}),
}


def everything(source):
    batch = source.examples(np.arange(len(source)))
    return batch["inputs"]["tokens"], batch["targets"], batch["weights"]


def made(name: str) -> Dataset:
    function, fields = SETS[name]
    return function(**fields)


@pytest.mark.parametrize("name", SETS)
def test_splits_share_no_sequence_and_are_the_same_at_each_start(name):
    inputs = [made(name).train.examples(np.arange(12_800))["inputs"] for _ in range(2)]
    test = made(name).evaluation.examples(np.arange(1_280))["inputs"]
    read = "source" if "source" in test else "tokens"
    np.testing.assert_array_equal(inputs[0][read], inputs[1][read])
    assert len(np.unique(np.concatenate([inputs[0][read], test[read]]), axis=0)) == 14_080


@pytest.mark.parametrize("name", [name for name in SETS if name != "compression"])
def test_types_facts_and_what_is_not_asked_for(name):
    dataset = made(name)
    tokens, targets, weights = everything(dataset.train)
    assert tokens.dtype == targets.dtype == np.int32 and weights.dtype == np.float32
    assert dataset.facts == {"vocab_size": SETS[name][1]["symbols"], "context": tokens.shape[1]}
    assert tokens.min() == 0 and tokens.max() == dataset.facts["vocab_size"] - 1
    assert not targets[weights == 0].any() and set(np.unique(weights)) == {0, 1} and (weights.sum(1) > 0).all()


def test_noisy_recall_asks_for_the_values_of_keys_that_came_before():
    tokens, targets, weights = everything(made("noisy_recall").train)
    assert tokens.shape[1] == 21  # the last value is no input
    for row, target, weight in zip(tokens[:500].tolist(), targets.tolist(), weights.tolist()):
        value_of, asked = {}, []
        for place in range(0, 20, 2):
            key, value = row[place], row[place + 1]
            if key >= 12:
                assert value >= 12  # noise, two tokens of it
                continue
            assert key < 6 <= value < 12 and value_of.setdefault(key, value) == value
            if row[:place:2].count(key):
                asked.append((place, value))
        asked.append((20, value_of[row[20]]))
        assert [(place, target[place]) for place in range(21) if weight[place]] == asked


def test_the_share_of_noise_is_as_asked():
    tokens, _, _ = everything(noisy_recall(length=128, noise=0.4).train)
    assert (tokens[:, 0:126:2] >= 16).mean() == pytest.approx(0.4 * 62 / 63, abs=0.003)  # one pair is never noise
    assert (everything(noisy_recall(length=128, noise=0.0).train)[0] < 16).all()


def pairs_of(sequence: list[int], border: int, padding: int) -> list[tuple[tuple, tuple]]:
    """Reads keys and values again: a key begins where a token of a key follows one of a value."""
    pairs, key, value = [], (), ()
    for token in [*[token for token in sequence if token != padding], None]:
        if value and (token is None or token < border):
            pairs.append((key, value))
            key, value = (), ()
        if token is not None:
            key, value = (key + (token,), value) if token < border else (key, value + (token,))
    return pairs


def test_fuzzy_recall_asks_for_the_values_of_keys_that_came_before():
    tokens, targets, weights = everything(made("fuzzy_recall").train)
    sizes = set()
    for row, target, weight in zip(tokens[:500].tolist(), targets.tolist(), weights.tolist()):
        sequence = [*row, target[-1]]
        value_of, asked, place = {}, [], sequence.count(11)
        assert 11 not in sequence[place:]  # padding is in front
        pairs = pairs_of(sequence, border=5, padding=11)
        for key, value in pairs:
            assert len(set(key)) == len(key) <= 2 and len(set(value)) == len(value) <= 3
            sizes.add((len(key), len(value)))
            if key in value_of:
                asked += [(place + len(key) + i - 1, token) for i, token in enumerate(value)]
            assert value_of.setdefault(key, value) == value
            place += len(key) + len(value)
        assert [(place, target[place]) for place in range(22) if weight[place]] == asked and asked
        assert pairs[-1][0] in {key for key, _ in pairs[:-1]}
        assert sequence.count(11) < 5  # no further pair would have fitted
    assert sizes == {(key, value) for key in (1, 2) for value in (1, 2, 3)}


def test_first_of_each():
    numbers = np.array([[3, 1, 3, 3, 1], [0, 0, 2, 1, 2]])
    np.testing.assert_array_equal(first_of_each(numbers), [[0, 1, 0, 0, 1], [0, 0, 2, 3, 2]])


def test_memorisation_has_one_dictionary_for_all_sequences():
    dataset, value_of = made("memorisation"), {}
    for source in (dataset.train, dataset.evaluation):
        tokens, targets, weights = everything(source)
        assert (tokens[:, 1::2] == 23).all() and (weights == np.arange(13) % 2).all()
        for key, value in zip(tokens[:, 0:12:2].ravel().tolist(), targets[:, 1::2].ravel().tolist()):
            assert value_of.setdefault(key, value) == value
    assert set(value_of) == set(range(11)) and len(set(value_of.values())) == 11
    assert set(value_of.values()) <= set(range(11, 23))


def test_selective_copying_asks_for_the_tokens_in_their_order():
    tokens, targets, weights = everything(made("selective_copying").train)
    assert (tokens[:, 11] == 12).all() and (tokens[:, 12:] == 11).all() and (weights == (np.arange(19) >= 12)).all()
    for row, target in zip(tokens[:500].tolist(), targets.tolist()):
        assert [token for token in row[:11] if token != 11] == target[12:]
    np.testing.assert_allclose((tokens[:, :11] < 11).mean(0), 7 / 11, atol=0.02)  # all places alike


def test_compression_has_the_source_as_its_target():
    dataset = made("compression")
    size = 11 + len(SPECIALS)
    assert dataset.facts == {"source_vocab_size": size, "vocab_size": size, "source_context": 7, "context": 8}
    batch = dataset.train.examples(np.arange(5))
    np.testing.assert_array_equal(batch["inputs"]["source"], batch["targets"][:, :7])
    np.testing.assert_array_equal(batch["inputs"]["tokens"][:, 1:], batch["targets"][:, :7])
    assert (batch["inputs"]["tokens"][:, 0] == BOS).all() and batch["weights"].all()


@pytest.mark.parametrize(
    "name, fields, message",
    [
        ("noisy_recall", {"length": 21}, "length = 21: expected an even number"),
        ("noisy_recall", {"symbols": 17, "noise_symbols": 16}, "noise_symbols = 16: expected at least 2 symbols"),
        ("noisy_recall", {"noise_symbols": 0}, "noise = 0.3, noise_symbols = 0: expected at least 1"),
        ("noisy_recall", {"symbols": 5, "noise_symbols": 3, "length": 4}, "only about .* different sequences"),
        ("fuzzy_recall", {"key_tokens": 6}, "key_tokens = 6: expected at most 5 different tokens"),
        ("fuzzy_recall", {"value_tokens": 7}, "value_tokens = 7: expected at most 6 different tokens"),
        ("fuzzy_recall", {"length": 9}, "expected a length of at least 10, two pairs"),
        ("memorisation", {"symbols": 3}, "only about 1 different sequences, and 14,080 are needed"),
        ("selective_copying", {"copied": 10}, "length = 19, copied = 10: expected a length of at least 21"),
        ("compression", {"symbols": 2}, "symbols = 2, length = 7: there are too few different strings"),
    ],
)
def test_impossible_settings_are_named(name, fields, message):
    function, usual = SETS[name]
    with pytest.raises(ValueError, match=message):
        function(**(usual | fields))
