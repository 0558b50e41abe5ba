"""Cross-entropy of the next target token at every position, given the source and the true target before it."""

import jax.numpy as jnp

from objectives.cross_entropy import weighted_cross_entropy


def seq2seq(model, batch, key, *, label_smoothing: float = 0.0):
    """Mean negative log-likelihood in nats a token, accuracy, and "exact", the share of targets without any error.

    The model gives logits `BTV`; targets are the `BT` tokens that come next, weights `BT` (0 at padding).
    `label_smoothing` moves that share of the target's probability to the whole vocabulary evenly.

    The model reads the true target, not its own (teacher forcing, Williams & Zipser 1989). Yet "exact" is also the
    share that greedy decoding gets right: as long as it is right, it reads the same.
    """
    logits_BTV = model(**batch["inputs"], key=key)
    targets, weights = batch["targets"], batch["weights"]
    loss, metrics = weighted_cross_entropy(logits_BTV, targets, weights, label_smoothing)
    right_B = ((logits_BTV.argmax(-1) == targets) | (weights == 0)).all(-1)
    counted_B = (weights > 0).any(-1)
    return loss, metrics | {"exact": (jnp.sum(right_B & counted_B), counted_B.sum())}
