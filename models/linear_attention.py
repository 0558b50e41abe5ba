"""Linear attention: weights phi(q) . phi(k) instead of exp(q . k), so that the cost grows linearly with the length.

A sum of products can be bracketed in another way: phi(q) . [sum over keys of phi(k) v^T]. The bracket is a matrix of
the size of a head, whatever the length, and the matrix of all queries by all keys is never made. Where causal, the sums
run up to each query: in the parallel form over chunks of the sequence, in the recurrent form over single tokens, with
the sum so far as a state of constant size (Katharopoulos et al. 2020, "Transformers are RNNs", equations 5 to 20).
"""

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from core.errors import UserError
from models.masks import Mask, four_axes, with_causal
from models.scores import Keys, Queries, Scores, Values, wide

State = Float[Array, "batch heads features value_size+1"]
"""The sums over keys of phi(k) v^T and, in the last column, of phi(k)."""


def _taylor(x: Float[Array, "*batch size"]) -> Float[Array, "*batch features"]:
    scaled = x * x.shape[-1] ** -0.25  # so that inner products are q . k / sqrt(K)
    squares = (scaled[..., :, None] * scaled[..., None, :]).reshape(*x.shape[:-1], -1)
    return jnp.concatenate([jnp.ones_like(x[..., :1]), scaled, squares * 0.5**0.5], axis=-1)


FEATURE_MAPS = {"elu": lambda x: nnx.elu(x) + 1, "relu": nnx.relu, "taylor": _taylor}
"""phi. "elu" is elu(x) + 1 (Katharopoulos et al. 2020). "taylor" has 1 + K + K^2 features, whose inner product is
1 + s + s^2 / 2, the first terms of exp(s) for s = q . k / sqrt(K) (Zhang et al. 2024, "The hedgehog & the porcupine").
"""


def linear_attention(
    query_BTHK: Queries, key_BSHK: Keys, value_BSHV: Values, *, feature_map: str, causal: bool,
    mask: Mask | None = None, state: State | None = None, chunk: int = 64,
) -> tuple[Float[Array, "batch queries heads value_size"], State]:  # fmt: skip
    """Returns the values averaged with weights phi(q) . phi(k) / (sum of them), and the state after all keys.

    A query without any weight gives zeros. Sums are float32. The recurrent form is a call for each token, with the
    state that the call before it returned.

    Args:
      mask: of keys, the same for all queries.
      causal: query t sees the keys 0 to t, and what is in `state`.
      state: of earlier keys; None if there are none.
      chunk: the number of queries, where causal, that are compared with one another directly.
    """
    dtype, T = value_BSHV.dtype, query_BTHK.shape[1]
    query_BTHF, key_BSHF = _features(query_BTHK, key_BSHK, feature_map, mask)
    value_BSHV = value_BSHV.astype(key_BSHF.dtype)
    value_BSHV = jnp.concatenate([value_BSHV, jnp.ones_like(value_BSHV[..., :1])], axis=-1)
    B, H, F, V = value_BSHV.shape[0], *key_BSHF.shape[2:], value_BSHV.shape[-1]
    state_BHFV = jnp.zeros((B, H, F, V), key_BSHF.dtype) if state is None else state
    if causal:
        sums_BTHV, state_BHFV = _running_sums(query_BTHF, key_BSHF, value_BSHV, state_BHFV, min(chunk, T))
    elif state is None and T * (F + V) < F * V:  # few queries: comparing them with all keys is cheaper
        products_BHTS = jnp.einsum("bthf,bshf->bhts", query_BTHF, key_BSHF)
        sums_BTHV = jnp.einsum("bhts,bshv->bthv", products_BHTS, value_BSHV)
        state_BHFV = jnp.einsum("bshf,bshv->bhfv", key_BSHF, value_BSHV)
    else:
        state_BHFV = state_BHFV + jnp.einsum("bshf,bshv->bhfv", key_BSHF, value_BSHV)
        sums_BTHV = jnp.einsum("bthf,bhfv->bthv", query_BTHF, state_BHFV)
    return _divide(sums_BTHV[..., :-1], sums_BTHV[..., -1:]).astype(dtype), state_BHFV


def linear_weights(
    query_BTHK: Queries, key_BSHK: Keys, *, feature_map: str, causal: bool, mask: Mask | None = None
) -> Scores:
    """Returns the weights that linear attention implies, as an array of all queries by all keys: to look at."""
    query_BTHF, key_BSHF = _features(query_BTHK, key_BSHK, feature_map, mask)
    products_BHTS = jnp.einsum("bthf,bshf->bhts", query_BTHF, key_BSHF)
    visible = with_causal(None, causal, *products_BHTS.shape[-2:])
    products_BHTS = products_BHTS if visible is None else jnp.where(visible, products_BHTS, 0)
    return _divide(products_BHTS, products_BHTS.sum(-1, keepdims=True))


def empty_state(batch_size: int, heads: int, size: int, value_size: int, feature_map: str) -> State:
    """Returns the state before the first key."""
    features = jax.eval_shape(FEATURE_MAPS[feature_map], jnp.zeros(size)).shape[-1]
    return jnp.zeros((batch_size, heads, features, value_size + 1))


# ---- private parts --------------------------------------------------------------------------------------------------


def _features(query_BTHK, key_BSHK, feature_map: str, mask):
    """phi of queries and keys in float32, 0 for masked keys."""
    phi = FEATURE_MAPS[feature_map]
    query_BTHF, key_BSHF = (phi(x.astype(wide(x.dtype))) for x in (query_BTHK, key_BSHK))
    if mask is None:
        return query_BTHF, key_BSHF
    mask = four_axes(mask)
    if mask.shape[2] != 1:
        raise UserError(
            f"the mask has the shape {mask.shape}: linear attention sums over keys once for all queries, so it takes a "
            "mask of keys only, with the shape (batch or 1, heads or 1, 1, keys)"
        )
    return query_BTHF, jnp.where(mask.transpose(0, 3, 1, 2), key_BSHF, 0)


def _running_sums(query_BTHF, key_BTHF, value_BTHV, state_BHFV, chunk: int):
    """For each query the sums over the keys up to its own, and the state after the last one."""
    T = query_BTHF.shape[1]
    count = -(-T // chunk)
    query, key, value = (  # B N C H F or V: padding adds keys whose features are 0
        jnp.pad(x, ((0, 0), (0, count * chunk - T), (0, 0), (0, 0))).reshape(x.shape[0], count, chunk, *x.shape[2:])
        for x in (query_BTHF, key_BTHF, value_BTHV)
    )
    products = jnp.where(jnp.tril(jnp.ones((chunk, chunk), bool)), jnp.einsum("bnthf,bnshf->bnhts", query, key), 0)
    added = jnp.einsum("bnshf,bnshv->bnhfv", key, value)
    states = jnp.cumsum(jnp.concatenate([state_BHFV[:, None], added], axis=1), axis=1)
    sums = jnp.einsum("bnhts,bnshv->bnthv", products, value) + jnp.einsum("bnthf,bnhfv->bnthv", query, states[:, :-1])
    return sums.reshape(sums.shape[0], count * chunk, *sums.shape[3:])[:, :T], states[:, -1]


def _divide(sums, total):
    """`sums` / `total`, and 0, with gradients of 0, where the total is 0."""
    return jnp.where(total > 0, sums / jnp.where(total > 0, total, 1), 0)
