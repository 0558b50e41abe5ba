"""Segmentation: overlaps by hand, pixels that do not count, and exact means over batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from objectives.segmentation import overlaps, segmentation

TARGETS = np.array([[[0, 0, 1], [2, 2, 1]], [[0, 0, 0], [0, 0, 0]]])
PREDICTIONS = np.array([[[0, 1, 1], [2, 0, 1]], [[0, 0, 0], [0, 0, 3]]])
LOGITS = 4.0 * jax.nn.one_hot(PREDICTIONS, 5)


def model(images, key=None):
    return images


def batch(logits=LOGITS, targets=TARGETS, weights=None):
    weights = np.ones(targets.shape, np.float32) if weights is None else np.asarray(weights, np.float32)
    return {"inputs": {"images": logits}, "targets": targets, "weights": weights}


def test_overlaps_by_hand():
    iou, dice = overlaps(jnp.asarray(PREDICTIONS), jnp.asarray(TARGETS), jnp.ones((2, 2, 3)), 5)
    # First image: class 0 has 1 of 3 pixels in common, class 1 has 2 of 3, class 2 has 1 of 2. Second: 5 of 6, 0 of 1.
    np.testing.assert_allclose(iou, [(1 / 3 + 2 / 3 + 1 / 2) / 3, (5 / 6 + 0) / 2], rtol=1e-6)
    np.testing.assert_allclose(dice, [(2 / 4 + 4 / 5 + 2 / 3) / 3, (10 / 11 + 0) / 2], rtol=1e-6)


def test_loss_and_metrics():
    loss, metrics = segmentation(model, batch(), None)
    right = (PREDICTIONS == TARGETS).sum()
    wrong = TARGETS.size - right
    normaliser = np.log(np.exp(4) + 4)
    assert float(loss) == pytest.approx((right * (normaliser - 4) + wrong * normaliser) / 12, rel=1e-5)
    assert metrics["accuracy"][0] / metrics["accuracy"][1] == pytest.approx(right / 12)
    assert metrics["iou"][0] / metrics["iou"][1] == pytest.approx((0.5 + 5 / 12) / 2)


def test_examples_and_pixels_of_weight_0_count_for_nothing():
    expected = segmentation(model, batch(LOGITS[:1], TARGETS[:1]), None)[1]
    metrics = segmentation(model, batch(weights=[1, 0]), None)[1]
    for name, (total, count) in expected.items():
        np.testing.assert_allclose(metrics[name], (total, count), rtol=1e-6, err_msg=name)
    weights = np.ones((2, 2, 3))
    weights[1, 1, 2] = 0  # the only wrong pixel of the second image
    total, count = segmentation(model, batch(weights=weights), None)[1]["iou"]
    assert total == pytest.approx(0.5 + 1) and count == 2


def test_a_model_that_is_not_finite_has_no_overlap():
    metrics = segmentation(model, batch(LOGITS * jnp.nan), None)[1]
    assert np.isnan(metrics["iou"][0]) and np.isnan(metrics["accuracy"][0])


def test_targets_that_are_no_images_of_classes_are_refused():
    with pytest.raises(UserError, match="a class for each pixel"):
        segmentation(model, batch(LOGITS, TARGETS[:, 0]), None)
