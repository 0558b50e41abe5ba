"""Sparse attention: each query sees the keys within a window, and with a stride every stride-th key besides.

A window alone costs T x window, and with a stride of about sqrt(T) the whole costs T sqrt(T) (Child et al. 2019,
"Generating long sequences with sparse transformers", section 4.2, with both parts of its strided pattern in each head).
The pattern follows from positions (`models.masks.sees`), and the work is done for one block of queries at a time, so
neither the scores of all queries with all keys nor a mask of that size is ever in memory.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from models.masks import Mask, four_axes, sees
from models.scores import Keys, Queries, Scores, Values, softargmax, wide

SMALLEST_BLOCK = 32  # queries: fewer make the products of matrices too small to be fast
Drop = Callable[[Scores, Key[Array, ""] | None], Scores]


def block_size(window: int, stride: int | None) -> int:
    """Returns the number of queries in a block: at least window - 1, so that a window reaches one block back only."""
    size = max(window - 1, SMALLEST_BLOCK)
    return size if stride is None else -(-size // stride) * stride


def sparse_attention(
    query_BTHK: Queries, key_BSHK: Keys, value_BSHV: Values, *, causal: bool, window: int, stride: int | None = None,
    mask: Mask | None = None, start=0, drop: Drop | None = None, key: Key[Array, ""] | None = None,
) -> Float[Array, "batch queries heads value_size"]:  # fmt: skip
    """Returns scaled dot-product attention of each query to the keys that it `sees`. One that sees none gives zeros.

    Args:
      mask: of keys, the same for all queries.
      start: the position of the first query among the keys; it may be traced.
      drop, key: dropout on the weights.
    """
    T, S = query_BTHK.shape[1], key_BSHK.shape[1]
    if T == S:
        return _square(query_BTHK, key_BSHK, value_BSHV, causal, window, stride, mask, drop, key)
    among_keys = jnp.zeros((query_BTHK.shape[0], S, *query_BTHK.shape[2:]), query_BTHK.dtype)
    among_keys = jax.lax.dynamic_update_slice(among_keys, query_BTHK, (0, start, 0, 0))
    out_BSHV = _square(among_keys, key_BSHK, value_BSHV, causal, window, stride, mask, drop, key)
    return jax.lax.dynamic_slice_in_dim(out_BSHV, start, T, axis=1)


# ---- private parts --------------------------------------------------------------------------------------------------


def _square(query, keys, values, causal, window, stride, mask, drop, key):
    """Attention of as many queries as keys. Axes: N blocks of C queries; L keys near a block; J rows of `stride` R."""
    T, C = query.shape[1], block_size(window, stride)
    N = -(-T // C)
    padded = lambda x: jnp.pad(x, ((0, 0), (0, N * C - T), *[(0, 0)] * (x.ndim - 2)))
    query, keys, values = padded(query * query.shape[-1] ** -0.5), padded(keys), padded(values)
    allowed = (jnp.arange(N * C) < T)[None, :, None]
    if mask is not None:
        allowed = allowed & padded(four_axes(mask)[:, :, 0].swapaxes(1, 2))  # B S H
    rows = None if stride is None else tuple(
        x.reshape(x.shape[0], N * C // stride, stride, *x.shape[2:]) for x in (keys, values, allowed)
    )  # fmt: skip
    one: Any = partial(_block, rows, causal, window, stride, C, drop)
    near = (_with_neighbours(x, N, causal) for x in (keys, values, allowed))
    blocks = (jnp.arange(N), query.reshape(query.shape[0], N, C, *query.shape[2:]).swapaxes(0, 1), *near)
    dropout_keys = None if key is None else jax.random.split(key, N)
    # With a stride, a block compares itself with a part of all keys: blocks one by one, and again when differentiated.
    if stride is None:
        out = jax.vmap(one)(*blocks, dropout_keys)
    else:
        out = jax.lax.map(lambda block: jax.checkpoint(one)(*block), (*blocks, dropout_keys))
    out = out.swapaxes(0, 1)  # B N C H V
    return out.reshape(out.shape[0], N * C, *out.shape[3:])[:, :T]


def _with_neighbours(x, N: int, causal: bool):
    """Each of N blocks of a sequence with the block before it and, unless `causal`, the one behind it: N B L ..."""
    blocks = x.reshape(x.shape[0], N, -1, *x.shape[2:]).swapaxes(0, 1)
    nothing = jnp.zeros_like(blocks[:1])
    parts = [jnp.concatenate([nothing, blocks[:-1]]), blocks]
    parts += [] if causal else [jnp.concatenate([blocks[1:], nothing])]
    return jnp.concatenate(parts, axis=2)


def _block(rows, causal, window, stride, C, drop, number, query_BCHK, key_BLHK, value_BLHV, allowed_BLH, dropout_key):
    """The attention of one block of queries."""
    product = partial(jnp.einsum, preferred_element_type=wide(query_BCHK.dtype))
    back_CL = jnp.arange(C)[:, None] + C - jnp.arange(key_BLHK.shape[1])
    seen = sees(back_CL, causal=causal, window=window) & allowed_BLH.swapaxes(1, 2)[:, :, None]
    scores_BHCL = product("bchk,blhk->bhcl", query_BCHK, key_BLHK)
    if rows is None:
        weights = softargmax(scores_BHCL, seen)
        weights = weights if drop is None else drop(weights, dropout_key)
        return jnp.einsum("bhcl,blhv->bchv", weights.astype(value_BLHV.dtype), value_BLHV)
    key_BJRHK, value_BJRHV, allowed_BJRH = rows
    B, J, H = *key_BJRHK.shape[:2], query_BCHK.shape[2]
    query_BIRHK = query_BCHK.reshape(B, C // stride, stride, *query_BCHK.shape[2:])
    far = product("birhk,bjrhk->bhirj", query_BIRHK, key_BJRHK).reshape(B, H, C, J)
    back_CJ = (number * C // stride + jnp.arange(C)[:, None] // stride - jnp.arange(J)) * stride
    beyond = sees(back_CJ, causal=causal, window=1, stride=stride) & (jnp.abs(back_CJ) >= window)
    allowed = jnp.tile(allowed_BJRH.transpose(0, 3, 2, 1), (1, 1, C // stride, 1))  # B H C J, as C = i R + r
    seen = jnp.concatenate([jnp.broadcast_to(seen, (*seen.shape[:2], C, seen.shape[-1])), beyond & allowed], axis=-1)
    weights = softargmax(jnp.concatenate([scores_BHCL, far], axis=-1), seen)
    weights = (weights if drop is None else drop(weights, dropout_key)).astype(value_BLHV.dtype)
    near, far = jnp.split(weights, [scores_BHCL.shape[-1]], axis=-1)
    far = far.reshape(B, H, C // stride, stride, J)
    mixed_BCHV = jnp.einsum("bhirj,bjrhv->birhv", far, value_BJRHV).reshape(B, C, H, -1)
    return mixed_BCHV + jnp.einsum("bhcl,blhv->bchv", near, value_BLHV)
