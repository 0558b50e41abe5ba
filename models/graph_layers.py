"""Layers of graph networks: attention over edges, with weights that are given, scored, or a gate for each channel.

| layer              | weights of a node's edges                             | source                               |
|--------------------|-------------------------------------------------------|--------------------------------------|
| gcn                | given: the normalised adjacency                       | Kipf & Welling 2017, eq. 2           |
| gat                | softargmax of additive scores, for each head          | Velickovic et al. 2018, eq. 1 to 6   |
| gated              | a gate for each channel, from both nodes and the edge | Bresson & Laurent 2017, eq. 11       |
| masked_transformer | softargmax of dot products                            | Dwivedi & Bresson 2021, no encodings |
| transformer        | the same, over all nodes: it reads no edges           | Vaswani et al. 2017                  |
| mlp                | none: each node is alone                              |                                      |

The last three are there to compare with. The transformers form the matrix of nodes by nodes that the others avoid.
All of them are called with the nodes, the state of the edges, the edges and a key, and return nodes and edge state.
"""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from core.errors import UserError
from models.attention import AttentionWeights
from models.edges import Edges, as_given, at, dense, mix, normalised_adjacency, softargmax, summed, with_self_loops
from models.layers import Dropout, DropoutKey, linear, normalisation, split_key
from models.masks import over_keys
from models.transformer import Block

Nodes = Shaped[Array, "batch nodes features"]
"""Real features, or, as integers, the numbers of the features that a node has (-1 for none)."""

EdgeState = Float[Array, "batch edges width"] | None
SLOPE = 0.2  # of the leaky ReLU in the scores of GAT


class GraphConvolution(nnx.Module):
    """D^-1/2 (A + I) D^-1/2 X W + b: attention whose weights are given."""

    def __init__(self, inputs: int, outputs: int, *, dropout: float, dtype: str, rngs: nnx.Rngs, **_: Any):
        self.value = linear(inputs, outputs, bias=False, dtype=dtype, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.dropout = Dropout(dropout)

    def __call__(self, x_BNX: Nodes, state: EdgeState, edges: Edges, *, key: DropoutKey = None):
        edges = with_self_loops(edges)
        value_BND = project(self.value, x_BNX, self.dropout, key)
        weights_BE1 = as_given(normalised_adjacency(edges), edges)
        _watch(self, weights_BE1, edges)
        return mix(weights_BE1, value_BND[:, :, None], edges)[:, :, 0] + self.bias[...].astype(value_BND.dtype), state


class GraphAttention(nnx.Module):
    """sum_j softargmax_j(leaky_relu(a . W x_j + b . W x_i)) W x_j, with H heads beside each other or averaged.

    Dropout is on the input, on the weights and, as in the authors' code (github.com/PetarV-/GAT), on W x_j where it is
    mixed, but not where it is scored.
    """

    def __init__(
        self, inputs: int, outputs: int, *, heads: int, average: bool, dropout: float, dtype: str, rngs: nnx.Rngs,
        **_: Any,
    ):  # fmt: skip
        if not average and outputs % heads:
            raise UserError(f"heads={heads} must divide width={outputs}")
        size = outputs if average else outputs // heads
        self.value = linear(inputs, heads * size, bias=False, dtype=dtype, rngs=rngs)
        vector = lambda: nnx.Param(jax.random.normal(rngs.params(), (heads, size)) * size**-0.5)
        self.sender, self.receiver = vector(), vector()
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.dropout = Dropout(dropout)
        self.heads, self.average = heads, average

    def __call__(self, x_BNX: Nodes, state: EdgeState, edges: Edges, *, key: DropoutKey = None):
        edges = with_self_loops(edges)
        input_key, weight_key, value_key = split_key(key, 3)
        value_BND = project(self.value, x_BNX, self.dropout, input_key)
        value_BNHK = value_BND.reshape(*value_BND.shape[:2], self.heads, -1)
        # The score is a sum of a part of the sender and one of the receiver, so each is computed once for a node.
        part = lambda vector: jnp.einsum("bnhk,hk->bnh", value_BNHK, vector[...], preferred_element_type=jnp.float32)
        scores_BEH = at(part(self.sender), edges.sender_BE) + at(part(self.receiver), edges.receiver_BE)
        weights_BEH = softargmax(nnx.leaky_relu(scores_BEH, SLOPE), edges)
        _watch(self, weights_BEH, edges)
        mixed_BNHK = mix(self.dropout(weights_BEH, weight_key), self.dropout(value_BNHK, value_key), edges)
        mixed_BND = mixed_BNHK.mean(2) if self.average else mixed_BNHK.reshape(*mixed_BNHK.shape[:2], -1)
        return mixed_BND + self.bias[...].astype(mixed_BND.dtype), state


class GatedGraphConvolution(nnx.Module):
    """x_i + relu(norm(U x_i + sum_j g_ij V x_j)), with g_ij = s(e_ij) / sum_j s(e_ij) in each channel.

    s is the logistic function. The state of the edges, e_ij + relu(norm(A x_i + B x_j + C e_ij)), is passed on to the
    next layer, and the gates are those of its sum before the ReLU. Layer norms stand where the paper has batch norms,
    whose statistics would be a state of the model. Nodes have no edges to themselves unless the data has.
    """

    def __init__(self, inputs: int, outputs: int, *, dropout: float, dtype: str, rngs: nnx.Rngs, **_: Any):
        if inputs != outputs:
            raise ValueError("a gated layer adds to its input, so it keeps the width")
        project_ = lambda: linear(inputs, outputs, dtype=dtype, rngs=rngs)
        self.own, self.value, self.query, self.key, self.edge = (project_() for _ in range(5))
        norm = lambda: normalisation("layer", outputs, rngs, epsilon=1e-5, bias=True, dtype=dtype)
        self.norm, self.edge_norm = norm(), norm()
        self.dropout = Dropout(dropout)

    def __call__(self, x_BND: Nodes, state_BED: EdgeState, edges: Edges, *, key: DropoutKey = None):
        scores_BED = at(self.query(x_BND), edges.receiver_BE) + at(self.key(x_BND), edges.sender_BE)
        if state_BED is not None:
            scores_BED = scores_BED + self.edge(state_BED)
        gates_BED = as_given(nnx.sigmoid(scores_BED.astype(jnp.float32)), edges)
        weights_BED = gates_BED / at(summed(gates_BED, edges) + 1e-6, edges.receiver_BE)
        _watch(self, weights_BED, edges)
        mixed_BND = mix(weights_BED, self.value(x_BND)[..., None], edges)[..., 0]
        added_BND = nnx.relu(self.norm(self.own(x_BND) + mixed_BND))
        new_state_BED = nnx.relu(self.edge_norm(scores_BED))
        new_state_BED = new_state_BED if state_BED is None else state_BED + new_state_BED
        return x_BND + self.dropout(added_BND, key), new_state_BED


class NodeTransformer(nnx.Module):
    """A block of a transformer whose positions are the nodes: every node attends to every other one."""

    def __init__(self, inputs: int, outputs: int, *, heads: int, dropout: float, dtype: str, rngs: nnx.Rngs, **_: Any):
        if inputs != outputs:
            raise ValueError("a transformer block adds to its input, so it keeps the width")
        self.block = Block(width=outputs, heads=heads, dropout=dropout, dtype=dtype, rngs=rngs)

    def __call__(self, x_BND: Nodes, state: EdgeState, edges: Edges, *, key: DropoutKey = None):
        return self.block(x_BND, mask=self._sees(edges), key=key)[0], state

    def _sees(self, edges: Edges):
        """The mask `BHTS` of which node attends to which."""
        return over_keys(edges.mask_BN)


class MaskedNodeTransformer(NodeTransformer):
    """The same block with the adjacency as mask: a node attends to itself and to those that have an edge to it."""

    def _sees(self, edges: Edges):
        looped = with_self_loops(edges)
        return dense(jnp.ones((*looped.mask_BE.shape, 1)), looped) > 0


class NodeLayer(nnx.Module):
    """X W + b: a layer of a perceptron that every node has for itself."""

    def __init__(self, inputs: int, outputs: int, *, dropout: float, dtype: str, rngs: nnx.Rngs, **_: Any):
        self.value = linear(inputs, outputs, dtype=dtype, rngs=rngs)
        self.dropout = Dropout(dropout)

    def __call__(self, x_BNX: Nodes, state: EdgeState, edges: Edges, *, key: DropoutKey = None):
        return project(self.value, x_BNX, self.dropout, key), state


LAYERS = {
    "gcn": GraphConvolution, "gat": GraphAttention, "gated": GatedGraphConvolution, "mlp": NodeLayer,
    "masked_transformer": MaskedNodeTransformer, "transformer": NodeTransformer,
}  # fmt: skip


def project(layer: nnx.Linear, x_BNX: Nodes, dropout: Dropout, key: DropoutKey) -> Float[Array, "batch nodes width"]:
    """Returns the linear map of nodes, after dropout.

    Nodes as integers stand for rows of features that are 0 except for equal numbers, which sum to 1, at these places.
    Only what is not 0 is dropped, which is the same and needs fewer random numbers.
    """
    if not jnp.issubdtype(x_BNX.dtype, jnp.integer):
        return layer(dropout(x_BNX, key))
    (B, N, _), features = x_BNX.shape, layer.kernel.shape[0]
    present_BNX = x_BNX >= 0
    share_BNX = present_BNX / jnp.maximum(present_BNX.sum(-1, keepdims=True), 1)
    graph_B11, node_1N1 = jnp.arange(B)[:, None, None], jnp.arange(N)[None, :, None]
    place_BNX = jnp.where(present_BNX, x_BNX, features)  # outside, where nothing is added
    rows_BNX = jnp.zeros((B, N, features)).at[graph_B11, node_1N1, place_BNX].add(dropout(share_BNX, key), mode="drop")
    return layer(rows_BNX)


def _watch(module: nnx.Module, weights_BEH, edges: Edges) -> None:
    """Keeps the weights where `nnx.capture` asks for them, and only then as matrices."""
    if hasattr(module, "__captures__"):
        module.sow(AttentionWeights, "weights", dense(weights_BEH, edges))
