"""Sentences about labelled images: what they say, which template a draw has, and what is padded."""

from typing import Any

import numpy as np
import pytest

from core.errors import UserError
from data import DATASETS
from data.prompts import TEMPLATES, framed, prompts, words_of
from data.subwords import BOS, EOS, PAD, vocabulary_of_words


def pairs(**fields) -> Any:
    return DATASETS["shapes"](form="pair", objects=1, **fields)


def sentences(dataset, batch) -> list[str]:
    return [dataset.vocabulary.decode(row) for row in batch["inputs"]["tokens"]]


def test_a_sentence_names_the_class_in_the_template_of_its_draw():
    dataset, indices = pairs(), np.arange(40)
    draws = np.linspace(0, 0.999, 40)[:, None]
    batch = dataset.train.examples(indices, draws)
    names = [dataset.classes[label] for label in batch["targets"]]
    expected = [TEMPLATES[int(5 * draw)].format(name) for draw, name in zip(draws[:, 0], names)]
    assert sentences(dataset, batch) == expected and len(set(expected)) > 20
    plain = dataset.evaluation.examples(indices)
    names = [dataset.classes[label] for label in plain["targets"]]
    assert sentences(dataset, plain) == [f"a {name}" for name in names]


def test_images_and_classes_are_those_of_the_set_without_sentences():
    labelled = DATASETS["shapes"](form="class", objects=1)
    expected, batch = (x.evaluation.examples(np.arange(20)) for x in (labelled, pairs()))
    np.testing.assert_array_equal(batch["inputs"]["images"], expected["inputs"]["images"])
    np.testing.assert_array_equal(batch["targets"], expected["targets"])
    assert pairs().classes == labelled.classes


def test_a_sentence_stands_between_its_marks_and_padding_is_masked():
    batch = pairs().train.examples(np.arange(7), np.full((7, 1), 0.5))
    tokens, mask = batch["inputs"]["tokens"], batch["inputs"]["mask"]
    lengths = mask.sum(1)
    assert (tokens[:, 0] == BOS).all() and (tokens[np.arange(7), lengths - 1] == EOS).all()
    assert (tokens[~mask] == PAD).all() and (tokens[mask] != PAD).all()
    assert tokens.dtype == np.int32 and mask.dtype == bool


def test_the_context_fits_the_longest_sentence_and_the_vocabulary_all_words():
    dataset = pairs()
    longest = max(prompts(dataset.classes), key=lambda text: len(text.split()))
    assert dataset.facts["context"] == len(longest.split()) + 2
    words = {word for text in prompts(dataset.classes) for word in text.split()}
    assert dataset.facts["vocab_size"] == len(dataset.vocabulary) == len(words) + 7


def test_augmentation_keeps_its_draws():
    dataset = DATASETS["digits"](form="pair", shift=1)
    plain = DATASETS["digits"](shift=1)
    draws = np.random.default_rng(0).random((9, dataset.train.draws))
    assert dataset.train.draws == plain.train.draws + 1
    batch = dataset.train.examples(np.arange(9), draws)
    expected = plain.train.examples(np.arange(9), draws[:, :-1])
    np.testing.assert_array_equal(batch["inputs"]["images"], expected["inputs"]["images"])


def test_words_are_small_and_sorted():
    assert words_of(prompts(["Ankle boot", "Bag"], ["One {}", "a {}"])) == ["a", "ankle", "bag", "boot", "one"]


@pytest.mark.parametrize("template", ["no place", "{} and {}"])
def test_a_template_has_one_place(template):
    with pytest.raises(UserError, match="has not one place for the class"):
        prompts(["bag"], [template])


def test_a_text_that_is_too_long_is_named():
    vocabulary = vocabulary_of_words(["a", "bag"])
    tokens, mask = framed(vocabulary, ["a bag", "bag"], 5)
    assert tokens.tolist() == [[BOS, 7, 8, EOS, PAD], [BOS, 8, EOS, PAD, PAD]] and mask.sum() == 7
    with pytest.raises(UserError, match="'a bag' has 4 tokens with .BOS. and .EOS.: at most 3"):
        framed(vocabulary, ["bag", "a bag"], 3)


@pytest.mark.parametrize(
    "name, fields", [("recall", {}), ("digits", {"targets": "images"})], ids=["no images", "no classes"]
)
def test_sets_that_are_no_labelled_images_are_refused(name, fields):
    with pytest.raises(UserError, match="form = 'pair' needs images whose classes have names"):
        DATASETS[name](form="pair", **fields)
