"""Cross-entropy of one class for each example."""

from objectives.cross_entropy import weighted_cross_entropy


def classification(model, batch, key, *, label_smoothing: float = 0.0):
    """Mean negative log-likelihood in nats an example, and accuracy.

    The model gives logits `BC`; targets are `B` class numbers, weights `B` (0 for padding of a last batch).
    `label_smoothing` moves that share of the target's probability to all classes evenly (Szegedy et al. 2016).
    """
    logits_BC = model(**batch["inputs"], key=key)
    return weighted_cross_entropy(logits_BC, batch["targets"], batch["weights"], label_smoothing)
