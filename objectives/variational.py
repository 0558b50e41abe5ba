"""The evidence lower bound, and the information bottleneck, which is the same loss with another target.

Two numbers in nats an example: what the latent costs, KL(q(z | x~) || p(z)) with p(z) = N(0, I), and how badly it
explains the target, -E_q log p(x | z). The first bounds I(x~; z) from above. H(x) minus the second bounds I(z; x)
from below (Alemi et al. 2017, section 3). Where x = x~ their sum is the negative evidence lower bound (Kingma &
Welling 2014, eq. 3).
"""

import math

import jax
import jax.numpy as jnp
import optax

WEIGHED = ("kl", "likelihood")


def variational(
    model, batch, key, *, beta: float = 1.0, beta_weighs: str = "kl", kl_warmup: int = 0, free_bits: float = 0.0,
    samples: int = 1, evaluation_samples: int = 1, target_entropy: float | None = None,
):  # fmt: skip
    """The weighed sum of KL and negative log-likelihood, in nats an example.

    The model has `encode` (inputs to mean and log variance, `BZ`) and `decode` (latents `BZ` to what the likelihood is
    made of, see `log_likelihood`). Weights are `B`. Evaluation draws from a fixed key, so that it can be repeated.

    Args:
      beta: with `beta_weighs` "kl", the loss is beta KL - log p (Higgins et al. 2017: large beta, small KL); with
        "likelihood" it is KL - beta log p (the bottleneck's Lagrangian, Tishby et al. 1999: small beta, small KL).
      kl_warmup: steps in which the weight of the KL rises linearly to its full value (Bowman et al. 2016).
      free_bits: nats, not bits: in the loss the KL of a latent dimension, averaged over the batch, counts as at least
        that much (Kingma et al. 2016). Where a step splits its batch, the average is over a part.
      samples: draws of z an example in training. evaluation_samples: in evaluation.
      target_entropy: H(x) in nats, if it is known.

    Metrics:
      kl, reconstruction: the two numbers, as they are. elbo: minus their sum.
      information: target_entropy - reconstruction, the bound on I(z; x), where the entropy is known.
      importance_bound: in evaluation, the importance-weighted bound on log p(x) with `evaluation_samples` draws (Burda
        et al. 2016), never below the elbo in expectation, and tighter with each draw more.
      accuracy: of the classes that are likeliest on average over the draws, where the targets are classes.
    """
    _check(model, beta_weighs, samples, evaluation_samples)
    training, targets, weights = key is not None, batch["targets"], batch["weights"]
    dropout_key, draw_key = jax.random.split(key) if training else (None, jax.random.key(0))
    mean_BZ, log_variance_BZ = model.encode(**batch["inputs"], key=dropout_key)

    def draw(key):
        noise_BZ = jax.random.normal(key, mean_BZ.shape)
        z_BZ = mean_BZ + jnp.exp(log_variance_BZ / 2) * noise_BZ
        decoded = model.decode(z_BZ)
        log_p_B = log_likelihood(decoded, targets)
        prior_minus_posterior_BZ = (noise_BZ**2 + log_variance_BZ - z_BZ**2) / 2
        probabilities = jax.nn.softmax(decoded["logits"]) if _are_classes(decoded, targets) else None
        return log_p_B, log_p_B + prior_minus_posterior_BZ.sum(-1), probabilities

    # One draw after the other: a hundred of them take no more memory than one.
    count = samples if training else evaluation_samples
    log_p, log_weight, probabilities = jax.lax.map(draw, jax.random.split(draw_key, count))

    total = weights.sum()
    mean = lambda x: jnp.tensordot(weights, x, 1) / jnp.maximum(total, 1)
    kl_BZ = kl_to_standard_normal(mean_BZ, log_variance_BZ)
    kl, reconstruction = mean(kl_BZ.sum(-1)), -mean(log_p.mean(0))
    kl_weight, reconstruction_weight = (beta, 1.0) if beta_weighs == "kl" else (1.0, beta)
    if "step" in batch:
        kl_weight *= jnp.minimum((batch["step"] + 1) / jnp.maximum(kl_warmup, 1), 1.0)
    loss = kl_weight * jnp.maximum(mean(kl_BZ), free_bits).sum() + reconstruction_weight * reconstruction

    means = {"loss": loss, "kl": kl, "reconstruction": reconstruction, "elbo": -kl - reconstruction}
    if target_entropy is not None:
        means["information"] = target_entropy - reconstruction
    if not training:
        means["importance_bound"] = mean(jax.nn.logsumexp(log_weight, axis=0) - math.log(count))
    if probabilities is not None:
        means["accuracy"] = mean(probabilities.mean(0).argmax(-1) == targets)
    return loss, {name: (value * total, total) for name, value in means.items()}


def kl_to_standard_normal(mean_BZ, log_variance_BZ):
    """KL(N(mean, diag exp(log_variance)) || N(0, I)) of each dimension, `BZ` (Kingma & Welling 2014, appendix B)."""
    return (mean_BZ**2 + jnp.exp(log_variance_BZ) - log_variance_BZ - 1) / 2


def log_likelihood(decoded, targets):
    """log p(x | z) in nats, `B`.

    `decoded` is {"mean", "log_variance"} for a Gaussian; {"logits"} of the shape of the targets for Bernoullis, where
    targets between 0 and 1 stand for that share of ones; or {"logits"} `BC` for `B` class numbers.
    """
    if _are_classes(decoded, targets):
        return -optax.softmax_cross_entropy_with_integer_labels(decoded["logits"], targets)
    if any(x.shape != targets.shape for x in decoded.values()):
        shapes = ", ".join(f"{name} {x.shape}" for name, x in decoded.items())
        raise ValueError(f"the model decodes {shapes}, but the targets have the shape {targets.shape}")
    if "logits" in decoded:
        log_p = -optax.sigmoid_binary_cross_entropy(decoded["logits"], targets)
    else:
        mean, log_variance = decoded["mean"], decoded["log_variance"]
        log_p = -((targets - mean) ** 2 * jnp.exp(-log_variance) + log_variance + math.log(2 * math.pi)) / 2
    return log_p.reshape(len(targets), -1).sum(-1)


def _are_classes(decoded, targets) -> bool:
    return "logits" in decoded and decoded["logits"].ndim == targets.ndim + 1


def _check(model, beta_weighs: str, samples: int, evaluation_samples: int) -> None:
    if min(samples, evaluation_samples) < 1:
        raise ValueError(f"samples={samples}, evaluation_samples={evaluation_samples}: expected at least 1 of each")
    if beta_weighs not in WEIGHED:
        raise ValueError(f"beta_weighs={beta_weighs!r}: expected 'kl' or 'likelihood'")
    if not (hasattr(model, "encode") and hasattr(model, "decode")):
        raise ValueError("the objective 'variational' needs a model that can encode and decode, such as 'variational'")
