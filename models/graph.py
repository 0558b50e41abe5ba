"""Graph networks: nodes that attend to their neighbours, and classes of each node or of a whole graph.

    nodes -> [attention over edges] x L -> a class for each node, or mean over the nodes -> a class for the graph

The layers are in `models/graph_layers.py`: graph convolution (Kipf & Welling 2017), whose weights are given; graph
attention (Velickovic et al. 2018), whose weights are scored; and gated graph convolution (Bresson & Laurent 2017).
Unlike in a transformer over the nodes, a node sees its neighbours only, and there is no matrix of nodes by nodes. That
transformer, the same with the adjacency as mask, and a perceptron for each node are layers too, to compare with.
"""

from typing import Annotated

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from core.errors import UserError, shown
from core.ranges import Depth, Dtype, Range, ShareBelowAll, Size, Vocabulary
from models.edges import edges_of
from models.graph_layers import LAYERS, Nodes
from models.layers import Dropout, DropoutKey, linear, normalisation, read_out, split_key
from models.masks import Padding, padding_mask

ACTIVATIONS = {"gcn": jax.nn.relu, "gat": jax.nn.elu, "mlp": jax.nn.relu}
RESIDUAL = ("gated", "masked_transformer", "transformer")  # layers that add to their input, so they keep the width
WITH_HEADS = ("gat", "masked_transformer", "transformer")
PREDICTS = ("graphs", "nodes")
EdgeFeatures = Annotated[int, Range(0, 2**17)]


class GraphNetwork(nnx.Module):
    """Reads graphs; returns the logits of classes, of each node or of the graph.

    Args:
      features: of a node. edge_features: of an edge; only "gated" layers read them. classes: C.
      predicts: "nodes" or "graphs", whose head reads the mean over the nodes.
      layer: "gcn", "gat", "gated", "transformer", "masked_transformer" or "mlp", see `models.graph_layers`. Those of
        "gcn", "gat" and "mlp" map the features to the width, and where nodes are classified, the last one gives the
        logits, as in the papers. The others stand between two linear maps.
      width: D. depth: L.
      heads: H, of D / H columns each, of "gat" and the transformers; those of "gat" that give logits are averaged.
      dropout: on what a "gcn", "gat" or "mlp" layer reads and on the weights of "gat"; on what a "gated" layer adds;
        as in `models.transformer.Block`; before the head.
      dtype: of the computation; parameters and logits are float32.
    """

    def __init__(
        self, *, features: Size, classes: Vocabulary, predicts: str = "nodes", layer: str = "gcn", width: Size,
        depth: Depth, heads: Size = 1, edge_features: EdgeFeatures = 0, dropout: ShareBelowAll = 0.0,
        dtype: Dtype = "float32", rngs: nnx.Rngs,
    ):  # fmt: skip
        if layer not in LAYERS:
            raise UserError(f"layer={shown(layer)}: expected one of {', '.join(sorted(LAYERS))}")
        if predicts not in PREDICTS:
            raise UserError(f"predicts={shown(predicts)}: expected one of {', '.join(PREDICTS)}")
        if edge_features and layer != "gated":
            raise UserError(f"edge_features={edge_features}: layer={layer!r} reads none, set layer='gated'")
        if heads > 1 and layer not in WITH_HEADS:
            raise UserError(f"heads={heads}: layer={layer!r} has no heads, set layer='gat'")
        residual = layer in RESIDUAL
        last = predicts == "nodes" and not residual
        self.start = linear(features, width, dtype=dtype, rngs=rngs) if residual else None
        self.edge_start = linear(edge_features, width, dtype=dtype, rngs=rngs) if edge_features else None
        sizes = [width if residual else features] + [width] * (depth - 1) + [classes if last else width]
        make = lambda number: LAYERS[layer](
            sizes[number], sizes[number + 1], heads=heads, average=last and number == depth - 1, dropout=dropout,
            dtype=dtype, rngs=rngs,
        )  # fmt: skip
        self.blocks = nnx.List([make(number) for number in range(depth)])
        ends_normed = layer in ("masked_transformer", "transformer")  # their blocks norm what they read
        self.norm = normalisation("layer", width, rngs, epsilon=1e-5, bias=True, dtype=dtype) if ends_normed else None
        self.head = None if last else read_out(width, classes, dtype=dtype, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.columns, self.classes, self.predicts, self.layer = features, classes, predicts, layer

    def __call__(
        self, nodes: Nodes, edges: Int[Array, "batch edges 2"], *, mask: Padding | None = None,
        edge_mask: Padding | None = None, edge_features: Float[Array, "batch edges features"] | None = None,
        key: DropoutKey = None,
    ) -> Float[Array, "batch ... classes"]:  # fmt: skip
        """Returns the logits, `BNC` or `BC`.

        Args:
          nodes: features `BNF`, or integers: the numbers of the features that a node has, padded by -1, which stand
            for rows of equal shares that sum to 1.
          edges: (sender, receiver) of each edge, both directions of an undirected one.
          mask, edge_mask: False or 0 for nodes and edges that are padding.
          edge_features: of each edge, for the model that was made for them.

        Raises:
          UserError: the features are not as many as the model was made for.
        """
        self._expect_features(nodes, edge_features)
        mask, edge_mask = padding_mask(mask, nodes.shape), padding_mask(edge_mask, edges.shape, "edge_mask")
        graph = edges_of(edges, nodes.shape[1], mask=mask, edge_mask=edge_mask)
        *keys, head_key = split_key(key, len(self.blocks) + 1)
        x = nodes
        if self.start is not None:
            x = self.start(nodes)
        state = None
        if self.edge_start is not None and edge_features is not None:
            state = self.edge_start(edge_features)
        for number, (block, block_key) in enumerate(zip(self.blocks, keys)):
            x, state = block(x, state, graph, key=block_key)
            if self.layer in ACTIVATIONS and (self.head is not None or number < len(self.blocks) - 1):
                x = ACTIVATIONS[self.layer](x)
        if self.norm is not None:
            x = self.norm(x)
        if self.predicts == "graphs":
            x = _mean(x, mask)
        return x.astype(jnp.float32) if self.head is None else self.head(self.dropout(x, head_key))

    def _expect_features(self, nodes, edge_features) -> None:
        real = not jnp.issubdtype(nodes.dtype, jnp.integer)
        if real and nodes.shape[-1] != self.columns:
            raise UserError(f"nodes have {nodes.shape[-1]} features, but the model has features={self.columns}")
        if not real and self.start is not None:
            raise UserError(
                f"layer={self.layer!r} reads real features of nodes, not the numbers of those that they have: set "
                "layer='gcn', 'gat' or 'mlp'"
            )
        expected = 0 if self.edge_start is None else self.edge_start.in_features
        count = 0 if edge_features is None else edge_features.shape[-1]
        if count != expected:
            raise UserError(f"edges have {count} features, but the model has edge_features={expected}")


def _mean(x_BND, mask):
    """The mean over the nodes that are no padding."""
    if mask is None:
        return x_BND.mean(1)
    mask_BN1 = mask[..., None]
    return jnp.where(mask_BN1, x_BND, 0).sum(1) / jnp.maximum(mask_BN1.sum(1), 1).astype(x_BND.dtype)
