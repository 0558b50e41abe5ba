"""A class for each pixel of an image."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from core.errors import UserError
from core.metrics import HIGHER, LOWER, measures
from core.ranges import ShareBelowAll
from core.traced import TracedUnlessZero
from objectives.cross_entropy import nan_unless_finite, weighted_cross_entropy
from objectives.interface import Batch, Loss, Metrics, Model, call, needs


@measures(loss=LOWER, accuracy=HIGHER, iou=HIGHER, dice=HIGHER)
@needs("classes", "returns the logits of classes")
def segmentation(
    model: Model, batch: Batch, key: PRNGKeyArray | None, *, label_smoothing: TracedUnlessZero[ShareBelowAll] = 0.0
) -> tuple[Loss, Metrics]:  # fmt: skip
    """Returns the mean negative log-likelihood in nats per pixel, and "loss", "accuracy", "iou" and "dice".

    The model returns logits `BRXC` for R rows of X pixels. Targets are class numbers `BRX`; weights too, or `B`. "iou"
    and "dice" are the means over images of `overlaps`.

    Raises:
      UserError: the shapes of logits, targets and weights do not fit together.
    """
    logits, targets, weights = call(model, batch["inputs"], key), batch["targets"], batch["weights"]
    if targets.ndim != 3:
        raise UserError(f"expected targets that are a class for each pixel, but they have the shape {targets.shape}")
    weights = jnp.broadcast_to(weights.reshape(weights.shape + (1,) * (3 - weights.ndim)), targets.shape)
    loss, metrics = weighted_cross_entropy(logits, targets, weights, label_smoothing)
    counted = weights.any(axis=(1, 2)).astype(jnp.float32)
    broken = nan_unless_finite(loss)
    for name, values in zip(("iou", "dice"), overlaps(logits.argmax(axis=-1), targets, weights, logits.shape[-1])):
        metrics[name] = ((values * counted).sum() + broken, counted.sum())
    return loss, metrics


def overlaps(
    predictions: Int[Array, "batch rows columns"], targets: Int[Array, "batch rows columns"],
    weights: Float[Array, "batch rows columns"], classes: int,
) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:  # fmt: skip
    """Returns how well the areas of the classes agree in each image.

    For the pixels P predicted and T labelled as a class, the intersection over union is |P & T| / |P | T|, and Dice's
    coefficient 2 |P & T| / (|P| + |T|). Both are means over the classes that occur in the prediction or in the target.
    """
    one_hot = lambda classes_: jax.nn.one_hot(classes_.reshape(len(classes_), -1), classes)
    predicted, labelled, weight = one_hot(predictions), one_hot(targets), weights.reshape(len(weights), -1)
    both = jnp.einsum("bpc,bpc,bp->bc", predicted, labelled, weight)
    total = jnp.einsum("bpc,bp->bc", predicted + labelled, weight)
    occurs = total > 0
    mean = lambda x: jnp.where(occurs, x, 0).sum(-1) / jnp.maximum(occurs.sum(-1), 1)
    safe = jnp.where(occurs, total, 1)
    return mean(both / jnp.where(occurs, safe - both, 1)), mean(2 * both / safe)
