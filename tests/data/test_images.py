"""Images: scaling, augmentation by hand-computed values, and the sets on disk."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import UserError
from data.image_cache import row_type
from data.images import Images, augment, fashion_mnist, mnist

RAMP = np.tile(np.arange(4, dtype=np.float32), (4, 1))[None, :, :, None]


def rows():
    """Seven images of 3x5 pixels and 2 channels: those of number n are 10 n everywhere, and its label is n modulo 3."""
    images = np.empty(7, row_type((3, 5, 2)))
    images["image"] = 10 * np.arange(7).reshape(7, 1, 1, 1)
    images["label"] = np.arange(7) % 3
    return images


def augmented(images, draws, *, shift=0, crop=1.0, flip=False):
    return augment(images, draws, shift=shift, crop=crop, flip=flip)


def test_a_batch_has_scaled_images_labels_and_weights():
    batch = Images(rows(), peak=40).examples(np.array([4, 1]))
    images = batch["inputs"]["images"]
    assert images.dtype == np.float32 and images.shape == (2, 3, 5, 2)
    assert images[:, 1, 2, 0].tolist() == [1.0, 0.25]
    assert batch["targets"].dtype == np.int32 and batch["targets"].tolist() == [1, 1]
    assert batch["weights"].dtype == np.float32 and batch["weights"].tolist() == [1, 1]


def test_images_may_be_their_own_targets_and_are_moved_with_them():
    source = Images(rows(), peak=60, targets="images", shift=1)
    batch = source.examples(np.array([6, 2]), np.full((2, source.draws), 0.99))
    assert batch["targets"].tolist() == batch["inputs"]["images"].tolist()
    assert batch["targets"][0, :, :, 0].tolist() == [[0] * 5, [0, 1, 1, 1, 1], [0, 1, 1, 1, 1]]


def test_other_targets_are_refused():
    with pytest.raises(ValueError, match="targets = 'masks': expected 'labels' or 'images'"):
        Images(rows(), peak=60, targets="masks")


def test_the_caller_may_change_a_batch():
    for targets in ("labels", "images"):
        images = Images(rows(), peak=10, targets=targets)
        batch = images.examples(np.array([2, 5]))
        batch["inputs"]["images"][:] = batch["targets"][:] = -1
        again = images.examples(np.array([5, 6, 2]))
        assert again["inputs"]["images"][:, 0, 0, 0].tolist() == [5, 6, 2]
        assert again["targets"].reshape(3, -1)[:, 0].tolist() == ([2, 0, 2] if targets == "labels" else [5, 6, 2])


def test_a_shift_moves_by_whole_pixels_and_fills_with_zero():
    image = np.arange(1, 10, dtype=np.float32).reshape(1, 3, 3, 1)
    # Three equal thirds of [0, 1) mean -1, 0 and 1: down by one, left by one.
    moved = augmented(image, np.array([[0.9, 0.1, 0, 0, 0, 0]]), shift=1)
    assert moved[0, :, :, 0].tolist() == [[0, 0, 0], [2, 3, 0], [5, 6, 0]]


def test_a_shift_alone_is_that_of_the_other_augmentations_to_the_bit():
    random = np.random.default_rng(0)
    images, draws = random.random((31, 7, 11, 3), np.float32), random.random((31, 6))
    draws[:, 5] = 0.9  # none is mirrored
    weighed = augmented(images, draws, shift=2, flip=True)
    np.testing.assert_array_equal(augmented(images, draws, shift=2), weighed)


def test_shifts_reach_every_distance_equally_often():
    image = np.zeros((5000, 7, 7, 1), np.float32)
    image[:, 3, 3] = 1
    moved = augmented(image, np.random.default_rng(0).random((5000, 6)), shift=2)
    expected = np.zeros((7, 7))
    expected[1:6, 1:6] = 200
    assert np.abs(moved.sum(axis=(0, 3)) - expected).max() < 75


def test_a_flip_mirrors_columns_below_one_half():
    image = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1).repeat(2, axis=0)
    draws = np.array([[0, 0, 0, 0, 0, 0.49], [0, 0, 0, 0, 0, 0.5]])
    flipped = augmented(image, draws, flip=True)
    assert flipped[0, :, :, 0].tolist() == [[2, 1, 0], [5, 4, 3]]
    np.testing.assert_array_equal(flipped[1], image[1])


@pytest.mark.parametrize("left, expected", [(0.0, [0, 0.25, 0.75, 1.25]), (1.0, [1.75, 2.25, 2.75, 3])])
def test_a_crop_of_half_the_side_is_stretched_bilinearly(left, expected):
    cut = augmented(RAMP, np.array([[0, 0, 1.0, 0, left, 0]]), crop=0.5)
    np.testing.assert_allclose(cut[0, :, :, 0], np.tile(expected, (4, 1)), rtol=1e-6)


def test_crops_keep_values_within_those_of_the_image():
    images = np.random.default_rng(0).random((50, 5, 7, 3), dtype=np.float32)
    cut = augment(images, np.random.default_rng(1).random((50, 6)), shift=0, crop=0.3, flip=True)
    assert cut.min() >= 0 and cut.max() <= 1 + 1e-6


def test_all_at_once_equals_one_image_at_a_time():
    generator = np.random.default_rng(0)
    images, draws = generator.random((11, 5, 7, 3), dtype=np.float32), generator.random((11, 6))
    settings: dict[str, Any] = {"shift": 2, "crop": 0.5, "flip": True}
    alone = [augment(images[[row]], draws[[row]], **settings) for row in range(11)]
    np.testing.assert_array_equal(augment(images, draws, **settings), np.concatenate(alone))


def test_without_draws_or_without_settings_images_stay_as_they_are():
    source = Images(rows(), peak=10, shift=1, crop=0.5, flip=True)
    plain = Images(rows(), peak=10)
    indices = np.arange(7)
    assert (source.draws, plain.draws) == (6, 0)
    np.testing.assert_equal(source.examples(indices), plain.examples(indices))
    images = np.random.default_rng(0).random((3, 5, 7, 2), dtype=np.float32)
    np.testing.assert_array_equal(augmented(images, np.full((3, 6), 0.3)), images)


def test_augmentation_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match="shift = 3: expected 0 to 2 pixels"):
        Images(rows(), peak=10, shift=3)


@pytest.mark.parametrize("load", [mnist, fashion_mnist])
def test_the_real_set_has_its_known_sizes_and_looks(load):
    folder = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser() / load.__name__
    if not folder.exists():
        pytest.skip(f"{folder} is not there")
    dataset = load(train="train[:80%]", shift=2)
    assert dataset.facts == {"classes": 10, "image_shape": (28, 28, 1)}
    assert (len(dataset.train), len(dataset.evaluation), dataset.evaluation_name) == (48_000, 10_000, "test")
    batch = dataset.evaluation.examples(np.arange(300))
    images = batch["inputs"]["images"]
    assert images.min() == 0 and images.max() == 1 and 0.1 < images.mean() < 0.4
    assert set(batch["targets"]) == set(range(10))


def test_images_are_normalised_last_and_targets_are_not():
    rows = np.zeros(3, row_type((2, 2, 3)))
    rows["image"] = np.arange(36).reshape(3, 2, 2, 3)
    batch = Images(rows, peak=40, targets="images", mean=(0.1, 0.2, 0.3), std=(0.5,)).examples(np.array([2, 0]))
    expected = np.arange(36).reshape(3, 2, 2, 3)[[2, 0]] / 40
    np.testing.assert_allclose(batch["inputs"]["images"], (expected - [0.1, 0.2, 0.3]) / 0.5, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(batch["targets"], expected, rtol=1e-6)
    assert batch["inputs"]["images"].dtype == np.float32


@pytest.mark.parametrize("mean, std", [((0.1,) * 2, None), ((0.1,), (0.0,)), ((np.nan,), None), ((), (-1.0,) * 3)])
def test_a_mean_that_does_not_fit_the_channels_is_refused(mean, std):
    with pytest.raises(UserError, match="expected a number for each of the 3 channels, or one; std above 0"):
        Images(np.zeros(1, row_type((2, 2, 3))), peak=1, mean=mean, std=std)
    with pytest.raises(UserError, match="in levels, or as tokens, are not normalised"):
        Images(np.zeros(1, row_type((2, 2, 3))), peak=1, mean=(0.5,), levels=4)
