"""Attention on a TPU, where JAX has a fused kernel: the T x S matrix is never in memory (Dao et al. 2022).

The kernel sees one device. XLA cannot divide it, so it is divided here along the axes of the mesh that is in context
while a program is traced, see `training.mesh.in_context`. Without such a mesh `models.fused` does not choose it.
"""

from functools import partial
import math

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from models.masks import Mask, four_axes

BLOCK = 128
"""The kernel reads queries and keys in blocks of this many."""


def fits(query_BTHK, key_BSGK, value_BSGK, mask: Mask | None, *, causal: bool) -> bool:
    """Returns whether `flash` computes attention of these shapes, for a program of the mesh in context."""
    B, T, _, K = query_BTHK.shape
    S, V = key_BSGK.shape[1], value_BSGK.shape[-1]
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or B % math.prod(mesh.shape[axis] for axis in _of_examples(mesh)):
        return False
    per_key = mask is None or four_axes(mask).shape[1:3] == (1, 1)
    in_blocks = T % BLOCK == S % BLOCK == K % 64 == 0
    return query_BTHK.dtype == jnp.bfloat16 and in_blocks and K == V and per_key and (T == S or not causal)


def flash(
    query_BTHK: Float[Array, "batch queries heads size"], key_BSHK: Float[Array, "batch keys heads size"],
    value_BSHK: Float[Array, "batch keys heads size"], mask: Mask | None, *, causal: bool,
) -> Float[Array, "batch queries heads size"]:  # fmt: skip
    """Returns what `models.fused.attend` does, without a bias and with as many key heads as query heads.

    Args:
      mask: which keys may be seen, the same for all heads and queries: (B, 1, 1, S) or broadcastable to it.
    """
    mesh = jax.sharding.get_abstract_mesh()
    B, H = query_BTHK.shape[0], query_BTHK.shape[2]
    query, key, value = (x.swapaxes(1, 2) for x in (query_BTHK, key_BSHK, value_BSHK))
    allowed = None
    if mask is not None:
        allowed = jnp.broadcast_to(four_axes(mask)[:, 0, 0], (B, key.shape[2])).astype(jnp.int32)
    kernel = partial(_of_one_device, causal=causal)
    if not mesh.empty:
        # The batch is split by every axis but "tensor", and the heads by that one where it divides them.
        examples = _of_examples(mesh)
        heads = "tensor" if "tensor" in mesh.shape and H % mesh.shape["tensor"] == 0 else None
        divided = P(examples, heads)
        kernel = jax.shard_map(
            kernel, in_specs=(divided, divided, divided, P(examples)), out_specs=divided, check_vma=False
        )  # fmt: skip
    out = kernel(query, key, value, allowed).swapaxes(1, 2)
    if allowed is None:
        return out
    return jnp.where(allowed.any(-1)[:, None, None, None], out, 0)  # no key at all: zeros, as everywhere


# ---- private parts --------------------------------------------------------------------------------------------------


def _of_examples(mesh: AbstractMesh) -> tuple[str, ...]:
    """The axes that split a batch. They have to divide it, which they may not if it is one of the parts of a batch."""
    return tuple(name for name in mesh.axis_names if name != "tensor")


def _of_one_device(query_BHTK, key_BHSK, value_BHSK, allowed_BS, *, causal):
    from jax.experimental.pallas.ops.tpu.flash_attention import SegmentIds, flash_attention  # takes 0.1 s

    # Tokens see each other where they have the same number: the queries have 1, and the keys that may be seen.
    ids = None
    if allowed_BS is not None:
        ids = SegmentIds(q=jnp.ones(query_BHTK.shape[::2], jnp.int32), kv=allowed_BS)
    scale = query_BHTK.shape[-1] ** -0.5
    return flash_attention(query_BHTK, key_BHSK, value_BHSK, segment_ids=ids, causal=causal, sm_scale=scale)
