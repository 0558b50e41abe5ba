"""Cross-entropy of tokens that were hidden, and of one text following another if the model predicts that."""

from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from core.errors import UserError
from core.metrics import HIGHER, LOWER, measures
from core.ranges import Range, Token, Vocabulary
from core.traced import Traced
from objectives.cross_entropy import weighted_cross_entropy
from objectives.interface import Batch, Loss, Metrics, Model, call, needs


@measures(loss=LOWER, accuracy=HIGHER, masked_loss=LOWER, next_loss=LOWER, next_accuracy=HIGHER)
@needs("vocab_size", "returns the logits of tokens")
def masked_language_modeling(
    model: Model, batch: Batch, key: PRNGKeyArray | None, *, mask_id: Token, vocab_size: Vocabulary,
    special_below: Token = 0, rate: Traced[Annotated[float, Range(0, 1, open_low=True, open_high=True)]] = 0.15,
) -> tuple[Loss, Metrics]:  # fmt: skip
    """Returns the mean negative log-likelihood in nats per hidden token, and "loss" and "accuracy".

    This is the objective of BERT (Devlin et al. 2019, section 3.1). At every training step other tokens are hidden (see
    `corrupt`). In evaluation they are always the same, and depend only on the tokens of the example.

    The input "tokens" is `BT`, weights are `BT` (0 where nothing may be hidden, as at padding). If the model returns
    logits `BTV` alone, the targets are ignored.

    A model that returns two arrays also predicts whether the second text follows the first: the second array is logits
    `B2`, and the targets `B` are 1 if it does, else 0. The loss of training is then the sum of both means. In that of
    evaluation an example's second prediction counts by its hidden tokens, as the first ones do, so that the loss of a
    split does not depend on its batches. The metric "next_loss" counts by examples.

    Args:
      mask_id, vocab_size, special_below, rate: see `corrupt`.
    """
    tokens_BT = batch["inputs"].get("tokens")
    if tokens_BT is None:
        raise UserError(f"expected data with tokens to hide, but it has {', '.join(map(repr, batch['inputs']))}")
    if batch["weights"].shape != tokens_BT.shape:
        shapes = f"{batch['weights'].shape} for tokens {tokens_BT.shape}"
        raise UserError(f"expected data with a weight for each token, but the weights have the shape {shapes}")
    for name, token in (("mask_id", mask_id), ("special_below", special_below)):
        if token >= vocab_size:
            raise UserError(f"{name} = {token} is not below vocab_size = {vocab_size}")
    if key is None:
        model_key, keys_B = None, jax.vmap(_key_of)(tokens_BT)
    else:
        model_key, corrupt_key = jax.random.split(key)
        keys_B = jax.random.split(corrupt_key, len(tokens_BT))
    hide = lambda key, tokens_T: corrupt(
        key, tokens_T, mask_id=mask_id, vocab_size=vocab_size, special_below=special_below, rate=rate
    )
    corrupted_BT, hidden_BT = jax.vmap(hide)(keys_B, tokens_BT)
    out = call(model, batch["inputs"] | {"tokens": corrupted_BT}, model_key)
    logits_BTV, next_B2 = out if isinstance(out, tuple) else (out, None)
    weights_BT = hidden_BT * batch["weights"]
    loss, metrics = weighted_cross_entropy(logits_BTV, tokens_BT, weights_BT)
    if next_B2 is None:
        return loss, metrics
    next_loss, next_metrics = weighted_cross_entropy(next_B2, batch["targets"], batch["weights"].max(axis=1))
    masked_sum, count = metrics["loss"]
    if key is None:
        next_sum, _ = weighted_cross_entropy(next_B2, batch["targets"], weights_BT.sum(axis=1))[1]["loss"]
        loss = (masked_sum + next_sum) / jnp.maximum(count, 1)
    else:
        loss = loss + next_loss
    return loss, {
        "loss": (loss * count, count),
        "accuracy": metrics["accuracy"],
        "masked_loss": metrics["loss"],
        "next_loss": next_metrics["loss"],
        "next_accuracy": next_metrics["accuracy"],
    }


def corrupt(
    key: PRNGKeyArray, tokens_T: Int[Array, " T"], *, mask_id: int, vocab_size: int, special_below: int = 0,
    rate: float = 0.15,
) -> tuple[Int[Array, " T"], Bool[Array, " T"]]:  # fmt: skip
    """Returns one sequence with tokens hidden, and where they are hidden.

    Args:
      rate: the probability with which each token is chosen. Of the chosen tokens 80 % become `mask_id`, 10 % become any
        token of the vocabulary, and 10 % stay as they are but count as hidden too.
      special_below: tokens with smaller numbers are never chosen.
    """
    choose_key, way_key, token_key = jax.random.split(key, 3)
    hidden_T = jax.random.bernoulli(choose_key, rate, tokens_T.shape) & (tokens_T >= special_below)
    way_T = jax.random.uniform(way_key, tokens_T.shape)
    random_T = jax.random.randint(token_key, tokens_T.shape, 0, vocab_size, tokens_T.dtype)
    changed_T = jnp.where(way_T < 0.8, mask_id, jnp.where(way_T < 0.9, random_T, tokens_T))
    return jnp.where(hidden_T, changed_T, tokens_T).astype(tokens_T.dtype), hidden_T


def _key_of(tokens_T: Int[Array, " T"]) -> PRNGKeyArray:
    """A key that follows from the tokens and their order, so that evaluation does not depend on the batches."""
    odd_T = 2 * jnp.arange(tokens_T.size, dtype=jnp.uint32) + 1
    return jax.random.fold_in(jax.random.key(0), jnp.sum((tokens_T.astype(jnp.uint32) + 1) * odd_T * odd_T))
