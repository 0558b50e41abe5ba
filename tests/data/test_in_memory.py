"""Generated sets: what each example is, that each start generates the same ones, and settings that are refused."""

import sys

import numpy as np
import pytest

from data.linear_functions import linear_functions
from data.markov import entropy_rate, markov, stationary, transitions
from data.progressions import progressions
from data.random_fields import random_fields
from data.repeats import repeats
from data.reversal import reversal
from data.subwords import BOS, EOS
from data.textures import textures
from data.topics import topics

SETS = (linear_functions, markov, progressions, random_fields, repeats, reversal, textures, topics)


def everything(source):
    return source.examples(np.arange(len(source)))


@pytest.mark.parametrize("make", SETS, ids=lambda make: make.__name__)
def test_each_start_generates_the_same_examples_and_splits_are_disjoint(make):
    part, complete = make(train="train[3:10]"), make()
    rows = np.array([4, 0, 6])
    np.testing.assert_equal(part.train.examples(rows), complete.train.examples(rows + 3))
    assert len(part.train) == 7 and part.evaluation_name == "test"
    np.testing.assert_equal(make(train="test").train.examples(rows), complete.evaluation.examples(rows))
    with pytest.raises(ValueError, match=f"{make.__name__} has no split 'val'"):
        make(train="val")


def test_a_batch_belongs_to_the_caller():
    source = textures(train="train[:5]").train
    batch = source.examples(np.arange(5))
    batch["inputs"]["images"][:] = 7
    assert (source.examples(np.arange(5))["inputs"]["images"] != 7).all()


def test_the_chain_has_its_transition_probabilities():
    batch = everything(markov(symbols=5, context=11).train)
    tokens, targets = batch["inputs"]["tokens"], batch["targets"]
    assert tokens.shape == (20_000, 11) and tokens.dtype == np.int32
    np.testing.assert_array_equal(tokens[:, 1:], targets[:, :-1])
    counts = np.zeros((5, 5))
    np.add.at(counts, (tokens.ravel(), targets.ravel()), 1)
    np.testing.assert_allclose(counts / counts.sum(1, keepdims=True), transitions(5), atol=0.01)
    np.testing.assert_allclose(counts.sum(1) / counts.sum(), stationary(5), atol=0.01)
    np.testing.assert_allclose(stationary(5) @ transitions(5), stationary(5), atol=1e-12)


def test_the_entropy_rate_is_that_of_the_next_symbol(monkeypatch):
    # By hand: 0 is always followed by 1, and 1 by either. A third of the symbols are 0; each 1 leaves ln 2 nats.
    chain = lambda symbols: np.array([[1e-300, 1.0], [0.5, 0.5]])
    monkeypatch.setattr(sys.modules[markov.__module__], "transitions", chain)
    np.testing.assert_allclose(stationary(2), [1 / 3, 2 / 3])
    assert entropy_rate(2) == pytest.approx(2 / 3 * np.log(2))


def test_the_values_of_a_sequence_are_those_of_one_linear_function():
    dataset = linear_functions(dimensions=3, length=7)
    assert dataset.facts == {"dimensions": 3, "context": 7}
    batch = everything(dataset.evaluation)
    points, values = batch["inputs"]["points"], batch["inputs"]["values"]
    np.testing.assert_array_equal(values, batch["targets"])
    assert values.var() == pytest.approx(1, abs=0.05) and values.dtype == np.float32
    slopes = np.linalg.solve(points[:, :3].astype(float), values[:, :3, None])  # three points determine the function
    predicted = (points[:, 3:] @ slopes)[..., 0]
    assert np.quantile(np.abs(predicted - values[:, 3:]), 0.99) < 1e-3
    assert np.cov(slopes[..., 0].T) == pytest.approx(np.eye(3) / 3, abs=0.1)


def test_weights_of_repeats_are_1_where_earlier_tokens_determine_the_target():
    dataset = repeats(symbols=11, pairs=3, length=7)
    assert dataset.facts == {"vocab_size": 11, "context": 13}
    batch = everything(dataset.evaluation)
    for tokens, targets, weights in zip(batch["inputs"]["tokens"].tolist(), batch["targets"], batch["weights"]):
        assert len(set(tokens)) <= 6
        for place, (token, weight) in enumerate(zip(tokens, weights)):
            before = [tokens[i + 1] for i in range(place) if tokens[i] == token]
            assert bool(weight) == bool(place % 2 == 0 and before)
            assert not weight or set(before) == {targets[place]}


def test_reversal_is_the_source_backwards():
    dataset = reversal(symbols=11, length=5)
    assert dataset.facts == {"source_vocab_size": 18, "vocab_size": 18, "source_context": 5, "context": 6}
    batch = everything(dataset.train)
    source = batch["inputs"]["source"]
    np.testing.assert_array_equal(batch["targets"][:, :-1], source[:, ::-1])
    assert (batch["targets"][:, -1] == EOS).all() and (batch["inputs"]["tokens"][:, 0] == BOS).all()
    assert len(np.unique(source, axis=0)) == 20_000 and source.min() == 7 and source.max() == 17


@pytest.mark.parametrize("shifted", [True, False])
def test_progressions_have_one_step(shifted):
    dataset = progressions(modulus=7, length=5, shifted=shifted)
    assert dataset.facts == {"vocab_size": 8, "context": 5, "mask_id": 0, "special_below": 1}
    batch = everything(dataset.train)
    terms, tokens = batch["targets"], batch["inputs"]["tokens"]
    assert terms.min() == 1 and terms.max() == 7 and len(np.unique(terms, axis=0)) == 49
    steps = np.diff(terms) % 7
    assert (steps == steps[:, :1]).all()
    expected = np.pad(terms, ((0, 0), (1, 0)))[:, :-1] if shifted else terms
    np.testing.assert_array_equal(tokens, expected)


def test_texts_that_follow_have_the_same_topic():
    batch = everything(topics(topics=3, words=5, length=7, share=1.0).train)
    tokens, segments = batch["inputs"]["tokens"], batch["inputs"]["segments"]
    assert tokens.shape == (20_000, 17) and segments[0].tolist() == [0] * 9 + [1] * 8
    assert (tokens[:, 0] == 0).all() and (tokens[:, [8, 16]] == 1).all()
    first, second = (tokens[:, 1:8] - 3) // 5, (tokens[:, 9:16] - 3) // 5
    assert (first == first[:, :1]).all() and (second == second[:, :1]).all()
    np.testing.assert_array_equal(first[:, 0] == second[:, 0], batch["targets"])
    assert batch["targets"].mean() == pytest.approx(0.5, abs=0.02) and tokens.max() == 17
    tagged = topics(topics=3, words=5, length=7, share=1.0, targets="topics")
    assert tagged.facts == {"vocab_size": 18, "context": 17, "mask_id": 2, "special_below": 3, "classes": 3}
    tagged = everything(tagged.train)
    np.testing.assert_array_equal(tagged["targets"][:, 1:8], first)
    np.testing.assert_array_equal(tagged["targets"][:, 9:16], second)
    np.testing.assert_array_equal(tagged["weights"] > 0, tokens > 2)


def test_levels_are_equally_frequent_and_neighbours_similar():
    dataset = random_fields(side=3, levels=4, scale=1.5)
    assert dataset.facts == {"vocab_size": 5, "context": 9, "mask_id": 0, "special_below": 1}
    tokens = everything(dataset.train)["targets"]
    np.testing.assert_allclose(np.bincount(tokens.ravel()) / tokens.size, [0, 0.25, 0.25, 0.25, 0.25], atol=0.01)
    alike = np.corrcoef(tokens.T)[0]
    assert 1 > alike[1] == pytest.approx(alike[3], abs=0.02) and alike[1] > alike[4] > alike[8]


def test_stripes_run_in_the_direction_of_their_class():
    dataset = textures(side=12, classes=2, noise=0.0)
    assert dataset.facts == {"image_shape": (12, 12, 1), "classes": 2}
    batch = everything(dataset.train)
    upright = batch["inputs"]["images"][batch["targets"] == 0]
    np.testing.assert_allclose(np.diff(upright, axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(upright[:, :, :8], upright[:, :, 4:], atol=1e-5)  # a wave is 4 pixels long
    np.testing.assert_allclose(np.diff(batch["inputs"]["images"][batch["targets"] == 1], axis=2), 0, atol=1e-5)


@pytest.mark.parametrize(
    "make, wrong, words",
    [
        (repeats, {"pairs": 9}, "2 symbols per pair"),
        (reversal, {"symbols": 2}, "too few different strings"),
        (topics, {"targets": "words"}, "targets = 'words': expected 'follows' or 'topics'"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_bad_settings_are_named(make, wrong, words):
    with pytest.raises(ValueError, match=words):
        make(**wrong)
