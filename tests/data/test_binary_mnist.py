"""Binary images: pixels sampled by their grey values, anew in training and once in evaluation."""

import sys

import numpy as np
import pytest

from data.binary_mnist import binary_mnist
from data.in_memory import array_dataset

GREY = np.tile(np.array([0.0, 0.25, 1.0, 0.75], np.float32).reshape(1, 2, 2, 1), (400, 1, 1, 1))


@pytest.fixture
def grey(monkeypatch):
    def mnist(*, train, evaluation, targets):
        labels = np.arange(400)
        examples = {
            "inputs": {"images": GREY},
            "targets": GREY if targets == "images" else labels,
            "weights": np.ones(400, np.float32),
        }
        return array_dataset("mnist", examples, {"train": 300, "test": 100}, train, evaluation, image_shape=(2, 2, 1))

    monkeypatch.setattr(sys.modules[binary_mnist.__module__], "mnist", mnist)


def test_a_grey_value_is_the_probability_of_a_one(grey):
    dataset = binary_mnist()
    assert dataset.facts == {"image_shape": (2, 2, 1)} and dataset.train.draws == 4
    rows = np.arange(100)
    for batch in (
        dataset.evaluation.examples(rows),
        dataset.train.examples(rows, np.random.default_rng(0).random((100, 4))),
    ):
        images = batch["inputs"]["images"]
        np.testing.assert_array_equal(images, batch["targets"])
        assert images.dtype == np.float32 and set(np.unique(images)) == {0, 1}
        np.testing.assert_allclose(images.mean(0).ravel(), [0, 0.25, 1, 0.75], atol=0.13)


def test_evaluation_is_the_same_each_time_and_training_follows_the_draws(grey):
    dataset = binary_mnist(targets="labels")
    some = np.array([7, 2])
    alone, among = (dataset.evaluation.examples(rows)["inputs"]["images"] for rows in (some, np.array([5, 7, 2])))
    np.testing.assert_array_equal(alone, among[1:])
    batch = dataset.train.examples(some, np.array([[0.0, 0.2, 0.9, 0.8], [0.5, 0.3, 0.0, 0.7]]))
    assert batch["inputs"]["images"].reshape(2, 4).tolist() == [[0, 1, 1, 0], [0, 0, 1, 1]]
    assert batch["targets"].tolist() == [7, 2]
