"""Reconstruction: the error is that of clean targets, and only the input is corrupted, by what the config says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from objectives import language_modeling, reconstruction
from objectives.reconstruction import corrupted

IMAGES = jax.random.normal(jax.random.key(0), (7, 5, 3, 2)) + 10
BATCH = {"inputs": {"images": IMAGES}, "targets": IMAGES, "weights": jnp.ones(7)}
KEYS = jax.random.split(jax.random.key(1), 7)


def identity(images, *, key=None):
    return images


def test_the_loss_is_the_mean_squared_error_of_an_element():
    batch = {
        "inputs": {"images": jnp.array([[1.0, 2.0], [3.0, 5.0], [9.0, 9.0]])},
        "targets": jnp.array([[1.0, 4.0], [0.0, 5.0], [0.0, 0.0]]),
        "weights": jnp.array([1.0, 1.0, 0.0]),
    }
    loss, metrics = reconstruction(identity, batch, None)
    assert loss == pytest.approx((4 / 2 + 9 / 2) / 2)
    assert metrics["loss"] == (pytest.approx(6.5), 2)


def test_without_corruption_the_model_reads_what_is_there():
    assert reconstruction(identity, BATCH, jax.random.key(0))[0] == 0


@pytest.mark.parametrize("key", [None, jax.random.key(3)], ids=["evaluation", "training"])
def test_the_targets_stay_clean(key):
    # Half of all elements, whose square is about 101, become 0.
    assert 30 < reconstruction(identity, BATCH, key, masked=0.5)[0] < 70
    assert reconstruction(identity, BATCH, key, noise=0.3)[0] == pytest.approx(0.09, rel=0.3)


def test_masking_and_noise_follow_their_amounts():
    wide = jnp.ones((7, 20_000))
    masked = corrupted(wide, KEYS, masked=0.3)
    assert set(np.unique(masked)) == {0, 1} and abs(1 - masked.mean() - 0.3) < 0.01
    noisy = corrupted(wide, KEYS, noise=0.3) - 1
    assert abs(noisy.std() - 0.3) < 0.01 and abs(noisy.mean()) < 0.01
    assert (noisy[0] != noisy[1]).mean() > 0.9  # each example has its own


def test_a_delay_moves_the_input_and_leaves_zeros():
    sequence = jnp.arange(1, 11).reshape(2, 5)
    np.testing.assert_array_equal(corrupted(sequence, KEYS[:2], delay=2), [[0, 0, 1, 2, 3], [0, 0, 6, 7, 8]])


def test_the_corruption_of_evaluation_does_not_depend_on_the_batch():
    alone = {"inputs": {"images": IMAGES[4:5]}, "targets": IMAGES[4:5], "weights": jnp.ones(1)}
    by_example = lambda batch: reconstruction(identity, batch, None, masked=0.5, noise=0.1)[0]
    first = BATCH | {"weights": jnp.arange(7) == 4}
    assert by_example(alone) == pytest.approx(float(by_example(first)), rel=1e-6)


def test_amounts_may_be_traced():
    loss = lambda masked, noise: reconstruction(identity, BATCH, jax.random.key(0), masked=masked, noise=noise)[0]
    assert jax.jit(loss)(0.5, 0.1) == pytest.approx(float(loss(0.5, 0.1)), rel=1e-5)


def test_a_delay_of_one_makes_a_causal_model_a_language_model():
    tokens = jax.random.randint(jax.random.key(2), (3, 11), 0, 13)
    table = jax.random.normal(jax.random.key(3), (13, 13))
    causal = lambda tokens, *, key=None: jnp.cumsum(table[tokens], axis=1)  # position t reads tokens up to t
    sequence = jnp.concatenate([jnp.zeros_like(tokens[:, :1]), tokens], axis=1)
    theirs = {"inputs": {"tokens": sequence[:, :-1]}, "targets": sequence[:, 1:], "weights": jnp.ones((3, 11))}
    ours = {"inputs": {"tokens": tokens}, "targets": tokens, "weights": jnp.ones((3, 11))}
    loss, metrics = reconstruction(causal, ours, None, delay=1)
    assert loss == language_modeling(causal, theirs, None)[0]
    assert set(metrics) == {"loss", "accuracy"}


@pytest.mark.parametrize(
    "batch, settings, words",
    [
        (BATCH | {"inputs": {"images": IMAGES, "mask": IMAGES}}, {"masked": 0.5}, "'images', 'mask'"),
        (BATCH, {"delay": 5}, "delay = 5: expected less than the length"),
        (BATCH | {"inputs": {"images": jnp.ones((7, 5), int)}}, {"noise": 0.1}, "masked_language_modeling"),
        (BATCH | {"targets": IMAGES[:, :1]}, {}, "the model gives"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_said(batch, settings, words):
    with pytest.raises(UserError, match=words):
        reconstruction(identity, batch, None, **settings)
