"""Cross-entropy of the next token at every position."""

from jaxtyping import PRNGKeyArray

from core.metrics import HIGHER, LOWER, measures
from core.ranges import ShareBelowAll
from core.traced import TracedUnlessZero
from objectives.cross_entropy import expect_sequences, weighted_cross_entropy
from objectives.interface import Batch, Loss, Metrics, Model, call, needs


@measures(loss=LOWER, accuracy=HIGHER)
@needs("vocab_size", "returns the logits of tokens")
def language_modeling(
    model: Model, batch: Batch, key: PRNGKeyArray | None, *, label_smoothing: TracedUnlessZero[ShareBelowAll] = 0.0
) -> tuple[Loss, Metrics]:  # fmt: skip
    """Returns the mean negative log-likelihood in nats per token, and "loss" and "accuracy".

    The model returns logits `BTV`. Targets are the next tokens `BT`, weights are `BT` (0 where there is no next token).

    Args:
      label_smoothing: the share of the target's probability that is distributed evenly to the whole vocabulary.
    """
    logits_BTV = call(model, batch["inputs"], key)
    expect_sequences(batch["targets"])
    return weighted_cross_entropy(logits_BTV, batch["targets"], batch["weights"], label_smoothing)
