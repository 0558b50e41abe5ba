"""Attention over the edges of graphs: score, weigh and mix as in `models/attention.py`, without the T x S matrix.

A node attends to those that have an edge to it. Scores and weights exist only for edges, and a node's sum over its
edges is a segment sum, so memory and time grow with the edges and not with the square of the nodes. A mask of the
adjacency, with dense attention, gives the same numbers (`tests/models/test_graph.py`).

    B batch     N nodes     E edges     H heads     K size of a head

Graphs of a batch are padded to the same numbers of nodes and edges. An edge points from its sender to its receiver; of
an undirected graph the data holds both directions. Several edges between two nodes count as several.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from models.masks import boolean

EdgeScores = Float[Array, "batch edges heads"]


class Edges(NamedTuple):
    """Edges between the nodes of each graph of a batch.

    Attributes:
      sender_BE, receiver_BE: the numbers of the nodes that an edge leads from and to.
      mask_BE: False for padding.
      nodes: N.
      mask_BN: False for nodes that are padding; None where there is no such node.
    """

    sender_BE: Int[Array, "batch edges"]
    receiver_BE: Int[Array, "batch edges"]
    mask_BE: Bool[Array, "batch edges"]
    nodes: int
    mask_BN: Bool[Array, "batch nodes"] | None = None


def edges_of(
    edges: Int[Array, "batch edges 2"], nodes: int, *, mask: Shaped[Array, "batch nodes"] | None = None,
    edge_mask: Shaped[Array, "batch edges"] | None = None,
) -> Edges:  # fmt: skip
    """Returns the edges of a batch of graphs.

    Args:
      edges: (sender, receiver) of each edge.
      nodes: N.
      mask: False or 0 for nodes that are padding: what leads from or to them does not count.
      edge_mask: False or 0 for edges that are padding.
    """
    sender_BE, receiver_BE = edges[..., 0], edges[..., 1]
    mask_BE = jnp.ones(sender_BE.shape, bool) if edge_mask is None else jnp.asarray(boolean(edge_mask, "edge_mask"))
    if mask is None:
        return Edges(sender_BE, receiver_BE, mask_BE, nodes)
    mask_BN = jnp.broadcast_to(boolean(mask), (len(edges), nodes))
    mask_BE &= at(mask_BN, sender_BE) & at(mask_BN, receiver_BE)
    return Edges(sender_BE, receiver_BE, mask_BE, nodes, mask_BN)


def with_self_loops(edges: Edges) -> Edges:
    """Returns the edges with one from each node to itself; those that the data holds are replaced by it.

    So do Kipf & Welling 2017 (A + I) and the layers of PyTorch Geometric. The new edges are the last N.
    """
    B, N = len(edges.sender_BE), edges.nodes
    loop_BN = jnp.broadcast_to(jnp.arange(N), (B, N))
    return Edges(
        jnp.concatenate([edges.sender_BE, loop_BN], axis=1), jnp.concatenate([edges.receiver_BE, loop_BN], axis=1),
        jnp.concatenate([edges.mask_BE & (edges.sender_BE != edges.receiver_BE), jnp.ones((B, N), bool)], axis=1), N,
        edges.mask_BN,
    )  # fmt: skip


# ---- score and weigh ------------------------------------------------------------------------------------------------


def as_given(scores_BEH: EdgeScores, edges: Edges) -> EdgeScores:
    """Returns the scores as weights, zero for padding: `models.attention.as_given` on edges."""
    return jnp.where(edges.mask_BE[..., None], scores_BEH, 0)


def softargmax(scores_BEH: EdgeScores, edges: Edges) -> EdgeScores:
    """Returns exp(s) / sum exp(s) over the edges that lead to the same node, zero for padding."""
    where = edges.mask_BE[..., None]
    largest_BNH = _reduced(jax.ops.segment_max, jnp.where(where, scores_BEH, -jnp.inf), edges)
    # The largest cancels, so it needs no gradient; -inf, of a node without edges, is read by no edge that counts.
    largest_BEH = at(jax.lax.stop_gradient(jnp.where(jnp.isfinite(largest_BNH), largest_BNH, 0)), edges.receiver_BE)
    exponential_BEH = jnp.where(where, jnp.exp(jnp.where(where, scores_BEH - largest_BEH, 0)), 0)
    total_BNH = summed(exponential_BEH, edges)
    return exponential_BEH / at(jnp.where(total_BNH > 0, total_BNH, 1), edges.receiver_BE)


def normalised_adjacency(edges: Edges) -> EdgeScores:
    """Returns 1 / sqrt(d_s d_r) for each edge, the entries of D^-1/2 A D^-1/2 (Kipf & Welling 2017, eq. 2).

    The degree d counts the edges that lead to a node.
    """
    degree_BN = summed(edges.mask_BE[..., None].astype(jnp.float32), edges)[..., 0]
    scale_BN = jnp.where(degree_BN > 0, jax.lax.rsqrt(jnp.maximum(degree_BN, 1)), 0)
    return (at(scale_BN, edges.sender_BE) * at(scale_BN, edges.receiver_BE))[..., None]


# ---- mix ------------------------------------------------------------------------------------------------------------


def mix(
    weights_BEH: EdgeScores, value_BNHK: Float[Array, "batch nodes heads size"], edges: Edges
) -> Float[Array, "batch nodes heads size"]:
    """Returns for each node the sum of its senders' values, weighted. Weights of one head serve all."""
    wide = jnp.promote_types(jnp.float32, value_BNHK.dtype)  # sums of bfloat16 are float32
    message_BEHK = weights_BEH[..., None].astype(wide) * at(value_BNHK, edges.sender_BE).astype(wide)
    return summed(message_BEHK, edges).astype(value_BNHK.dtype)


def at(x_BNX: Shaped[Array, "batch nodes *shape"], node_BE: Int[Array, "batch edges"]):
    """Returns the values of the nodes at one end of each edge."""
    return jax.vmap(lambda x_NX, node_E: x_NX[node_E])(x_BNX, node_BE)


def summed(x_BEX: Shaped[Array, "batch edges *shape"], edges: Edges):
    """Returns the sum over the edges that lead to each node. What belongs to padding has to be 0."""
    return _reduced(jax.ops.segment_sum, x_BEX, edges)


def dense(weights_BEH: EdgeScores, edges: Edges) -> Float[Array, "batch heads nodes nodes"]:
    """Returns the weights as matrices from receivers to senders, `BHTS` of `models.attention`, for looking at them."""
    B, N = len(weights_BEH), edges.nodes
    place_BE = edges.receiver_BE * N + edges.sender_BE
    weights_BEH = as_given(weights_BEH, edges)
    flat = jax.vmap(lambda weights_EH, place_E: jax.ops.segment_sum(weights_EH, place_E, N * N))(weights_BEH, place_BE)
    return flat.reshape(B, N, N, -1).transpose(0, 3, 1, 2)


def _reduced(reduce, x_BEX, edges: Edges):
    return jax.vmap(lambda x_EX, receiver_E: reduce(x_EX, receiver_E, edges.nodes))(x_BEX, edges.receiver_BE)
