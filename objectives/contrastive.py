"""Which of the texts of a batch belongs to an image, and which of the images to a text."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
import optax

from core.errors import UserError
from core.metrics import HIGHER, LOWER, measures
from objectives.cross_entropy import nan_unless_finite
from objectives.interface import Batch, Loss, Metrics, Model, call, compares_examples, needs


@measures(loss=LOWER, image_to_text=HIGHER, text_to_image=HIGHER)
@needs("encode_texts", "compares images with texts")
@compares_examples
def contrastive(model: Model, batch: Batch, key: PRNGKeyArray | None) -> tuple[Loss, Metrics]:
    """Returns the mean negative log-likelihood in nats of the right partner, and "loss" and two accuracies.

    The model returns similarities `BB` of all images (rows) with all texts (columns) of the batch; example i is the
    pair (i, i). A softmax over a row is a distribution of the text, one over a column of the image, and the loss is the
    mean of both cross-entropies (Radford et al. 2021, figure 3; the loss of Zhang et al. 2020, with equal weights):

        loss = -1 / 2B sum_i [log softmax(s_i.)_i + log softmax(s_.i)_i]

    Targets are numbers `B`, equal for texts of the same meaning, and weights are `B` (0 for padding of a last batch:
    such an example is no partner either). "image_to_text" is the share of images whose most similar text has the right
    number, "text_to_image" the share of such texts.

    All examples of the batch, on whatever devices, are compared with one another. So the metrics depend on the size of
    the batch, in evaluation too: among B guesses the loss is log B.

    Raises:
      UserError: the model does not return one similarity for each pair of the batch, or targets are not numbers `B`.
    """
    logits = call(model, batch["inputs"], key)
    targets, weights = jnp.asarray(batch["targets"]), batch["weights"]
    pairs = (len(weights), len(weights))
    if logits.shape != pairs or targets.shape != pairs[:1]:
        raise UserError(
            f"expected similarities {pairs} and one target for each pair, but they have the shapes {logits.shape} and "
            f"{targets.shape}"
        )
    counts_B, count = weights > 0, weights.sum()
    loss_sum, metrics = jnp.zeros(()), {}
    for name, similarities in (("image_to_text", logits), ("text_to_image", logits.T)):
        loss_B, right_B = _identify(similarities, targets, counts_B)
        loss_sum += (loss_B * weights).sum() / 2
        metrics[name] = ((right_B * weights).sum(), count)
    broken = nan_unless_finite(loss_sum)
    metrics = {name: (total + broken, count) for name, (total, count) in metrics.items()}
    return loss_sum / jnp.maximum(count, 1), {"loss": (loss_sum, count)} | metrics


def _identify(
    similarities_BC: Float[Array, "batch candidates"], targets: Int[Array, " batch"], counts: Bool[Array, " batch"]
) -> tuple[Float[Array, " batch"], Bool[Array, " batch"]]:
    """Returns for each row its loss, and whether the most similar candidate means the same as the row's own."""
    logits = jnp.where(counts, similarities_BC, jnp.finfo(similarities_BC.dtype).min)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.arange(len(logits)))
    return jnp.where(counts, loss, 0.0), targets[logits.argmax(-1)] == targets
