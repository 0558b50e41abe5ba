"""Squared error of a number."""

import jax.numpy as jnp


def regression(model, batch, key):
    """Mean squared error.

    The model gives predictions of the shape of the targets; weights are of the same shape (0 where none is asked for).
    """
    predictions = model(**batch["inputs"], key=key)
    targets, weights = batch["targets"], batch["weights"]
    if predictions.shape != targets.shape:
        raise ValueError(f"the model predicts {predictions.shape}, but the targets have the shape {targets.shape}")
    count = weights.sum()
    total = (weights * (predictions - targets) ** 2).sum()
    return total / jnp.maximum(count, 1), {"loss": (total, count)}
