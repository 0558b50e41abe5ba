"""Attention on a CPU, where there is no fused kernel and the stock one is slow.

Three things make it fast: with the axis of heads before that of time each product is one of contiguous matrices; where
causal, blocks of queries skip most of the upper triangle; and the backward pass reuses the weights of the forward pass
instead of computing the softargmax again. `python -m experiments.speed attention` measures it.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from models.masks import Mask, four_axes, with_causal


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def blockwise(
    causal: bool, query_BTHK: Float[Array, "batch queries heads size"], key_BSHK: Float[Array, "batch keys heads size"],
    value_BSHK: Float[Array, "batch keys heads value_size"], mask: Mask | None,
) -> Float[Array, "batch queries heads value_size"]:  # fmt: skip
    """Returns what `models.attention.attend` does, without a bias and with as many key heads as query heads."""
    return _forward(causal, query_BTHK, key_BSHK, value_BSHK, mask)[0]


# ---- private parts --------------------------------------------------------------------------------------------------


def _row_blocks(causal: bool, T: int) -> list[tuple[int, int]]:
    count = min(4, max(1, T // 32)) if causal else 1
    edges = [T * i // count for i in range(count + 1)]
    return list(zip(edges[:-1], edges[1:]))


def _forward(causal, query_BTHK, key_BSHK, value_BSHK, mask):
    T, S = query_BTHK.shape[1], key_BSHK.shape[1]
    query, key, value = (x.swapaxes(1, 2) for x in (query_BTHK * query_BTHK.shape[-1] ** -0.5, key_BSHK, value_BSHK))
    allowed = four_axes(with_causal(mask, causal, T, S))
    allowed = None if allowed is None else jnp.broadcast_to(allowed, (*allowed.shape[:2], T, S))
    weights, outs = [], []
    for start, stop in _row_blocks(causal, T):
        visible = stop if causal else S
        open_ = None if allowed is None else allowed[:, :, start:stop, :visible]
        q, k = query[:, :, start:stop], key[:, :, :visible]
        w = jnp.einsum("bhtk,bhsk->bhts", q, k, preferred_element_type=jnp.float32)
        w = jax.nn.softmax(w, where=None if open_ is None else jnp.broadcast_to(open_, w.shape)).astype(value.dtype)
        weights.append(w)
        outs.append(jnp.einsum("bhts,bhsk->bhtk", w, value[:, :, :visible]))
    return jnp.concatenate(outs, axis=2).swapaxes(1, 2), (query, key, value, weights)


def _backward(causal, residuals, gradient_BTHK):
    query, key, value, weights = residuals
    gradient = gradient_BTHK.swapaxes(1, 2)
    product = partial(jnp.einsum, preferred_element_type=jnp.float32)
    d_query, d_key, d_value = [], jnp.zeros(key.shape, jnp.float32), jnp.zeros(value.shape, jnp.float32)
    for (start, stop), w in zip(_row_blocks(causal, query.shape[2]), weights):
        visible, g = w.shape[-1], gradient[:, :, start:stop]
        d_value = d_value.at[:, :, :visible].add(product("bhts,bhtk->bhsk", w, g))
        d_w = product("bhtk,bhsk->bhts", g, value[:, :, :visible])
        d_scores = (w * (d_w - (d_w * w).sum(-1, keepdims=True))).astype(w.dtype)
        d_query.append(jnp.einsum("bhts,bhsk->bhtk", d_scores, key[:, :, :visible]))
        d_key = d_key.at[:, :, :visible].add(product("bhts,bhtk->bhsk", d_scores, query[:, :, start:stop]))
    d_query = jnp.concatenate(d_query, axis=2) * query.shape[-1] ** -0.5
    return d_query.swapaxes(1, 2), *(x.swapaxes(1, 2).astype(key.dtype) for x in (d_key, d_value)), None


blockwise.defvjp(_forward, _backward)
