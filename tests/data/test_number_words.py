"""Number words: known translations, and no number in both splits."""

from num2words import num2words
import numpy as np
import pytest

from data.number_words import number_words
from data.subwords import Subwords


@pytest.fixture(scope="module")
def dataset():
    return number_words(evaluation="test[:997]")


def texts(dataset, source) -> dict[str, str]:
    batch = source.examples(np.arange(len(source)))
    inputs = batch["inputs"]
    english = [dataset.vocabulary.decode(row) for row in inputs["source"]]
    return dict(zip(english, [dataset.vocabulary.decode(row) for row in batch["targets"]]))


def test_held_out_numbers_are_held_out(dataset):
    train, test = texts(dataset, dataset.train), texts(dataset, dataset.evaluation)
    assert len(train) == 89_948 and len(test) == 997 and not train.keys() & test.keys()
    everything = train | test
    for number in (1, 11, 21_000, 99_999):
        assert everything.get(num2words(number), num2words(number, lang="de")) == num2words(number, lang="de")
    words = [num2words(number) for number in range(1000)]
    held_out = [word for word in words if word not in train]
    assert 60 < len(held_out) < 140  # a tenth, by a hash


def test_units_come_before_tens_in_german(dataset):
    everything = texts(dataset, dataset.train)
    assert everything["forty-two thousand"] == "zweiundvierzigtausend"


def test_facts_are_those_of_the_tokens(dataset):
    batch = dataset.train.examples(np.arange(len(dataset.train)))
    assert dataset.facts["vocab_size"] == dataset.facts["source_vocab_size"] == len(dataset.vocabulary) == 400
    assert batch["targets"].max() < 400
    assert batch["targets"].shape[1] == dataset.facts["context"] and batch["weights"][:, -1].any()
    assert batch["inputs"]["source"].shape[1] == dataset.facts["source_context"]


def test_runs_of_one_process_share_the_tokens(dataset, monkeypatch):
    monkeypatch.setattr(Subwords, "train", None)  # a call would fail
    again = number_words(evaluation="test[:5]", form="prompt")
    assert again.vocabulary is not None
    assert again.vocabulary.text() == dataset.vocabulary.text() and len(again.train) == len(dataset.train)
