"""Cross-entropy of the next target token at every position, given the source and the true target before it."""

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from core.metrics import HIGHER, LOWER, measures
from core.ranges import ShareBelowAll
from core.traced import TracedUnlessZero
from objectives.cross_entropy import expect_sequences, most_likely, nan_unless_finite, weighted_cross_entropy
from objectives.interface import Batch, Loss, Metrics, Model, call, needs


@measures(loss=LOWER, accuracy=HIGHER, exact=HIGHER)
@needs("reorder", "writes a text token by token")
def seq2seq(
    model: Model, batch: Batch, key: PRNGKeyArray | None, *, label_smoothing: TracedUnlessZero[ShareBelowAll] = 0.0
) -> tuple[Loss, Metrics]:  # fmt: skip
    """Returns the mean negative log-likelihood in nats per token, and "loss", "accuracy" and "exact".

    "exact" is the share of targets without any error. The model reads the true target and not its own (teacher forcing,
    Williams & Zipser 1989). Still, "exact" is also the share that greedy decoding gets right: as long as it makes no
    error, it reads the same tokens.

    The model returns logits `BTV`. Targets are the next tokens `BT`, weights are `BT` (0 at padding).

    Args:
      label_smoothing: the share of the target's probability that is distributed evenly to the whole vocabulary.
    """
    logits_BTV = call(model, batch["inputs"], key)
    targets, weights = batch["targets"], batch["weights"]
    expect_sequences(targets)
    loss, metrics = weighted_cross_entropy(logits_BTV, targets, weights, label_smoothing)
    right_B = ((most_likely(logits_BTV) == targets) | (weights == 0)).all(-1)
    counted_B = (weights > 0).any(-1)
    return loss, metrics | {"exact": (jnp.sum(right_B & counted_B) + nan_unless_finite(loss), counted_B.sum())}
