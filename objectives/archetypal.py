"""Deep archetypal analysis: the evidence lower bound, side information, and archetypes that are mixtures of examples.

Classic archetypal analysis writes the data as X = A B X: examples are mixtures A of archetypes, and archetypes are
mixtures B of examples (Cutler & Breiman 1994). In the deep one, the archetypes have fixed places V in the latent space,
so the second half becomes V = B A V (Keller et al. 2020, section 3).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from core.errors import UserError
from core.metrics import LOWER, measures
from core.ranges import Nonnegative
from core.traced import Traced
from objectives.interface import Batch, Loss, Metrics, call, compares_examples, needs
from objectives.variational import variational


@measures(loss=LOWER, kl=LOWER, reconstruction=LOWER, archetype=LOWER, side=LOWER)
@needs("mixtures", "gives mixtures of archetypes")
@compares_examples
def archetypal(
    model: Any, batch: Batch, key: PRNGKeyArray | None, *, beta: Traced[Nonnegative] = 1.0,
    archetype_weight: Traced[Nonnegative] = 1.0, side_weight: Traced[Nonnegative] = 1.0,
) -> tuple[Loss, Metrics]:  # fmt: skip
    """Returns beta KL - log p(x | z) in nats, plus the weighted distances of archetypes and side information.

    Weights are `B`; an example without weight is in no mixture. The archetypes of a step are mixtures of the examples
    of its batch, so "archetype" depends on the batch, in evaluation too.

    Args:
      beta: weight of the KL divergence from N(0, I).
      archetype_weight: of the distance of the archetypes from what the batch can make of them.
      side_weight: of the squared error of the side information, which is the input "side".

    Metrics:
      kl, reconstruction: see `objectives.variational`.
      archetype: mean squared distance |V - B A V|^2 of the archetypes.
      side: mean squared error of the side information, summed over its columns.

    Raises:
      UserError: the model has side information and the data has none, or the other way round.
    """
    inputs, weights = batch["inputs"], batch["weights"]
    columns = inputs["side"].shape[-1] if "side" in inputs else 0
    if columns != (decoded := model.side.out_features if model.side is not None else 0):
        raise UserError(f"model.side = {decoded}: the data has {columns} columns of side information")
    loss, metrics = variational(model, batch, key, beta=beta)
    dropout_key = None if key is None else jax.random.split(key)[0]  # as `variational` splits it
    total = weights.sum()
    weights_BK, logits_BK = call(model.mixtures, inputs, dropout_key)
    corners_KZ = model.corners()
    choice_BK = jax.nn.softmax(jnp.where(weights[:, None] > 0, logits_BK, -jnp.inf), axis=0)
    choice_BK = jnp.where(weights[:, None] > 0, choice_BK, 0)
    distance_K = ((corners_KZ - choice_BK.T @ (weights_BK @ corners_KZ)) ** 2).sum(-1)
    terms = {"archetype": (archetype_weight, distance_K.mean())}
    if model.side is not None:
        error_B = ((model.side(weights_BK @ corners_KZ) - inputs["side"]) ** 2).sum(-1)
        terms["side"] = (side_weight, (weights * error_B).sum() / jnp.maximum(total, 1))
    loss += sum(weight * value for weight, value in terms.values())
    means = {"loss": loss} | {name: value for name, (_, value) in terms.items()}
    kept = {name: metrics[name] for name in ("kl", "reconstruction")}
    return loss, kept | {name: (value * total, total) for name, value in means.items()}
