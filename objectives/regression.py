"""Squared error of numbers."""

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from core.errors import UserError
from core.metrics import LOWER, measures
from objectives.interface import Batch, Loss, Metrics, Model, call


@measures(loss=LOWER)
def regression(model: Model, batch: Batch, key: PRNGKeyArray | None) -> tuple[Loss, Metrics]:
    """Returns the mean squared error, also as "loss".

    The model returns predictions. Targets and weights have the same shape (weights are 0 for numbers that do not
    count).

    Raises:
      UserError: predictions and targets have different shapes.
    """
    predictions = call(model, batch["inputs"], key)
    targets, weights = batch["targets"], batch["weights"]
    if predictions.shape != targets.shape:
        raise UserError(f"the model predicts {predictions.shape}, but the targets have the shape {targets.shape}")
    count = weights.sum()
    total = (weights * (predictions - targets) ** 2).sum()
    return total / jnp.maximum(count, 1), {"loss": (total, count)}
