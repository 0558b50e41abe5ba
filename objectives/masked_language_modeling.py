"""Cross-entropy of tokens that were hidden, and of one text following another where the model says so."""

import jax
import jax.numpy as jnp

from objectives.cross_entropy import weighted_cross_entropy


def masked_language_modeling(
    model, batch, key, *, mask_id: int, vocab_size: int, special_below: int = 0, rate: float = 0.15
):  # fmt: skip
    """Mean negative log-likelihood in nats a hidden token, and accuracy (Devlin et al. 2019, section 3.1).

    Tokens are hidden anew at every step, see `corrupt`; in evaluation the same ones each time, which depend on nothing
    but the tokens of the example. weights `BT` are 0 where nothing may be hidden, as at padding.

    Of a model that gives two arrays the second are logits `B2` of the second text following the first, and targets `B`
    say whether it does (1) or not (0). The loss is then the sum of both means; over several batches the second mean
    counts in it by hidden tokens, while `next_loss` counts by examples. Of a model that gives logits `BTV` alone
    targets are not looked at.
    """
    tokens_BT = batch["inputs"]["tokens"]
    if key is None:
        model_key, keys_B = None, jax.vmap(_key_of)(tokens_BT)
    else:
        model_key, corrupt_key = jax.random.split(key)
        keys_B = jax.random.split(corrupt_key, len(tokens_BT))
    hide = lambda key, tokens_T: corrupt(
        key, tokens_T, mask_id=mask_id, vocab_size=vocab_size, special_below=special_below, rate=rate
    )
    corrupted_BT, hidden_BT = jax.vmap(hide)(keys_B, tokens_BT)
    out = model(**(batch["inputs"] | {"tokens": corrupted_BT}), key=model_key)
    logits_BTV, next_B2 = out if isinstance(out, tuple) else (out, None)
    loss, metrics = weighted_cross_entropy(logits_BTV, tokens_BT, hidden_BT * batch["weights"])
    if next_B2 is None:
        return loss, metrics
    next_loss, following = weighted_cross_entropy(next_B2, batch["targets"], batch["weights"].max(axis=1))
    count = metrics["loss"][1]
    return loss + next_loss, {
        "loss": ((loss + next_loss) * count, count),
        "accuracy": metrics["accuracy"],
        "masked_loss": metrics["loss"],
        "next_loss": following["loss"],
        "next_accuracy": following["accuracy"],
    }


def corrupt(key, tokens_T, *, mask_id: int, vocab_size: int, special_below: int = 0, rate: float = 0.15):
    """One sequence with tokens hidden, and where: (int `T`, bool `T`).

    Each token is chosen with probability `rate`, unless its number is below `special_below`. Of those chosen 80 %
    become `mask_id`, 10 % any token of the vocabulary, and 10 % stay as they are, but are asked for too.
    """
    choose_key, way_key, token_key = jax.random.split(key, 3)
    hidden_T = jax.random.bernoulli(choose_key, rate, tokens_T.shape) & (tokens_T >= special_below)
    way_T = jax.random.uniform(way_key, tokens_T.shape)
    random_T = jax.random.randint(token_key, tokens_T.shape, 0, vocab_size, tokens_T.dtype)
    changed_T = jnp.where(way_T < 0.8, mask_id, jnp.where(way_T < 0.9, random_T, tokens_T))
    return jnp.where(hidden_T, changed_T, tokens_T).astype(tokens_T.dtype), hidden_T


def _key_of(tokens_T):
    """A key that follows from the tokens and their order, so that evaluation does not depend on how it is batched."""
    odd_T = 2 * jnp.arange(tokens_T.size, dtype=jnp.uint32) + 1
    return jax.random.fold_in(jax.random.key(0), jnp.sum((tokens_T.astype(jnp.uint32) + 1) * odd_T * odd_T))
