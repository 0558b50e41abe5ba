"""IMDB: labels, tokens and splits of a small set in its form, what a missing one says, and the real one's sizes."""

import importlib
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data.imdb import imdb
from data.storage import MissingData
from data.subwords import CLS, SEP, Subwords

REVIEWS = {
    "train": [("dull and long", 0), ("a joy", 1), ("never again", 0)],
    "test": [("très bon", 1), ("no", 0)],
}


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Five reviews in place of the real ones."""
    rows = {split: [{"text": t.encode(), "label": n} for t, n in reviews] for split, reviews in REVIEWS.items()}
    module = importlib.import_module("data.imdb")  # data.imdb is also the function
    monkeypatch.setattr(module, "open_official", lambda name: SimpleNamespace(name=name, data_dir=tmp_path))
    monkeypatch.setattr(module, "records", lambda builder, split: iter(rows[split]))


def test_bytes_and_labels(small):
    dataset = imdb(context=9)
    assert dataset.vocabulary is not None
    assert dataset.facts == {"classes": 2, "vocab_size": 263, "context": 9}
    assert dataset.classes == ("negative", "positive")
    assert (len(dataset.train), len(dataset.evaluation), dataset.evaluation_name) == (3, 2, "test")
    batch = dataset.train.examples(np.arange(3))
    assert batch["targets"].tolist() == [0, 1, 0]
    texts = [dataset.vocabulary.decode(row[mask]) for row, mask in zip(*batch["inputs"].values())]
    assert texts == ["dull and ", "a joy", "never aga"]
    assert dataset.evaluation.examples(np.arange(2))["targets"].tolist() == [1, 0]


def test_word_pieces_stand_between_cls_and_sep(small, tmp_path):
    texts = [text for reviews in REVIEWS.values() for text, _ in reviews]
    vocabulary = Subwords.train(texts, kind="bpe", vocab_size=300)
    vocabulary.save(tmp_path / "tokenizer.json")
    dataset = imdb(context=8, tokenizer=str(tmp_path / "tokenizer.json"), train="train[:2]", evaluation="train[2:]")
    tokens, mask = dataset.train.examples(np.array([1]))["inputs"].values()
    assert tokens[0][mask[0]].tolist() == [CLS, *vocabulary.encode("a joy")[:6], SEP]
    assert (len(dataset.train), len(dataset.evaluation)) == (2, 1)


def test_a_decoder_answers_with_the_class_after_the_last_token(small):
    dataset = imdb(context=9, form="next_token")
    assert dataset.facts == {"vocab_size": 263 + 2, "context": 9}
    batch = dataset.train.examples(np.array([1]))  # "a joy" is positive
    assert batch["weights"].tolist() == [[0, 0, 0, 0, 1, 0, 0, 0, 0]]
    assert batch["targets"][0, 4] == 263 + 1


def test_a_missing_set_says_how_to_prepare_it_and_the_folder_of_its_configuration_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(MissingData, match="builder\\('imdb_reviews/plain_text'"):
        imdb(context=9)
    folder = tmp_path / "imdb_reviews" / "plain_text" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps({"name": "imdb_reviews", "fileFormat": "tfrecord"}))
    with pytest.raises(MissingData, match=f"{folder} holds imdb_reviews/plain_text as tfrecord"):
        imdb(context=9)


@pytest.mark.slow
def test_the_real_set_has_its_known_sizes(capsys):
    folder = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser() / "imdb_reviews"
    if not folder.exists():
        pytest.skip(f"{folder} is not there")
    dataset = imdb(context=64)
    assert (len(dataset.train), len(dataset.evaluation)) == (25_000, 25_000)
    for source in (dataset.train, dataset.evaluation):
        assert source.examples(np.arange(25_000))["targets"].sum() == 12_500
