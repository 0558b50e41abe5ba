"""Sentences about labelled images: what they say, which template a draw has, and what is padded."""

from typing import Any

import numpy as np
import pytest

from core.errors import UserError
from data import DATASETS
from data.prompts import TEMPLATES, framed, prompts, words_of
from data.subwords import BOS, EOS, PAD, vocabulary_of_words


def pairs(**fields) -> Any:
    return DATASETS["shapes"](form="pair", side=16, **fields)


def sentences(dataset, batch) -> list[str]:
    return [dataset.vocabulary.decode(row) for row in batch["inputs"]["tokens"]]


def test_a_sentence_says_what_is_in_the_image_in_the_template_of_its_draw():
    dataset, indices = pairs(), np.arange(40)
    draws = np.linspace(0, 0.999, 40)
    batch = dataset.train.examples(indices, draws[:, None])
    captions = DATASETS["shapes"](side=16)
    same = captions.train.examples(indices)
    np.testing.assert_array_equal(batch["inputs"]["images"], same["inputs"]["images"])
    lengths = same["weights"].sum(1).astype(int) - 1  # without [EOS]
    says = [captions.vocabulary.decode(row[:length])[2:] for row, length in zip(same["targets"], lengths)]
    assert sentences(dataset, batch) == [TEMPLATES[int(5 * draw)].format(text) for draw, text in zip(draws, says)]
    assert any(" and " in text for text in says) and not all(" and " in text for text in says)
    numbers = {text: number for text, number in zip(says, batch["targets"])}
    assert [numbers[text] for text in says] == batch["targets"].tolist()  # one number for each text
    assert len(set(numbers.values())) == len(numbers)


def test_in_evaluation_it_names_the_only_object_in_the_first_template():
    dataset = pairs()
    batch = dataset.evaluation.examples(np.arange(40))
    assert sentences(dataset, batch) == [f"a {dataset.classes[label]}" for label in batch["targets"]]


def test_images_and_classes_are_those_of_the_set_without_sentences():
    labelled = DATASETS["shapes"](form="class", objects=1, side=16)
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
    assert dataset.facts["context"] == len("[BOS] this is a small red circle and a blue square [EOS]".split())
    words = {word for text in prompts([*dataset.classes, "x and x"]) for word in text.split()} - {"x"}
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
    with pytest.raises(UserError, match="sentences need images whose classes have names"):
        DATASETS[name](form="pair", **fields)
