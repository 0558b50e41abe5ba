"""Sets of TensorFlow Datasets by name: small ones that are made here, and MNIST, Fashion-MNIST and IMDB if on disk."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
import pytest
import tensorflow_datasets as tfds

from core.errors import UserError
from data import tfds_sets
from data.images import fashion_mnist, mnist
from data.imdb import imdb

ROOT = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
needs = lambda name: pytest.mark.skipif(not (ROOT / name).is_dir(), reason=f"{name} is not on disk")


class Small(tfds.core.GeneratorBasedBuilder):
    """What the small sets have in common: 7 examples for training and 3 for the test."""

    VERSION = tfds.core.Version("1.0.0")
    SUPERVISED: Any = None

    def features(self) -> dict[str, Any]:
        raise NotImplementedError

    def example(self, number: int) -> dict[str, Any]:
        raise NotImplementedError

    def _info(self):
        features = tfds.features.FeaturesDict(self.features())
        return tfds.core.DatasetInfo(
            builder=self, description=__doc__, features=features, supervised_keys=self.SUPERVISED
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(range(7)), "test": self._generate_examples(range(7, 10))}

    def _generate_examples(self, numbers):
        for number in numbers:
            yield number, self.example(number)


def png(pixels: np.ndarray) -> bytes:
    """An image as a PNG file: TFDS would need TensorFlow to encode an array."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class Pictures(Small):
    """Two images of each example, the second one of any size, and two labels."""

    def features(self):
        return {
            "photo": tfds.features.Image(shape=(3, 5, 3)),
            "sketch": tfds.features.Image(shape=(None, None, 1)),
            "animal": tfds.features.ClassLabel(names=["cat", "dog"]),
            "colour": tfds.features.ClassLabel(names=["red", "green", "blue"]),
        }

    def example(self, number):
        return {
            "photo": png(np.full((3, 5, 3), 20 * number, np.uint8)),
            "sketch": png(np.full((2 + number, 4), 10 * number, np.uint8)),
            "animal": number % 2,
            "colour": number % 3,
        }


class Supervised(Pictures):
    """The same, and says which are input and label."""

    SUPERVISED = ("photo", "colour")


class Reviews(Small):
    """Texts with labels."""

    def features(self):
        return {"body": tfds.features.Text(), "stars": tfds.features.ClassLabel(names=["bad", "good"])}

    def example(self, number):
        return {"body": "né" * number + ".", "stars": number % 2}


class Lines(Small):
    """Texts alone."""

    def features(self):
        return {"line": tfds.features.Text(), "number": tfds.features.Scalar(np.int64)}

    def example(self, number):
        return {"line": f"line {number}\n", "number": number}


@pytest.fixture(autouse=True, scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    for builder in (Pictures, Supervised, Reviews, Lines):
        builder(data_dir=folder).download_and_prepare(file_format="array_record")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(folder))
        patch.setenv("LECTERN_DATA", str(tmp_path_factory.mktemp("kept")))
        yield


def test_the_features_are_those_that_the_set_calls_input_and_label():
    dataset = tfds_sets.tfds(dataset="supervised", shift=1, mean=(0.5,))
    assert dataset.facts == {"image_shape": (3, 5, 3), "classes": 3} and dataset.classes == ("red", "green", "blue")
    assert (len(dataset.train), len(dataset.evaluation), dataset.train.draws) == (7, 3, 6)
    batch = dataset.evaluation.examples(np.arange(3))
    values = {(round(float(x) * 255 / 20), int(label)) for x, label in
              zip(batch["inputs"]["images"][:, 1, 1, 1] + 0.5, batch["targets"])}  # fmt: skip
    assert values == {(7, 1), (8, 2), (9, 0)}


def test_features_are_named_and_images_stretched():
    dataset = tfds_sets.tfds(dataset="pictures", image="sketch", label="animal", size=4)
    assert dataset.facts == {"image_shape": (4, 4, 1), "classes": 2}
    images = dataset.evaluation.examples(np.arange(3))["inputs"]["images"]
    assert sorted(np.rint(255 * images[:, 3, 3, 0]).astype(int).tolist()) == [70, 80, 90]


def test_an_image_can_be_read_as_tokens():
    dataset = tfds_sets.tfds(dataset="supervised", form="class", levels=7)
    assert dataset.facts == {"context": 3 * 5 * 3 + 1, "vocab_size": 8, "classes": 3}


def test_texts_with_labels_become_bytes_and_classes():
    dataset = tfds_sets.tfds(dataset="reviews", context=31, train="train[:5]", evaluation="train[5:]")
    assert dataset.facts == {"context": 31, "classes": 2, "vocab_size": 263} and dataset.classes == ("bad", "good")
    batch, vocabulary = dataset.train.examples(np.arange(5)), dataset.vocabulary
    assert vocabulary is not None
    texts = [vocabulary.decode(row[mask]) for row, mask in zip(*batch["inputs"].values())]
    numbers = [text.count("n") for text in texts]
    assert (np.array(numbers) % 2 == batch["targets"]).all() and len(set(numbers)) == 5


@pytest.mark.parametrize("fields", [{"dataset": "lines"}, {"dataset": "reviews", "kind": "text"}], ids=str)
def test_texts_alone_are_windows(fields):
    dataset = tfds_sets.tfds(context=5, tokenizer="", **fields)
    batch = dataset.evaluation.examples(np.array([0]))
    np.testing.assert_array_equal(batch["inputs"]["tokens"][0, 1:], batch["targets"][0, :-1])
    assert dataset.facts["context"] == 5 and "classes" not in dataset.facts


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"dataset": "pictures"}, "which feature is the image? Set data.image to one of photo, sketch"),
        ({"dataset": "pictures", "image": "photo"}, "which feature is the label? Set data.label to one of animal, co"),
        ({"dataset": "pictures", "image": "animal"}, "has no such image. It has animal (ClassLabel), "),
        ({"dataset": "pictures", "image": "sketch", "label": "animal"}, "images of several sizes: set data.size"),
        ({"dataset": "pictures", "kind": "text"}, "has no feature for text"),
        ({"dataset": "reviews"}, "is read as text_label: set data.context"),
        ({"dataset": "reviews", "context": 5, "flip": True}, "flip = True: reviews is read as text_label, without"),
        ({"dataset": "supervised", "context": 5}, "context = 5: supervised is read as image_label, without such"),
        ({"dataset": "supervised", "kind": "pairs"}, "kind = 'pairs': expected one of image_label, text_label, text"),
        ({"dataset": "supervised", "evaluation": "dev"}, "supervised has no split 'dev'. It has "),
        ({"dataset": "cifar10"}, "The set cifar10 is not on disk. Looked in"),
        ({"dataset": "../*"}, "is no name of a set: expected such as cifar10"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(fields, words):
    with pytest.raises(UserError) as refused:
        tfds_sets.tfds(**fields)
    assert words in str(refused.value)


def test_a_missing_set_comes_with_the_command_that_prepares_it():
    with pytest.raises(UserError, match=r"tfds.builder\('cifar10', data_dir=.*download_and_prepare"):
        tfds_sets.tfds(dataset="cifar10")


# ---- sets on disk ---------------------------------------------------------------------------------------------------


def same(one, other):
    assert one.facts == other.facts
    rows = np.array([2, 0, 11])
    for a, b in ((one.train, other.train), (one.evaluation, other.evaluation)):
        assert a.identity() == b.identity()
        draws = np.random.default_rng(0).random((3, a.draws)) if a.draws else None
        np.testing.assert_equal(a.examples(rows, draws), b.examples(rows, draws))


@pytest.mark.parametrize(
    "name, make", [pytest.param("mnist", mnist, marks=needs("mnist")),
                   pytest.param("fashion_mnist", fashion_mnist, marks=needs("fashion_mnist"))],
)  # fmt: skip
def test_mnist_by_name_is_mnist(monkeypatch, name, make):
    monkeypatch.setenv("TFDS_DATA_DIR", str(ROOT))
    options = {"train": "test[:1000]", "evaluation": "test[9000:]", "shift": 2, "flip": True}
    same(by_name := tfds_sets.tfds(dataset=name, **options), by_function := make(**options))
    assert by_name.classes == by_function.classes


@needs("imdb_reviews")
def test_imdb_by_name_is_imdb(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(ROOT))
    options = {"context": 31, "train": "train[:100]", "evaluation": "test[:50]"}
    same(tfds_sets.tfds(dataset="imdb_reviews/plain_text", **options), imdb(**options))
    with pytest.raises(UserError, match="several configurations. On disk are: imdb_reviews/plain_text"):
        tfds_sets.tfds(dataset="imdb_reviews", context=31)
