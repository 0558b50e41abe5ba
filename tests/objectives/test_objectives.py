"""Objectives against values worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from objectives import OBJECTIVES
from objectives.cross_entropy import most_likely

# Three examples, two classes; the probabilities are 3/4 and 1/4, then 1/5 and 4/5, then 1/2 and 1/2.
LOGITS = np.log([[3.0, 1.0], [1.0, 4.0], [1.0, 1.0]])
TARGETS = np.array([0, 0, 1])


@pytest.mark.parametrize(
    "name, axes", [("classification", (3,)), ("language_modeling", (1, 3)), ("language_modeling", (3, 1))]
)
@pytest.mark.parametrize(
    "weights, loss, right",
    [
        ([1, 1, 1], np.log(4 / 3) + np.log(5) + np.log(2), 1),  # a tie goes to the first class
        ([1, 0, 0], np.log(4 / 3), 1),
        ([0, 1, 0], np.log(5), 0),
        ([0, 0, 0], 0, 0),
    ],
)
def test_by_hand(name, axes, weights, loss, right):
    batch = {
        "inputs": {"x": LOGITS.reshape(*axes, 2)},
        "targets": TARGETS.reshape(axes),
        "weights": np.array(weights, np.float32).reshape(axes),
    }
    mean, metrics = OBJECTIVES[name](lambda x, key: jnp.asarray(x), batch, None)
    np.testing.assert_allclose(mean, loss / max(sum(weights), 1), rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], (loss, sum(weights)), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], (right, sum(weights)))


@pytest.mark.parametrize("name", ["classification", "language_modeling"])
def test_label_smoothing(name):
    """A share 0.2 of the target goes to both classes evenly: 0.9 and 0.1."""
    axes = (1, 1) if name == "language_modeling" else (1,)
    logits, targets = LOGITS[:1].reshape(*axes, 2), TARGETS[:1].reshape(axes)
    batch = {"inputs": {"x": logits}, "targets": targets, "weights": np.ones(axes)}
    mean, _ = OBJECTIVES[name](lambda x, key: jnp.asarray(x), batch, None, label_smoothing=0.2)
    np.testing.assert_allclose(mean, 0.9 * np.log(4 / 3) + 0.1 * np.log(4), rtol=1e-5)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["classification", "language_modeling", "seq2seq"])
def test_a_broken_model_has_no_share_of_right_answers(name, broken):
    batch = {"inputs": {"x": np.full((1, 3, 2), broken)}, "targets": np.array([[0, 1, 0]]), "weights": np.ones((1, 3))}
    _, metrics = OBJECTIVES[name](lambda x, key: jnp.asarray(x), batch, None)
    assert {name for name, (total, _) in metrics.items() if np.isfinite(total)} == set()


def test_regression_by_hand():
    batch = {"inputs": {"x": np.array([[1.0, 2.0, 5.0]])}, "targets": np.array([[3.0, 2.5, 0.0]]),
             "weights": np.array([[1.0, 1.0, 0.0]])}  # fmt: skip
    mean, metrics = OBJECTIVES["regression"](lambda x, key: jnp.asarray(x), batch, None)
    assert float(mean) == pytest.approx(4.25 / 2)
    np.testing.assert_allclose(metrics["loss"], (4.25, 2))
    with pytest.raises(ValueError, match=r"predicts \(1, 2\), but the targets have the shape \(1, 3\)"):
        OBJECTIVES["regression"](lambda x, key: jnp.asarray(x)[:, :2], batch, None)


@pytest.mark.parametrize("name", ["classification", "language_modeling", "regression"])
def test_the_model_gets_the_key(name):
    logits = LOGITS[:, 0] if name == "regression" else LOGITS
    batch = {"inputs": {"x": logits}, "targets": TARGETS, "weights": np.ones(3)}
    if name == "language_modeling":
        batch = jax.tree.map(lambda x: x[None], batch)
    seen = []
    OBJECTIVES[name](lambda x, key: seen.append(key) or jnp.asarray(x), batch, "a key")
    assert seen == ["a key"]


def test_the_most_likely_class_is_that_of_argmax_also_among_equals():
    logits = np.random.default_rng(0).integers(0, 3, (7, 5, 11)).astype(np.float32)
    logits[0, 0] = -np.inf
    np.testing.assert_array_equal(most_likely(jnp.asarray(logits)), logits.argmax(-1))
    assert most_likely(jnp.array([1.0, jnp.nan, 2.0])) == 3  # no class: a broken model is right nowhere
