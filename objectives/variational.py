"""The evidence lower bound, and the information bottleneck, which is the same loss with another target.

The loss has two terms, in nats per example: the KL divergence KL(q(z | x~) || p(z)) with p(z) = N(0, I), which is what
the latent costs, and the reconstruction term -E_q log p(x | z), which is how badly it explains the target. The first is
an upper bound on I(x~; z). H(x) minus the second is a lower bound on I(z; x) (Alemi et al. 2017, section 3). If x = x~,
their sum is the negative evidence lower bound (Kingma & Welling 2014, eq. 3).

With `bound` = "importance" the loss is another bound on log p(x), which several draws make tighter: that of the
importance-weighted autoencoder (Burda et al. 2016, eq. 8).
"""

from collections.abc import Callable, Sequence
import math
from typing import Annotated, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped
import optax

from core.errors import UserError, shown
from core.metrics import HIGHER, LOWER, measures
from core.ranges import CountOrZero, Nonnegative, Range
from core.traced import Traced
from objectives.cross_entropy import nan_unless_finite
from objectives.interface import Batch, Loss, Metrics, call, needs
from objectives.noise import keys_of_examples, noise_of_examples

Draws = Annotated[int, Range(1, 10_000)]

WEIGHED = ("kl", "likelihood")
BOUNDS = ("elbo", "importance")

Decoded = dict[str, Float[Array, "B ..."]]
"""{"mean", "log_variance"} or {"logits"}; see `log_likelihood`."""


class EncoderAndDecoder(Protocol):
    """What this objective needs of a model."""

    @property
    def encode(self) -> Callable[..., Sequence[Float[Array, "B Z"]]]:
        """Takes named inputs and `key`; returns mean and log variance of q(z | x~)."""
        ...

    @property
    def decode(self) -> Callable[[Float[Array, "B Z"]], Decoded]:
        """Takes latents; returns the parameters of p(x | z)."""
        ...


@measures(
    loss=LOWER, kl=LOWER, reconstruction=LOWER, elbo=HIGHER, information=HIGHER, importance_bound=HIGHER,
    accuracy=HIGHER,
)  # fmt: skip
@needs("latents", "encodes to latents and decodes them")
def variational(
    model: EncoderAndDecoder, batch: Batch, key: PRNGKeyArray | None, *, beta: Traced[Nonnegative] = 1.0,
    beta_weighs: str = "kl", kl_warmup: CountOrZero = 0, free_bits: Traced[Nonnegative] = 0.0, samples: Draws = 1,
    evaluation_samples: Draws = 1, target_entropy: Annotated[float, Range(-(10**6), 10**6)] | None = None,
    bound: str = "elbo",
) -> tuple[Loss, Metrics]:  # fmt: skip
    """Returns the weighted sum of KL and negative log-likelihood (KL + NLL in nats per example), and metrics.

    Weights are `B`. In evaluation the noise of a draw follows from the example alone, so that the
    result can be repeated and does not depend on how the examples are divided into batches.

    Args:
      beta: with `beta_weighs` "kl", the loss is beta KL - log p (Higgins et al. 2017: a large beta gives a small KL);
        with "likelihood" it is KL - beta log p (the Lagrangian of the bottleneck, Tishby et al. 1999: a small beta
        gives a small KL).
      kl_warmup: the number of steps in which the weight of the KL rises linearly to its full value (Bowman et al.
        2016).
      free_bits: in nats, not bits. In the loss of training, the KL of a latent dimension, averaged over the batch,
        counts as at least this much (Kingma et al. 2016). If a step computes its batch in parts, the average is over a
        part. The loss of evaluation has no such bound, which would depend on the batches.
      samples, evaluation_samples: draws of z for each example, in training and in evaluation.
      target_entropy: H(x) in nats, or None if it is not known.
      bound: "elbo", or "importance": the loss is minus the importance-weighted bound with `samples` draws, and in
        evaluation with `evaluation_samples`. It has one term, so it takes no beta, kl_warmup or free_bits.

    Metrics:
      kl, reconstruction: the two terms, without weights.
      elbo: minus their sum.
      information: target_entropy - reconstruction, the lower bound on I(z; x), if the entropy is known.
      importance_bound: in evaluation, the importance-weighted bound on log p(x) with `evaluation_samples` draws (Burda
        et al. 2016). In expectation it is never below the elbo, and it is tighter with more draws.
      accuracy: of the classes with the highest average probability over the draws, if the targets are classes.
    """
    if beta_weighs not in WEIGHED:
        raise UserError(f"beta_weighs = {shown(beta_weighs)}: expected 'kl' or 'likelihood'")
    if bound not in BOUNDS:
        raise UserError(f"bound = {shown(bound)}: expected 'elbo' or 'importance'")
    if bound == "importance" and (kl_warmup or any(not isinstance(x, int | float) for x in (beta, free_bits))
                                  or (beta, free_bits) != (1, 0)):  # fmt: skip
        raise UserError("bound = 'importance' takes no beta, kl_warmup or free_bits: leave them out")
    training, targets, weights = key is not None, batch["targets"], batch["weights"]
    dropout_key, draw_key = (None, None) if key is None else jax.random.split(key)
    mean_BZ, log_variance_BZ = call(model.encode, batch["inputs"], dropout_key)

    def draw(noise_BZ):
        z_BZ = mean_BZ + jnp.exp(log_variance_BZ / 2) * noise_BZ
        decoded = model.decode(z_BZ)
        log_p_B = log_likelihood(decoded, targets)
        prior_minus_posterior_BZ = (noise_BZ**2 + log_variance_BZ - z_BZ**2) / 2
        probabilities = jax.nn.softmax(decoded["logits"]) if _are_classes(decoded, targets) else None
        return log_p_B, log_p_B + prior_minus_posterior_BZ.sum(-1), probabilities

    # Draws are made one after the other: a hundred take no more memory than one.
    count = samples if training else evaluation_samples
    if draw_key is None:
        keys_B = keys_of_examples(batch["inputs"])
        noise = lambda number: noise_of_examples(keys_B, number, mean_BZ.shape[1:])
        draws = jnp.arange(count)
    else:
        noise = lambda key: jax.random.normal(key, mean_BZ.shape)
        draws = jax.random.split(draw_key, count)
    log_p, log_weight, probabilities = jax.lax.map(lambda each: draw(noise(each)), draws)

    total = weights.sum()
    mean = lambda x: jnp.tensordot(weights, x, 1) / jnp.maximum(total, 1)
    kl_BZ = kl_to_standard_normal(mean_BZ, log_variance_BZ)
    kl, reconstruction = mean(kl_BZ.sum(-1)), -mean(log_p.mean(0))
    kl_weight, reconstruction_weight = (beta, 1.0) if beta_weighs == "kl" else (1.0, beta)
    if "step" in batch:
        kl_weight *= jnp.minimum((batch["step"] + 1) / jnp.maximum(kl_warmup, 1), 1.0)
    kl_in_loss = jnp.maximum(mean(kl_BZ), free_bits).sum() if training else kl
    loss = kl_weight * kl_in_loss + reconstruction_weight * reconstruction
    importance_bound = mean(jax.nn.logsumexp(log_weight, axis=0) - math.log(count))
    if bound == "importance":
        loss = -importance_bound

    means = {"loss": loss, "kl": kl, "reconstruction": reconstruction, "elbo": -kl - reconstruction}
    if target_entropy is not None:
        means["information"] = target_entropy - reconstruction
    if not training:
        means["importance_bound"] = importance_bound
    if probabilities is not None:
        means["accuracy"] = mean(probabilities.mean(0).argmax(-1) == targets) + nan_unless_finite(loss)
    return loss, {name: (value * total, total) for name, value in means.items()}


def kl_to_standard_normal(
    mean_BZ: Float[Array, "B Z"], log_variance_BZ: Float[Array, "B Z"]
) -> Float[Array, "B Z"]:  # fmt: skip
    """Returns KL(N(mean, diag exp(log_variance)) || N(0, I)) of each dimension (Kingma & Welling 2014, appendix B)."""
    return (mean_BZ**2 + jnp.exp(log_variance_BZ) - log_variance_BZ - 1) / 2


def log_likelihood(decoded: Decoded, targets: Shaped[Array, "B ..."]) -> Float[Array, " B"]:
    """Returns log p(x | z) in nats.

    Args:
      decoded: {"mean", "log_variance"} of a Gaussian, each of the shape of the targets; {"logits"} of Bernoullis, of
        the shape of the targets, where a target between 0 and 1 stands for this share of ones; or {"logits"} `BC` of
        classes, where the targets are class numbers `B`.

    Raises:
      UserError: the shapes do not fit together.
    """
    if _are_classes(decoded, targets):
        return -optax.softmax_cross_entropy_with_integer_labels(decoded["logits"], targets)
    if any(x.shape != targets.shape for x in decoded.values()):
        shapes = ", ".join(f"{name} {x.shape}" for name, x in decoded.items())
        raise UserError(f"the model decodes {shapes}, but the targets have the shape {targets.shape}")
    if "logits" in decoded:
        logits = decoded["logits"]  # one exponential and one logarithm where the sum of two log sigmoids takes two
        log_p = targets * logits - jnp.maximum(logits, 0) - jnp.log(1 + jnp.exp(-jnp.abs(logits)))
    else:
        mean, log_variance = decoded["mean"], decoded["log_variance"]
        log_p = -((targets - mean) ** 2 * jnp.exp(-log_variance) + log_variance + math.log(2 * math.pi)) / 2
    return log_p.reshape(len(targets), -1).sum(-1)


def _are_classes(decoded: Decoded, targets: Shaped[Array, "B ..."]) -> bool:
    return "logits" in decoded and decoded["logits"].ndim == targets.ndim + 1
