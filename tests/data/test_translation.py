"""Translation from the user's files: splits by name, and how a malformed line is reported."""

import numpy as np
import pytest

from core.errors import UserError
from data.subwords import Subwords
from data.translation import translation

ENGLISH, GERMAN = ["a dog", "two cats", "one cat and a dog"], ["ein Hund", "zwei Katzen", "eine Katze und ein Hund"]


@pytest.fixture
def folder(tmp_path):
    """Pairs of 3 and 1 lines; a token is a byte."""
    Subwords.train([], kind="bpe", vocab_size=263).save(tmp_path / "tokenizer.json")
    for split, part in {"train": slice(None), "validation": slice(1), "test_2016": slice(2)}.items():
        for language, lines in {"en": ENGLISH, "de": GERMAN}.items():
            (tmp_path / f"{split}.{language}").write_text("\n".join(lines[part]) + "\n", encoding="utf-8")
    (tmp_path / "alone.en").write_text("no partner\n")
    return tmp_path


def load(folder, **more):
    fields = {"source": "en", "target": "de", "source_length": 17, "length": 24}
    return translation(path=str(folder), tokenizer=str(folder / "tokenizer.json"), **fields | more)


def text(dataset, batch, row):
    source = batch["inputs"]["source"][row][batch["inputs"]["source_mask"][row]]
    return dataset.vocabulary.decode(source), dataset.vocabulary.decode(batch["targets"][row])


def test_line_n_of_one_file_is_translated_by_line_n_of_the_other(folder):
    dataset = load(folder)
    batch = dataset.train.examples(np.arange(3))
    assert [text(dataset, batch, row) for row in range(3)] == list(zip(ENGLISH, GERMAN))
    assert dataset.facts == {"source_vocab_size": 263, "vocab_size": 263, "source_context": 17, "context": 24}
    assert (len(dataset.evaluation), dataset.evaluation_name) == (1, "validation")


def test_splits_are_files_and_can_be_sliced_and_reversed(folder):
    dataset = load(folder, source="de", target="en", source_length=23, length=18, train="train[1:]+test_2016")
    batch = dataset.train.examples(np.arange(4))
    assert text(dataset, batch, 3) == ("zwei Katzen", "two cats") and text(dataset, batch, 1) == (GERMAN[2], ENGLISH[2])


def test_long_pairs_are_left_out_of_training_and_counted(folder, capsys):
    dataset = load(folder, source_length=11)
    assert len(dataset.train) == 2 and "1 of 3 pairs of 'train' are too long and left out" in capsys.readouterr().err
    assert len(load(folder, length=23).train) == 2  # 23 bytes and the end are 24
    load(folder)
    assert "too long" not in capsys.readouterr().err.splitlines()[-1:]


def test_no_pair_is_left_out_of_the_evaluation(folder):
    dataset = load(folder, source_length=11, length=13, evaluation="train[1:]")
    batch, evaluated = dataset.train.examples(np.arange(1)), dataset.evaluation.examples(np.arange(2))
    assert (batch["inputs"]["source"].shape, batch["targets"].shape) == ((1, 11), (1, 13))
    assert (evaluated["inputs"]["source"].shape, evaluated["targets"].shape) == ((2, 17), (2, 24))
    assert [text(dataset, evaluated, row) for row in range(2)] == list(zip(ENGLISH, GERMAN))[1:]
    assert (dataset.facts["source_context"], dataset.facts["context"]) == (17, 24)  # lengths that a model must allow


def test_a_length_that_fits_nothing_is_an_error(folder):
    with pytest.raises(ValueError, match="No pair of 'train' .* fits source_length = 2"):
        load(folder, source_length=2)


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("train.de", b"eins\nzwei\n", r"train.en, line 3, has no partner: train.de has 2 lines, train.en has 3"),
        ("train.en", b"one\n", r"train.de, line 2, has no partner"),
        ("train.de", b"eins\n\ndrei\n", "train.de, line 2: empty"),
        ("validation.de", b"\xfcber\n", "validation.de, line 1: not UTF-8"),
    ],
)
def test_a_malformed_file_is_named_with_the_line(folder, name, content, words):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        load(folder)


def test_missing_files_and_splits_are_named(folder, tmp_path):
    with pytest.raises(UserError, match="no pair of files. Expected .* train.en and train.fr; found alone.en"):
        load(folder, target="fr")
    with pytest.raises(ValueError, match="has no split 'val'. It has test_2016 .2., train .3., validation .1."):
        load(folder, evaluation="val")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="To make one: python -m experiments.tokenizer"):
        load(folder)
