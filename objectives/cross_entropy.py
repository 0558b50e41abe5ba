"""Weighted cross-entropy and accuracy, for logits with any leading axes."""

import jax.numpy as jnp
import optax


def weighted_cross_entropy(logits, targets, weights, label_smoothing=0.0):
    """(loss, {"loss": (sum, count), "accuracy": (sum, count)}) for logits (..., C), targets (...) and weights (...)."""
    nll = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    if not (isinstance(label_smoothing, (int, float)) and label_smoothing == 0):
        # Against the uniform distribution the cross-entropy is logsumexp - mean; nll is logsumexp - target.
        target = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
        nll = nll + label_smoothing * (target - logits.mean(axis=-1))
    count = weights.sum()
    loss_sum = (nll * weights).sum()
    correct = ((logits.argmax(axis=-1) == targets) * weights).sum()
    return loss_sum / jnp.maximum(count, 1), {"loss": (loss_sum, count), "accuracy": (correct, count)}
