"""The evidence lower bound of texts, and the error of the properties that are predicted from the same latents.

The decoder of such a model sees the tokens before the one that it predicts, so log p(x | z) is a sum over tokens
(Bowman et al. 2016). Properties are predicted from the same draw of z, jointly (Gomez-Bombarelli et al. 2018).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray
import optax

from core.errors import UserError
from core.metrics import HIGHER, LOWER, measures
from core.ranges import CountOrZero, Nonnegative
from core.traced import Traced
from objectives.cross_entropy import most_likely, nan_unless_finite
from objectives.interface import Batch, Loss, Metrics, call, needs
from objectives.noise import keys_of_examples, noise_of_examples
from objectives.variational import kl_to_standard_normal


@measures(
    loss=LOWER, kl=LOWER, reconstruction=LOWER, elbo=HIGHER, accuracy=HIGHER, exact=HIGHER, property=LOWER,
)  # fmt: skip
@needs("next_tokens", "encodes texts to latents and decodes them token by token")
def sequence_variational(
    model: Any, batch: Batch, key: PRNGKeyArray | None, *, beta: Traced[Nonnegative] = 1.0,
    kl_warmup: CountOrZero = 0, free_bits: Traced[Nonnegative] = 0.0, property_weight: Traced[Nonnegative] = 1.0,
) -> tuple[Loss, Metrics]:  # fmt: skip
    """Returns beta KL - log p(x | z) in nats for each text, plus the weighted error of its properties, and metrics.

    Targets are the tokens (B, T), and weights (B, T) say which of them count. One draw of z serves both terms; in
    evaluation it follows from the example alone.

    Args:
      beta, kl_warmup, free_bits: as in `objectives.variational`; free_bits is in nats for each latent dimension.
      property_weight: of the squared error of the properties, which are the input "properties".

    Metrics:
      kl, reconstruction: the two terms in nats for each text, without weights. elbo: minus their sum.
      accuracy: of the tokens, given those before them.
      exact: the share of texts whose tokens are all the most likely ones, so that `write` gives exactly this text.
      property: the squared error, summed over the properties of a text.

    Raises:
      UserError: the model predicts properties and the data has none, or the other way round.
    """
    inputs, targets, weights_BT = batch["inputs"], batch["targets"], batch["weights"]
    properties_BP = inputs.get("properties")
    columns = 0 if properties_BP is None else properties_BP.shape[-1]
    if columns != model.properties:
        raise UserError(f"model.properties = {model.properties}: the data has {columns} properties of each text")
    encode_key, draw_key, decode_key, head_key = (None,) * 4 if key is None else jax.random.split(key, 4)
    mean_BZ, log_variance_BZ = call(model.encode, inputs, encode_key)
    if draw_key is None:
        noise_BZ = noise_of_examples(keys_of_examples(inputs), 0, mean_BZ.shape[1:])
    else:
        noise_BZ = jax.random.normal(draw_key, mean_BZ.shape)
    z_BZ = mean_BZ + jnp.exp(log_variance_BZ / 2) * noise_BZ
    logits_BTV = model.next_tokens(z_BZ, targets, key=decode_key)
    counts_B = (weights_BT > 0).any(1)  # a text without weight only fills up the batch
    total = counts_B.sum()
    mean = lambda x_BX: jnp.tensordot(counts_B.astype(x_BX.dtype), x_BX, 1) / jnp.maximum(total, 1)
    nats_BT = optax.softmax_cross_entropy_with_integer_labels(logits_BTV, targets)
    kl_BZ, reconstruction = kl_to_standard_normal(mean_BZ, log_variance_BZ), mean((weights_BT * nats_BT).sum(1))
    kl = mean(kl_BZ.sum(-1))
    kl_in_loss = jnp.maximum(mean(kl_BZ), free_bits).sum() if key is not None else kl
    warmth = jnp.minimum((batch["step"] + 1) / jnp.maximum(kl_warmup, 1), 1.0) if "step" in batch else 1.0
    loss = beta * warmth * kl_in_loss + reconstruction
    means = {"kl": kl, "reconstruction": reconstruction, "elbo": -kl - reconstruction}
    if columns:
        means["property"] = mean(((model.predict(z_BZ, key=head_key) - properties_BP) ** 2).sum(-1))
        loss += property_weight * means["property"]
    right_BT = most_likely(logits_BTV) == targets
    means |= {"loss": loss, "exact": mean((right_BT | (weights_BT == 0)).all(1).astype(jnp.float32))}
    means["exact"] += nan_unless_finite(loss)
    metrics = {name: (value * total, total) for name, value in means.items()}
    tokens = weights_BT.sum()
    right = (weights_BT * right_BT).sum() + nan_unless_finite(loss)
    return loss, metrics | {"accuracy": (right, tokens)}
