"""The in-context regressor: what each prediction may depend on."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from models.in_context import InContextRegressor

POINTS, VALUES = jax.random.normal(jax.random.key(0), (1, 7, 3)), jax.random.normal(jax.random.key(1), (1, 7))
MODEL = InContextRegressor(dimensions=3, context=7, width=20, depth=2, heads=2, rngs=nnx.Rngs(0))


def test_a_prediction_sees_its_point_and_the_examples_before_it():
    by_point, by_value = jax.jacobian(lambda points, values: MODEL(points, values)[0], (0, 1))(POINTS, VALUES)
    seen_points, seen_values = np.abs(by_point[:, 0]).max(-1) > 0, np.abs(by_value[:, 0]) > 0
    np.testing.assert_array_equal(seen_points, np.tri(7, dtype=bool))
    np.testing.assert_array_equal(seen_values, np.tri(7, k=-1, dtype=bool))


def test_a_shorter_sequence_gets_the_same_predictions():
    all_points, first_points = MODEL(POINTS, VALUES), MODEL(POINTS[:, :4], VALUES[:, :4])
    assert all_points.shape == (1, 7) and all_points.dtype == jnp.float32
    np.testing.assert_allclose(first_points, all_points[:, :4], atol=1e-6)
