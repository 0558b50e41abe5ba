"""Reconstruction of the clean targets from inputs that may be corrupted: autoencoders and denoising autoencoders.

Vincent et al. 2008 corrupt by masking or by Gaussian noise. A delay is a corruption as well: a model that sees the past
only and is given a sequence one step late has to restore the present, so a language model is a denoising autoencoder.
BERT is one too; what it masks are whole words, for which there is `objectives/masked_language_modeling.py`.
"""

from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, Shaped

from core.errors import UserError
from core.metrics import HIGHER, LOWER, measures
from core.ranges import Range, Share
from core.traced import TracedUnlessZero
from objectives.cross_entropy import weighted_cross_entropy
from objectives.interface import Batch, Loss, Metrics, Model, call
from objectives.noise import Keys, keys_of_examples

NoiseScale = Annotated[float, Range(0, 1000)]
Delay = Annotated[int, Range(0, 2**17)]


@measures(loss=LOWER, accuracy=HIGHER)
def reconstruction(
    model: Model, batch: Batch, key: PRNGKeyArray | None, *, masked: TracedUnlessZero[Share] = 0.0,
    noise: TracedUnlessZero[NoiseScale] = 0.0, delay: Delay = 0,
) -> tuple[Loss, Metrics]:  # fmt: skip
    """Returns the mean squared error of real targets, or the cross-entropy of tokens in nats, and metrics.

    The squared error is the mean over the elements of an example that have one weight. Only the input is corrupted, by
    what is not 0 of the following, in this order. In evaluation the corruption follows from the example alone.

    Args:
      delay: the input is moved by this many places along its first axis after the batch, and zeros follow into the gap.
      masked: the probability with which an element of the input becomes 0.
      noise: standard deviation of the Gaussian noise that is added to each element.

    Metrics: "loss"; for tokens also "accuracy".

    Raises:
      UserError: the data has several inputs, the delay is as long as the input, tokens would be masked or noisy, or
        the output of the model has not the shape of the targets.
    """
    inputs, targets, weights = batch["inputs"], batch["targets"], batch["weights"]
    model_key, corruption_key = (None, None) if key is None else jax.random.split(key)
    if any(not _is_zero(amount) for amount in (masked, noise, delay)):
        if len(inputs) != 1:
            raise UserError(f"the objective corrupts the only input, but the data has {', '.join(map(repr, inputs))}")
        ((name, clean),) = inputs.items()
        keys_B = keys_of_examples(inputs) if corruption_key is None else jax.random.split(corruption_key, len(clean))
        inputs = {name: corrupted(clean, keys_B, masked=masked, noise=noise, delay=delay)}
    output = call(model, inputs, model_key)
    if jnp.issubdtype(targets.dtype, jnp.integer):
        return weighted_cross_entropy(output, targets, weights)
    if output.shape != targets.shape:
        raise UserError(f"the model gives {output.shape}, but the targets have the shape {targets.shape}")
    error = ((output - targets) ** 2).mean(axis=tuple(range(weights.ndim, targets.ndim)))
    total, count = (weights * error).sum(), weights.sum()
    return total / jnp.maximum(count, 1), {"loss": (total, count)}


def corrupted(
    clean: Shaped[Array, "*batch_and_shape"], keys_B: Keys, *, masked: float = 0.0, noise: float = 0.0, delay: int = 0
) -> Shaped[Array, "*batch_and_shape"]:
    """Returns examples, each corrupted with its own key; see `reconstruction`."""
    x = clean
    if delay:
        if x.ndim < 2 or delay >= x.shape[1]:
            raise UserError(f"delay = {delay}: expected less than the length of the input, whose shape is {x.shape}")
        x = jnp.concatenate([jnp.zeros_like(x[:, :delay]), x[:, :-delay]], axis=1)
    if _is_zero(masked) and _is_zero(noise):
        return x
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise UserError(
            "masked and noise are for real inputs, and these are tokens: use the objective masked_language_modeling"
        )
    draws = lambda draw, number: jax.vmap(lambda key: draw(jax.random.fold_in(key, number), x.shape[1:]))(keys_B)
    if not _is_zero(masked):
        x = jnp.where(draws(jax.random.uniform, 0) < masked, 0, x)
    if not _is_zero(noise):
        x = x + noise * draws(jax.random.normal, 1)
    return x


def _is_zero(amount) -> bool:
    return isinstance(amount, (int, float)) and amount == 0
