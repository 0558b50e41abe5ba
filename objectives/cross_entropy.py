"""Weighted cross-entropy and accuracy, for logits with any leading axes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped
import optax

from core.errors import UserError
from objectives.interface import Loss, Metrics


def weighted_cross_entropy(
    logits: Float[Array, "*axes C"], targets: Int[Array, "*axes"], weights: Shaped[Array, "*axes"],
    label_smoothing: float = 0.0,
) -> tuple[Loss, Metrics]:  # fmt: skip
    """Returns the weighted mean of the cross-entropy in nats, and "loss" and "accuracy".

    Raises:
      UserError: the shapes of logits and targets do not fit together.
    """
    if logits.shape[:-1] != targets.shape:
        raise UserError(f"the model gives logits {logits.shape}, but the targets have the shape {targets.shape}")
    nll = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    if not (isinstance(label_smoothing, (int, float)) and label_smoothing == 0):
        # Against the uniform distribution the cross-entropy is logsumexp - mean; nll is logsumexp - target.
        target = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
        nll = nll + label_smoothing * (target - logits.mean(axis=-1))
    count = weights.sum()
    loss_sum = (nll * weights).sum()
    correct = ((most_likely(logits) == targets) * weights).sum() + nan_unless_finite(loss_sum)
    return loss_sum / jnp.maximum(count, 1), {"loss": (loss_sum, count), "accuracy": (correct, count)}


def most_likely(logits: Float[Array, "*axes C"]) -> Int[Array, "*axes"]:
    """Returns the first class with the largest logit, as argmax does; C if a logit is NaN.

    Two plain reductions are vectorised on a CPU. `argmax` is one over pairs that is not: for a vocabulary of 8,000 it
    took as long as the logits' exponentials.
    """
    logits, classes = jax.lax.stop_gradient(logits), logits.shape[-1]
    return jnp.where(logits == logits.max(axis=-1, keepdims=True), jnp.arange(classes), classes).min(axis=-1)


def nan_unless_finite(loss: Float[Array, ""]) -> Float[Array, ""]:
    """Returns 0 for a finite loss and otherwise NaN, to be added to what is counted with `argmax`.

    The largest of several NaN is the first one, so a broken model would have a share of right answers.
    """
    return jnp.where(jnp.isfinite(loss), 0.0, jnp.nan)


def expect_sequences(targets: Shaped[Array, "..."]) -> None:
    """Raises UserError if the targets are not one token for each position of a sequence, `BT`."""
    if targets.ndim != 2:
        raise UserError(f"expected targets that are sequences of tokens, but they have the shape {targets.shape}")
