"""The archetypal autoencoder: its simplex, its mixtures, and what its encoder does not see."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.archetypal import ArchetypalAutoencoder, simplex

IMAGES = jax.random.normal(jax.random.key(1), (11, 3, 5, 1))


def build(**more: Any) -> ArchetypalAutoencoder:
    fields: dict[str, Any] = dict(image_shape=(3, 5, 1), archetypes=7, width=13, depth=1) | more
    return ArchetypalAutoencoder(**fields, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("corners", [2, 3, 7])
def test_the_corners_are_those_of_a_regular_simplex(corners):
    points = simplex(corners).astype(float)
    np.testing.assert_allclose(points.sum(0), 0, atol=1e-6)
    expected = np.where(np.eye(corners) > 0, 1, -1 / (corners - 1))  # the cosine of the angle between two corners
    np.testing.assert_allclose(points @ points.T, expected, atol=1e-6)


def test_the_mean_is_a_mixture_of_corners():
    model = build()
    weights, logits = model.mixtures(IMAGES)
    mean, log_variance = model.encode(IMAGES)
    assert weights.shape == logits.shape == (11, 7) and mean.shape == log_variance.shape == (11, 6)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(mean, weights @ model.corners(), atol=1e-6)
    # Inside the simplex the weights follow from the place: it is spanned by the corners and their sum.
    places = np.column_stack([mean, np.ones(11)])
    spanned = np.column_stack([simplex(7), np.ones(7)])
    np.testing.assert_allclose(places @ np.linalg.inv(spanned), weights, atol=1e-5)


def test_a_corner_is_decoded_like_any_other_place():
    model = build()
    assert model.decode(model.corners())["mean"].shape == (7, 3, 5, 1)
    np.testing.assert_array_equal(model(IMAGES), model.decode(model.encode(IMAGES)[0])["mean"])


def test_the_encoder_does_not_see_the_side_information():
    model = build(side=2)
    gradient = jax.grad(lambda side: model(IMAGES, side=side, key=jax.random.key(3)).sum())(jnp.ones((11, 2)))
    assert not gradient.any()
