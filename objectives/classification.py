"""Cross-entropy of one class for each example."""

from jaxtyping import PRNGKeyArray

from core.metrics import HIGHER, LOWER, measures
from core.ranges import ShareBelowAll
from core.traced import TracedUnlessZero
from objectives.cross_entropy import weighted_cross_entropy
from objectives.interface import Batch, Loss, Metrics, Model, call, needs


@measures(loss=LOWER, accuracy=HIGHER)
@needs("classes", "returns the logits of classes")
def classification(
    model: Model, batch: Batch, key: PRNGKeyArray | None, *, label_smoothing: TracedUnlessZero[ShareBelowAll] = 0.0
) -> tuple[Loss, Metrics]:  # fmt: skip
    """Returns the mean negative log-likelihood in nats per example, and "loss" and "accuracy".

    The model returns logits `BC`. Targets are class numbers `B`, weights are `B` (0 for padding of a last batch).

    Args:
      label_smoothing: the share of the target's probability that is distributed evenly to all classes (Szegedy et al.
        2016).
    """
    logits_BC = call(model, batch["inputs"], key)
    return weighted_cross_entropy(logits_BC, batch["targets"], batch["weights"], label_smoothing)
