"""The embedded digits: facts, sizes, exact pixels, and a fair split."""

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
    found = digits()
    assert found.facts == {"classes": 10, "image_shape": (8, 8, 1)}
    assert (len(found.train), len(found.evaluation), found.evaluation_name) == (1437, 360, "test")
    assert found.vocabulary is None


def test_both_splits_together_are_the_original_images():
    from sklearn.datasets import load_digits

    content = load_digits()
    expected = sorted((label, *image.ravel() / 16) for image, label in zip(content.images, content.target))
    found = digits()
    (train, train_labels), (test, test_labels) = everything(found.train), everything(found.evaluation)
    images, labels = np.concatenate([train, test]), np.concatenate([train_labels, test_labels])
    assert sorted((label, *image.ravel()) for image, label in zip(images, labels)) == expected


def test_splits_are_disjoint_and_classes_in_proportion():
    found = digits()
    (train, train_labels), (test, test_labels) = everything(found.train), everything(found.evaluation)
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}
    share = np.bincount(test_labels) / (np.bincount(test_labels) + np.bincount(train_labels))
    assert np.abs(share - 0.2).max() < 0.01


def test_slices_of_a_split_are_disjoint_and_named():
    found = digits(train="train[:80%]", evaluation="train[80%:]")
    whole = everything(digits().train)[0]
    assert (len(found.train), len(found.evaluation), found.evaluation_name) == (1150, 287, "train[80%:]")
    parts = [everything(source)[0] for source in (found.train, found.evaluation)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_only_training_images_are_augmented():
    found = digits(shift=1, flip=True)
    assert found.train.draws > 0 and found.evaluation.draws == 0


def test_what_a_model_must_agree_with_follows_the_targets():
    assert digits().facts == {"image_shape": (8, 8, 1), "classes": 10}
    assert digits(targets="images").facts == {"image_shape": (8, 8, 1), "target_shape": (8, 8, 1)}


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match=r"no split 'validation'. It has train \(1,437\), test \(360\)"):
        digits(evaluation="validation")
