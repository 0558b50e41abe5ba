"""The contrastive loss by hand, with padding and with equal texts. tests/train/test_devices.py: on eight devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from objectives.contrastive import contrastive
from objectives.interface import check_parts
from train import Run

SIMILARITIES = jnp.array([[2.0, 0.0, 1.0], [0.0, 1.0, 3.0], [1.0, 0.0, 2.0]])
# The same meaning for the second and the third pair.
MEANINGS = np.array([5, 7, 7])


def model(similarities, key=None):
    return similarities


def batch(similarities=SIMILARITIES, targets=MEANINGS, weights=(1, 1, 1)):
    return {"inputs": {"similarities": similarities}, "targets": targets, "weights": np.array(weights, np.float32)}


def test_by_hand():
    loss, metrics = contrastive(model, batch(), None)
    e = np.exp
    rows = [e(2) / (e(2) + 1 + e(1)), e(1) / (1 + e(1) + e(3)), e(2) / (e(1) + 1 + e(2))]
    columns = [e(2) / (e(2) + 1 + e(1)), e(1) / (1 + e(1) + 1), e(2) / (e(1) + e(3) + e(2))]
    assert float(loss) == pytest.approx(-np.log(rows + columns).sum() / 6, rel=1e-6)
    # The second image prefers the third text, which says the same; each text prefers an image with its meaning.
    assert metrics["image_to_text"] == (3, 3) and metrics["text_to_image"] == (3, 3)
    _, metrics = contrastive(model, batch(targets=np.arange(3)), None)
    assert metrics["image_to_text"] == (2, 3) and metrics["text_to_image"] == (2, 3)


def test_equal_similarities_are_guesses_among_the_batch():
    assert float(contrastive(model, batch(jnp.zeros((3, 3))), None)[0]) == pytest.approx(np.log(3), rel=1e-6)


def test_padding_is_no_partner():
    small = contrastive(model, batch(SIMILARITIES[:2, :2], MEANINGS[:2], (1, 1)), None)
    padded = contrastive(model, batch(SIMILARITIES.at[2].set(9), weights=(1, 1, 0)), None)
    for x, y in zip(jax.tree.leaves(small), jax.tree.leaves(padded)):
        np.testing.assert_allclose(x, y, rtol=1e-6)
    gradient = jax.grad(lambda s: contrastive(model, batch(s, weights=(1, 1, 0)), None)[0])(SIMILARITIES)
    assert not gradient[2].any() and not gradient[:, 2].any() and gradient[:2, :2].all()


def test_a_batch_of_padding_counts_for_nothing():
    loss, metrics = contrastive(model, batch(weights=(0, 0, 0)), None)
    assert loss == 0 and all(pair == (0, 0) for pair in metrics.values())


def test_the_same_text_for_two_images_is_as_if_both_were_its_partners():
    """Why the loss need not know that pairs mean the same: equal texts share their probability."""
    similarities = jnp.array([[2.0, 1.0, 1.0], [0.0, 1.5, 1.5], [0.5, 3.0, 3.0]])
    partners = jnp.array([[1.0, 0, 0], [0, 0.5, 0.5], [0, 0.5, 0.5]])
    rows, columns = jax.nn.log_softmax(similarities), jax.nn.log_softmax(similarities, axis=0)
    expected = -(partners * (rows + columns)).sum() / 6
    assert float(contrastive(model, batch(similarities), None)[0]) == pytest.approx(float(expected), rel=1e-6)


def test_what_is_not_finite_is_never_right():
    _, metrics = contrastive(model, batch(SIMILARITIES * jnp.nan), None)
    assert all(np.isnan(metrics[name][0]) for name in ("image_to_text", "text_to_image"))


@pytest.mark.parametrize("wrong", [{"similarities": SIMILARITIES[:2]}, {"targets": np.zeros((3, 2), int)}])
def test_shapes_that_do_not_fit_are_named(wrong):
    with pytest.raises(UserError, match=r"expected similarities \(3, 3\) and one target for each pair"):
        contrastive(model, batch(**wrong), None)


def config(**fields) -> dict:
    sizes = {"patch": 4, "shared_width": 7, "width": 8, "depth": 1, "heads": 2}
    return {
        "seed": 3, "steps": 2, "batch_size": 16, "eval_every": 2, "checkpoint_every": 2,
        "model": {"name": "clip"} | sizes, "objective": {"name": "contrastive"},
        "data": {"name": "digits", "form": "pair", "evaluation": "test[:16]"}, "optimizer": {"learning_rate": 0.01},
    } | fields  # fmt: skip


def test_a_batch_cannot_be_computed_in_parts():
    with pytest.raises(UserError, match="accumulate = 2: objective.name = 'contrastive' compares all examples"):
        Run.of(config(accumulate=2))
    check_parts(contrastive, 1)
