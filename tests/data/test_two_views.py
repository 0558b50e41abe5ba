"""Two views: inputs and targets, masks, and Gaussians with their known optimum."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from data.digits import digits
from data.pipeline import train_batches
from data.two_views import gaussian_bottleneck, gaussian_pair, two_views

ROWS = np.array([3, 1, 4])


def test_halves_are_the_left_and_the_right_of_one_digit():
    images = digits().train.examples(ROWS)
    data = two_views()
    batch = data.train.examples(ROWS)
    assert data.facts == {"image_shape": (8, 4, 1), "target_shape": (8, 4, 1)}
    both = np.concatenate([batch["inputs"]["images"], batch["targets"]], axis=2)
    np.testing.assert_array_equal(both, images["inputs"]["images"])
    np.testing.assert_array_equal(batch["weights"], images["weights"])


@pytest.mark.parametrize("views", ["halves", "masks"])
def test_labels_may_be_the_target(views):
    data = two_views(views=views, targets="labels")
    assert data.facts == {"image_shape": (8, 4 if views == "halves" else 8, 1), "classes": 10}
    np.testing.assert_array_equal(data.train.examples(ROWS)["targets"], digits().train.examples(ROWS)["targets"])


def test_masks_leave_a_share_of_the_pixels_and_differ_between_the_views():
    images = digits().train.examples(np.arange(500))["inputs"]["images"]
    batch = two_views(views="masks", masked=0.3).train.examples(np.arange(500))
    views = [batch["inputs"]["images"], batch["targets"]]
    ink = images > 0
    for view in views:
        np.testing.assert_array_equal(view[view > 0], images[view > 0])
        assert (view > 0)[ink].mean() == pytest.approx(0.7, abs=0.02)
    assert ((views[0] > 0) & (views[1] > 0))[ink].mean() == pytest.approx(0.49, abs=0.02)  # independent of each other


def test_masks_are_new_each_time_in_training_and_the_same_in_evaluation():
    data = two_views(views="masks")
    batches = train_batches(data.train, batch_size=len(data.train), seed=0)
    kept = [next(batches)["inputs"]["images"].sum() for _ in range(2)]  # an epoch each
    assert kept[0] != kept[1]
    np.testing.assert_equal(data.evaluation.examples(ROWS), data.evaluation.examples(ROWS))


def test_gaussian_pairs_have_their_correlations():
    data = gaussian_pair(correlations=(0.8, -0.6, 0.0))
    entropy = pytest.approx(multivariate_normal(np.zeros(3)).entropy())
    assert data.facts == {"image_shape": (1, 3, 1), "target_shape": (1, 3, 1), "target_entropy": entropy}
    batch = data.train.examples(np.arange(50_000))
    inputs, target = batch["inputs"]["images"], batch["targets"]
    assert inputs.shape == target.shape == (50_000, 1, 3, 1) and inputs.dtype == target.dtype == np.float32
    covariance = np.cov(np.hstack([inputs.reshape(-1, 3), target.reshape(-1, 3)]).T)
    expected = np.eye(6)
    expected[[0, 3, 1, 4], [3, 0, 4, 1]] = 0.8, 0.8, -0.6, -0.6
    np.testing.assert_allclose(covariance, expected, atol=0.03)


def test_gaussian_splits_are_fixed_and_independent():
    data = gaussian_pair(train="train[:7]", evaluation="test[-5:]")
    assert (len(data.train), len(data.evaluation), data.evaluation_name) == (7, 5, "test[-5:]")
    np.testing.assert_equal(data.train.examples(ROWS), gaussian_pair().train.examples(ROWS))
    data = gaussian_pair()
    train, test = (
        part.examples(np.arange(10_000))["inputs"]["images"].ravel() for part in (data.train, data.evaluation)
    )
    assert abs(np.corrcoef(train, test)[0, 1]) < 0.03


def test_the_optimum_of_the_gaussian_bottleneck():
    # One component at beta 2, by hand: log(.81 / .19) / 2, and that minus log(1.62) / 2. Both at beta 20.
    assert gaussian_bottleneck((0.9, 0.5), 2.0) == pytest.approx((0.725, 0.484), abs=1e-3)
    assert gaussian_bottleneck((0.9, 0.5), 20.0) == pytest.approx((3.120, 0.923), abs=1e-3)
    assert gaussian_bottleneck((0.9, 0.5), 1.2) == (0, 0)
    # In the limit of a large beta z keeps all information about x, -log(1 - rho^2) / 2 for each component.
    assert gaussian_bottleneck((0.9, 0.5), 1e9)[1] == pytest.approx(-np.log(0.19 * 0.75) / 2, abs=1e-6)
    # The curve is concave, and its slope is 1 / beta.
    (x0, y0), (x1, y1) = (gaussian_bottleneck((0.9, 0.5), beta) for beta in (6.99, 7.01))
    assert (y1 - y0) / (x1 - x0) == pytest.approx(1 / 7, rel=1e-3)


@pytest.mark.parametrize(
    "make, wrong, words",
    [
        (two_views, {"views": "thirds"}, "views = 'thirds': expected 'halves' or 'masks'"),
        (two_views, {"targets": "images"}, "targets = 'images': expected 'view' or 'labels'"),
        (two_views, {"train": "val"}, "digits has no split 'val'"),
        (gaussian_pair, {"correlations": ()}, "expected at least one number between -1 and 1"),
        (gaussian_pair, {"evaluation": "validation"}, "gaussian_pair has no split 'validation'"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_bad_settings_are_named(make, wrong, words):
    with pytest.raises(ValueError, match=words):
        make(**wrong)
