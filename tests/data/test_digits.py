"""The embedded digits: facts, sizes, exact pixels, and a fair split."""

from typing import Any

import numpy as np
import pytest

from data.digits import digits


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECTERN_DATA", str(tmp_path_factory.mktemp("sets")))
        yield


def everything(source):
    batch = source.examples(np.arange(len(source)))
    return batch["inputs"]["images"], batch["targets"]


def test_facts_and_sizes():
    dataset = digits()
    assert dataset.facts == {"classes": 10, "image_shape": (8, 8, 1)}
    assert (len(dataset.train), len(dataset.evaluation), dataset.evaluation_name) == (1437, 360, "test")
    assert dataset.vocabulary is None


def test_both_splits_together_are_the_original_images():
    from sklearn.datasets import load_digits

    content: Any = load_digits()
    expected = sorted((label, *image.ravel() / 16) for image, label in zip(content.images, content.target))
    dataset = digits()
    (train, train_labels), (test, test_labels) = everything(dataset.train), everything(dataset.evaluation)
    images, labels = np.concatenate([train, test]), np.concatenate([train_labels, test_labels])
    assert sorted((label, *image.ravel()) for image, label in zip(images, labels)) == expected


def test_splits_are_disjoint_and_classes_in_proportion():
    dataset = digits()
    (train, train_labels), (test, test_labels) = everything(dataset.train), everything(dataset.evaluation)
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}
    share = np.bincount(test_labels) / (np.bincount(test_labels) + np.bincount(train_labels))
    assert np.abs(share - 0.2).max() < 0.01


def test_slices_of_a_split_are_disjoint_and_named():
    dataset = digits(train="train[:80%]", evaluation="train[80%:]")
    complete = everything(digits().train)[0]
    assert (len(dataset.train), len(dataset.evaluation), dataset.evaluation_name) == (1150, 287, "train[80%:]")
    parts = [everything(source)[0] for source in (dataset.train, dataset.evaluation)]
    np.testing.assert_array_equal(np.concatenate(parts), complete)


def test_only_training_images_are_augmented():
    dataset = digits(shift=1, flip=True)
    assert dataset.train.draws > 0 and dataset.evaluation.draws == 0


def test_what_a_model_must_agree_with_follows_the_targets():
    assert digits().facts == {"image_shape": (8, 8, 1), "classes": 10}
    assert digits(targets="images").facts == {"image_shape": (8, 8, 1), "target_shape": (8, 8, 1)}


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match=r"no split 'validation'. It has train \(1,437\), test \(360\)"):
        digits(evaluation="validation")
