"""The three parts of attention as functions: score, weigh, mix. `models.attention` puts them together."""

from functools import partial
from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from models.masks import Mask, boolean

Queries = Float[Array, "batch queries heads size"]
Keys = Float[Array, "batch keys heads size"]
Values = Float[Array, "batch keys heads value_size"]
Bias = Float[Array, "#batch #heads #queries #keys"]
Scores = Float[Array, "*batch_heads queries keys"]
wide = partial(jnp.promote_types, jnp.float32)  # sums of bfloat16 are float32


class Weigh(Protocol):
    """A way to make weights from scores."""

    def __call__(self, scores_BHTS: Scores, mask: Mask | None = None) -> Scores: ...


# ---- score: how well each query meets each key ----------------------------------------------------------------------


def dot_product(query_BTHK: Queries, key_BSHK: Keys, *, scale: float | None = None) -> Scores:
    """Returns the scaled inner products. The scale 1 / sqrt(K) keeps their variance at 1 for random inputs."""
    factor = query_BTHK.shape[-1] ** -0.5 if scale is None else scale
    return jnp.einsum("bthk,bshk->bhts", query_BTHK * factor, key_BSHK, preferred_element_type=wide(query_BTHK.dtype))


def additive(query_BTHK: Queries, key_BSHK: Keys, *, vector_HK: Float[Array, "heads size"]) -> Scores:
    """Returns v . tanh(q + k) for every pair (Bahdanau et al. 2015, appendix A.1.2)."""
    pair_BTSHK = jnp.tanh(query_BTHK[:, :, None] + key_BSHK[:, None, :])
    return jnp.einsum("btshk,hk->bhts", pair_BTSHK, vector_HK, preferred_element_type=wide(pair_BTSHK.dtype))


def gaussian(query_BTHK: Queries, key_BSHK: Keys, *, bandwidth: float) -> Scores:
    """Returns -|q - k|^2 / (2 h^2): the softargmax is the Nadaraya-Watson kernel smoother, the exp the kernel."""
    difference_BTSHK = query_BTHK[:, :, None] - key_BSHK[:, None, :]
    squared_BHTS = jnp.einsum(
        "btshk,btshk->bhts", difference_BTSHK, difference_BTSHK, preferred_element_type=wide(difference_BTSHK.dtype)
    )
    return -squared_BHTS / (2 * bandwidth**2)


# ---- weigh: from a row of scores to a row of weights ----------------------------------------------------------------


def softargmax(scores_BHTS: Scores, mask: Mask | None = None, *, beta=1.0) -> Scores:
    """Returns exp(beta s) / sum exp(beta s) over the keys that the mask allows; zeros, not NaN, if it allows none."""
    where = None if mask is None else jnp.broadcast_to(boolean(mask), scores_BHTS.shape)
    return jax.nn.softmax(beta * scores_BHTS, axis=-1, where=where)


def hardargmax(scores_BHTS: Scores, mask: Mask | None = None, *, beta=1.0) -> Scores:
    """Returns a one-hot weight on the best key, with the gradient of `softargmax` (straight-through)."""
    mask = boolean(mask)
    soft = softargmax(scores_BHTS, mask, beta=beta)
    best = jnp.argmax(soft if mask is None else jnp.where(mask, scores_BHTS, -jnp.inf), axis=-1)
    hard = jax.nn.one_hot(best, scores_BHTS.shape[-1], dtype=soft.dtype)
    hard = hard if mask is None else hard * mask
    return soft + jax.lax.stop_gradient(hard - soft)


def as_given(scores_BHTS: Scores, mask: Mask | None = None) -> Scores:
    """Returns the scores as weights, zero where the mask forbids: graph convolution with a fixed adjacency."""
    return scores_BHTS if mask is None else jnp.where(boolean(mask), scores_BHTS, 0.0)


def ridge(gram_SS: Float[Array, "keys keys"], strength) -> Weigh:
    """Returns kernel ridge regression as a way to weigh: k(x, X) (K + lambda I)^-1, lambda being `strength`.

    The weights may be negative and need not sum to 1.
    """

    def weigh(scores_BHTS, mask=None):
        if mask is not None:
            raise ValueError("kernel ridge regression solves for all keys at once and takes no mask")
        return jnp.linalg.solve(gram_SS + strength * jnp.eye(gram_SS.shape[-1]), scores_BHTS.mT).mT

    return weigh


# ---- mix: weighted averages of the values ---------------------------------------------------------------------------


def mix(
    weights_BHTS: Float[Array, "batch heads queries keys"], value_BSHK: Values
) -> Float[Array, "batch queries heads value_size"]:
    """Returns the values averaged with the weights."""
    return jnp.einsum("bhts,bshk->bthk", weights_BHTS.astype(value_BSHK.dtype), value_BSHK)
