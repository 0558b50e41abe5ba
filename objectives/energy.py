"""Free energies of latent-variable models, and three ways to train them: energy, contrast, likelihood.

The free energy of an example leaves its latent out. At temperature 0 it is the least energy over the latents; the
warmer, the more latents take part:

    F_T(y) = -T log (1/N sum_z exp(-E(y, z) / T)),      F_0(y) = min_z E(y, z),      F_inf(y) = mean_z E(y, z)

T is 1 / beta of A. Canziani's lectures: their beta is an inverse temperature, not the weight of a KL divergence as in
`objectives/variational.py`. The 1/N inside the logarithm belongs to it: without, F would fall without end as T rises.
"""

from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from core.errors import UserError, shown
from core.metrics import LOWER, measures
from core.ranges import Range
from core.traced import Traced, TracedUnlessZero
from objectives.interface import Batch, Loss, Metrics, Model, call, needs
from objectives.noise import keys_of_examples, noise_of_examples

Temperature = Annotated[float, Range(0, 10**6)]
Margin = Annotated[float, Range(0, 10**6)]
Distance = Annotated[float, Range(1e-6, 1000)]
Extent = Annotated[float, Range(1e-3, 1000)]
LOSSES = ("energy", "hinge", "likelihood")
POINTS_A_SIDE = 41  # of the grid of y in "likelihood"


@measures(loss=LOWER, energy=LOWER, contrast=LOWER)
@needs("grid", "gives energies for each latent of a grid")
def energy(
    model: Model, batch: Batch, key: PRNGKeyArray | None, *, loss: str = "energy",
    temperature: TracedUnlessZero[Temperature] = 0.0, margin: Traced[Margin] = 1.0, distance: Traced[Distance] = 1.0,
    extent: Extent = 4.0,
) -> tuple[Loss, Metrics]:  # fmt: skip
    """Returns the mean loss of the points "y" of the inputs, and metrics.

    The model returns energies `BZ` over a grid of latents. Weights are `B`; targets are not read.

    Args:
      loss: "energy", the free energy. It can be trained with alone only where the decoder is too poor to give all
        points a low energy. "hinge", max(0, margin + F(y) - F(y')), with y' = y plus Gaussian noise (LeCun et al. 2006,
        section 2.2.2). "likelihood", F(y) / T plus the logarithm of the integral of exp(-F(y') / T) over y', which
        needs a temperature above 0.
      temperature: T; 0 takes the latent of the least energy.
      margin, distance: of "hinge": the margin, and the standard deviation of the noise.
      extent: of "likelihood": y' are the points of a grid from -extent to extent on both axes.

    Metrics:
      energy: the free energy of the points.
      contrast: for "hinge", F(y) - F(y').

    Raises:
      UserError: there is no such loss, or the temperature is 0 for "likelihood".
    """
    if loss not in LOSSES:
        raise UserError(f"loss = {shown(loss)}: expected one of {', '.join(LOSSES)}")
    model_key, noise_key = (None, None) if key is None else jax.random.split(key)
    inputs, weights = batch["inputs"], batch["weights"]
    at = lambda inputs: free_energy(call(model, inputs, model_key), temperature)
    F_B = at(inputs)
    total = weights.sum()
    means = {"energy": (weights * F_B).sum() / jnp.maximum(total, 1)}
    if loss == "energy":
        loss_B = F_B
    elif loss == "hinge":
        y = inputs["y"]
        if noise_key is None:
            noise = noise_of_examples(keys_of_examples(inputs), 0, y.shape[1:])
        else:
            noise = jax.random.normal(noise_key, y.shape)
        contrast_B = F_B - at({**inputs, "y": y + distance * noise})
        loss_B = jnp.maximum(0, margin + contrast_B)
        means["contrast"] = (weights * contrast_B).sum() / jnp.maximum(total, 1)
    else:
        if _is_zero(temperature):
            raise UserError("loss = 'likelihood' needs a temperature above 0: at 0 nothing can be normalised")
        loss_B = F_B / temperature + _log_partition(at, inputs, temperature, extent)
    means["loss"] = (weights * loss_B).sum() / jnp.maximum(total, 1)
    return means["loss"], {name: (value * total, total) for name, value in means.items()}


def free_energy(energies: Float[Array, "*examples latents"], temperature) -> Float[Array, "*examples"]:
    """Returns -T log (1/N sum exp(-E / T)) over the last axis, and the minimum where the temperature is 0."""
    least = energies.min(-1)
    if _is_zero(temperature):
        return least
    # exp - 1 keeps its digits where the temperature is high, and log(1/N sum exp) does not.
    mean = jnp.expm1(-(energies - least[..., None]) / temperature).mean(-1)
    return least - temperature * jnp.log1p(mean)


def responsibilities(energies: Float[Array, "*examples latents"], temperature) -> Float[Array, "*examples latents"]:
    """Returns the share of each latent in the free energy, softargmax(-E / T), which is its gradient."""
    return jax.nn.softmax(-energies / temperature, axis=-1)


def _log_partition(at, inputs, temperature, extent: float) -> Float[Array, " batch"]:
    """The logarithm of the integral of exp(-F(y) / T) over a square, by the midpoint rule, for each example's x."""
    step = 2 * extent / POINTS_A_SIDE
    middle = step * (jnp.arange(POINTS_A_SIDE) + 0.5) - extent
    points = jnp.stack(jnp.meshgrid(middle, middle), axis=-1).reshape(-1, 2)
    shape = inputs["y"].shape
    energy_at = lambda point: at({**inputs, "y": jnp.broadcast_to(point, shape)})
    F_NB = jax.lax.map(energy_at, points)  # one point after the other: memory of one batch
    return jax.nn.logsumexp(-F_NB / temperature, axis=0) + 2 * jnp.log(step)


def _is_zero(amount) -> bool:
    return isinstance(amount, (int, float)) and amount == 0
