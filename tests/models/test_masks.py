"""Masks by hand."""

import jax.numpy as jnp
import numpy as np

from models.masks import four_axes, over_keys, up_to, with_causal

PADDING = jnp.array([[True, True, False], [True, False, False]])


def test_padding_hides_keys_from_every_head_and_query():
    mask = over_keys(PADDING)
    assert mask.shape == (2, 1, 1, 3)
    np.testing.assert_array_equal(mask[:, 0, 0], PADDING)
    assert over_keys(None) is None


def test_a_causal_mask_hides_the_future_and_what_was_hidden_before():
    np.testing.assert_array_equal(with_causal(None, True, 2, 3), [[1, 0, 0], [1, 1, 0]])
    np.testing.assert_array_equal(with_causal(PADDING[1], True, 2, 3), [[1, 0, 0], [1, 0, 0]])
    assert with_causal(PADDING, False, 2, 3) is PADDING and with_causal(None, False, 2, 3) is None


def test_a_query_further_on_sees_more_keys():
    np.testing.assert_array_equal(up_to(jnp.array([1, 3]), 5), [[1, 1, 0, 0, 0], [1, 1, 1, 1, 0]])


def test_missing_axes_are_added_in_front():
    assert four_axes(PADDING).shape == (1, 1, 2, 3)
    assert four_axes(over_keys(PADDING)).shape == (2, 1, 1, 3)
    assert four_axes(None) is None
