"""Cross-entropy of the next token at every position."""

from objectives.cross_entropy import weighted_cross_entropy


def language_modeling(model, batch, key, *, label_smoothing: float = 0.0):
    """Mean negative log-likelihood in nats a token, and accuracy.

    The model gives logits `BTV`; targets are the `BT` tokens that come next, weights `BT` (0 where nothing comes).
    `label_smoothing` moves that share of the target's probability to the whole vocabulary evenly.
    """
    logits_BTV = model(**batch["inputs"], key=key)
    return weighted_cross_entropy(logits_BTV, batch["targets"], batch["weights"], label_smoothing)
