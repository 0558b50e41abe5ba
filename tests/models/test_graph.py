"""Graph layers equal dense matrices and the formulas of PyTorch Geometric, edge by edge; padding changes nothing."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from experiments.inside.attention_maps import attention_maps
from models import GraphNetwork
from models import scores as dense_parts
from models.edges import dense, edges_of, mix, normalised_adjacency, softargmax, with_self_loops
from models.graph import WITH_HEADS
from models.graph_layers import LAYERS, GraphAttention
from tests.tiers import first_fast
from training.state import split

N, E, F, D = 13, 37, 5, 6


def random_graph(seed: int) -> np.ndarray:
    """Edges with several between the same nodes, self-loops, one of them twice, and two nodes without any edge."""
    generator = np.random.default_rng(seed)
    edges = generator.integers(0, N - 2, size=(E, 2))
    edges[:3], edges[3:5], edges[5:7] = edges[3], [[2, 2], [7, 7]], [[7, 7], [4, 9]]
    return edges


def layer(kind: str, **fields: Any):
    settings: dict[str, Any] = dict(heads=1, average=False, dropout=0.0, dtype="float32", rngs=nnx.Rngs(3)) | fields
    return LAYERS[kind](D if kind == "gated" else F, D, **settings)


def values(module) -> dict[str, np.ndarray]:
    return {path: np.asarray(x, np.float64) for path, x in split(module)[1].items()}


def without_loops(edges: np.ndarray) -> np.ndarray:
    return edges[edges[:, 0] != edges[:, 1]]


def adjacency(edges: np.ndarray) -> np.ndarray:
    """A + I: how many edges lead to each node (row) from each node (column), and one from each to itself."""
    A = np.eye(N)
    np.add.at(A, (without_loops(edges)[:, 1], without_loops(edges)[:, 0]), 1)
    return A


def gcn_dense(p, x, edges):
    A = adjacency(edges)
    scale = np.diag(A.sum(1) ** -0.5)
    return scale @ A @ scale @ x @ p["value.kernel"] + p["bias"]


def gcn_edge_by_edge(p, x, edges):
    """`GCNConv`: add_remaining_self_loops, degrees of targets, then a scattered sum."""
    edges = np.concatenate([without_loops(edges), np.stack([np.arange(N)] * 2, 1)])
    degree = np.zeros(N)
    for _, target in edges:
        degree[target] += 1
    out = np.zeros((N, D))
    for source, target in edges:
        out[target] += degree[source] ** -0.5 * degree[target] ** -0.5 * (x[source] @ p["value.kernel"])
    return out + p["bias"]


def gat_dense(p, x, edges, heads=1, average=False):
    A = adjacency(edges)
    size = D if average else D // heads
    h = (x @ p["value.kernel"]).reshape(N, heads, size)
    out = np.zeros((N, heads, size))
    for head in range(heads):
        scores = (h[:, head] @ p["receiver"][head])[:, None] + (h[:, head] @ p["sender"][head])[None]
        exponential = A * np.exp(np.where(scores > 0, scores, 0.2 * scores))
        out[:, head] = exponential / exponential.sum(1, keepdims=True) @ h[:, head]
    return (out.mean(1) if average else out.reshape(N, -1)) + p["bias"]


def gat_edge_by_edge(p, x, edges, heads=1, average=False):
    """`GATConv`: remove_self_loops, add_self_loops, leaky_relu, softmax over the edges of a target."""
    edges = np.concatenate([without_loops(edges), np.stack([np.arange(N)] * 2, 1)])
    h = (x @ p["value.kernel"]).reshape(N, heads, -1)
    out = np.zeros_like(h)
    for target in range(N):
        sources = edges[edges[:, 1] == target, 0]
        alpha = (h[sources] * p["sender"]).sum(-1) + (h[target] * p["receiver"]).sum(-1)
        alpha = np.where(alpha > 0, alpha, 0.2 * alpha)
        alpha = np.exp(alpha - alpha.max(0))
        out[target] = np.einsum("eh,ehk->hk", alpha / alpha.sum(0), h[sources])
    return (out.mean(1) if average else out.reshape(N, -1)) + p["bias"]


def gated_edge_by_edge(p, x, edges, state):
    norm = lambda y, name: (
        (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5) * p[f"{name}.scale"]
        + p[f"{name}.bias"]
    )
    apply = lambda name, y: y @ p[f"{name}.kernel"] + p[f"{name}.bias"]
    scores = apply("query", x)[edges[:, 1]] + apply("key", x)[edges[:, 0]] + apply("edge", state)
    gates, total, mixed = 1 / (1 + np.exp(-scores)), np.zeros((N, D)), np.zeros((N, D))
    for gate, (source, target) in zip(gates, edges):
        total[target] += gate
        mixed[target] += gate * apply("value", x)[source]
    out = x + np.maximum(norm(apply("own", x) + mixed / (total + 1e-6), "norm"), 0)
    return out, state + np.maximum(norm(scores, "edge_norm"), 0)


@pytest.fixture(scope="module", params=[0, 1, 2])
def case(request):
    edges = random_graph(request.param)
    x = np.random.default_rng(request.param).normal(size=(N, F))
    return x, edges, edges_of(jnp.asarray(edges)[None], N)


def output(module, x, graph):
    bias = getattr(module, "bias", None)
    if bias is not None:
        bias.set_value(jnp.arange(D) / 7)
    return jax.jit(lambda x: module(x, None, graph)[0])(jnp.asarray(x, jnp.float32)[None])[0]


def test_gcn_equals_the_dense_product_and_the_published_formula(case):
    x, edges, graph = case
    module = layer("gcn")
    out = output(module, x, graph)
    np.testing.assert_allclose(out, gcn_dense(values(module), x, edges), atol=1e-6)
    np.testing.assert_allclose(out, gcn_edge_by_edge(values(module), x, edges), atol=1e-6)


@pytest.mark.parametrize("heads, average", [(1, False), (3, False), (3, True)])
def test_gat_equals_the_dense_softargmax_and_the_published_formula(case, heads, average):
    x, edges, graph = case
    module = layer("gat", heads=heads, average=average)
    out = output(module, x, graph)
    np.testing.assert_allclose(out, gat_dense(values(module), x, edges, heads, average), atol=1e-6)
    np.testing.assert_allclose(out, gat_edge_by_edge(values(module), x, edges, heads, average), atol=1e-6)


def test_dropout_of_gat_is_on_inputs_on_weights_and_on_single_values():
    heads, size, nodes, rate = 7, 11, 101, 0.5
    gat = GraphAttention(
        1, heads * size, heads=heads, average=False, dropout=rate, dtype="float32", rngs=nnx.Rngs(3)
    )  # fmt: skip
    # Nodes without neighbours attend to themselves with weight 1, so an output is a value, scaled by what was kept.
    alone = edges_of(jnp.zeros((1, 0, 2), int), nodes)
    kept = np.array(gat(jnp.ones((1, nodes, 1)), None, alone, key=jax.random.key(5))[0][0])
    kept_NHK = (kept / np.array(gat.value.kernel[...])).reshape(nodes, heads, size)
    assert set(np.unique(kept_NHK.round(3))) == {0, 8}  # 1 / (1 - rate)^3: three places of dropout
    read_N = (kept_NHK > 0).any((1, 2))  # the node's input was not dropped
    assert 0.35 < read_N.mean() < 0.65
    weighed_NH: Any = np.any(kept_NHK > 0, axis=2)
    assert 0.4 < weighed_NH[read_N].mean() < 0.6  # the weight of a head to its node
    assert 0.4 < (kept_NHK[weighed_NH] > 0).mean() < 0.6  # single values


def test_gated_layers_equal_their_formula(case):
    x, edges, graph = case
    x, state = np.random.default_rng(4).normal(size=(N, D)), np.random.default_rng(5).normal(size=(E, D))
    module = layer("gated")
    single = lambda y: jnp.asarray(y, jnp.float32)[None]
    out, new_state = jax.jit(lambda x, state: module(x, state, graph))(single(x), single(state))
    expected, expected_state = gated_edge_by_edge(values(module), x, edges, state)
    np.testing.assert_allclose(out[0], expected, atol=3e-6)  # sums of up to ten numbers of size 3
    np.testing.assert_allclose(new_state[0], expected_state, atol=3e-6)


def test_weights_on_edges_are_dense_attention_with_the_adjacency_as_mask(case):
    x, edges, _ = case
    single = np.unique(without_loops(edges), axis=0)  # a mask has no multiplicity
    graph = with_self_loops(edges_of(jnp.asarray(single)[None], N))
    allowed = jnp.asarray(adjacency(single) > 0)
    scores = jnp.asarray(np.random.default_rng(6).normal(size=(1, 1, N, N)), jnp.float32)
    on_edges = scores[0, 0][graph.receiver_BE, graph.sender_BE][..., None]
    weights = softargmax(on_edges, graph)
    expected = dense_parts.softargmax(scores, allowed)
    np.testing.assert_allclose(dense(weights, graph), expected, atol=1e-6)
    value = jnp.asarray(x, jnp.float32)[None, :, None]
    np.testing.assert_allclose(mix(weights, value, graph), dense_parts.mix(expected, value), atol=1e-6)
    matrix = dense(normalised_adjacency(graph), graph)
    np.testing.assert_array_equal(dense_parts.as_given(matrix, allowed), matrix)


def test_nodes_without_edges_get_zeros_and_finite_gradients():
    graph = edges_of(jnp.array([[[0, 1], [1, 0], [4, 4]]]), 5, edge_mask=jnp.array([[1, 1, 0]]))
    loss = lambda scores: (mix(softargmax(scores, graph), jnp.ones((1, 5, 1, 2)), graph) ** 2).sum()
    value, gradient = jax.value_and_grad(loss)(jnp.full((1, 3, 1), 300.0))
    assert value == 4 and jnp.isfinite(gradient).all()


KINDS = [(kind, predicts) for kind in LAYERS for predicts in ("nodes", "graphs")]


def network(kind: str, predicts: str, **fields: Any) -> GraphNetwork:
    sizes: dict[str, Any] = dict(features=F, classes=3, width=D, depth=2, heads=2 if kind in WITH_HEADS else 1)
    return GraphNetwork(layer=kind, predicts=predicts, **sizes | fields, rngs=nnx.Rngs(1))


@pytest.mark.medium
@pytest.mark.parametrize("kind, predicts", first_fast(KINDS))
def test_padding_and_the_numbering_of_nodes_change_nothing(kind, predicts):
    generator = np.random.default_rng(0)
    net, edges = network(kind, predicts), random_graph(0)
    nodes = generator.normal(size=(N, F)).astype(np.float32)
    expected = net(jnp.asarray(nodes)[None], jnp.asarray(edges)[None])
    padded_nodes = np.concatenate([nodes, np.full((4, F), 9.0, np.float32)])
    wild = np.concatenate([edges, [[0, N], [N, 1], [2, 3]]])  # from and to padding, and one that the mask hides
    inputs = {"mask": np.arange(N + 4)[None] < N, "edge_mask": (np.arange(E + 3)[None] < E + 2).astype(int)}
    out = net(jnp.asarray(padded_nodes)[None], jnp.asarray(wild)[None], **inputs)
    out = out[:, :N] if predicts == "nodes" else out
    np.testing.assert_allclose(out, expected, atol=1e-5)
    order = generator.permutation(N)  # node i becomes number order[i]
    permuted = net(jnp.asarray(nodes[np.argsort(order)])[None], jnp.asarray(order[edges])[None])
    permuted = permuted[:, order] if predicts == "nodes" else permuted
    np.testing.assert_allclose(permuted, expected, atol=1e-5)


@pytest.mark.medium
@pytest.mark.parametrize(
    "kind, reached", [("gat", 3), ("masked_transformer", 3), ("transformer", 6), ("mlp", 1)], ids=str
)
def test_a_node_is_reached_from_as_many_steps_away_as_there_are_layers_along_edges(kind, reached):
    """Two layers: the transformer without the mask sees all nodes in one step, and the perceptron only its own."""
    path = jnp.array([[[i, i + 1] for i in range(5)] + [[i + 1, i] for i in range(5)]])
    out = lambda nodes: (network(kind, "nodes")(nodes, path)[0, 0] * jnp.arange(1, 4)).sum()
    nodes = jax.random.normal(jax.random.key(2), (1, 6, F))
    gradient = jnp.abs(jax.grad(out)(nodes))[0].sum(-1)
    assert (gradient > 0).tolist() == [node < reached for node in range(6)]


def test_the_masked_transformer_is_the_transformer_where_all_nodes_are_joined():
    everyone = jnp.array([[[i, j] for i in range(7) for j in range(7) if i != j]])
    nodes = jax.random.normal(jax.random.key(5), (1, 7, F))
    free, masked = (network(kind, "graphs") for kind in ("transformer", "masked_transformer"))
    np.testing.assert_allclose(masked(nodes, everyone), free(nodes, everyone[:, :1]), atol=1e-5)
    assert np.abs(masked(nodes, everyone[:, :-9]) - free(nodes, everyone)).max() > 1e-3


def test_numbers_of_features_stand_for_rows_that_sum_to_one():
    words = np.array([[[0, 3, -1], [4, -1, -1], [-1, -1, -1], [1, 2, 3]]])
    rows = np.array([[[0.5, 0, 0, 0.5, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [0, 1 / 3, 1 / 3, 1 / 3, 0]]], np.float32)
    net, edges = network("gcn", "nodes"), jnp.array([[[0, 1], [1, 0], [2, 3]]])
    np.testing.assert_allclose(net(jnp.asarray(words), edges), net(jnp.asarray(rows), edges), atol=1e-6)


def test_the_weights_can_be_looked_at():
    edges = random_graph(0)
    inputs = {"nodes": np.ones((1, N, F), np.float32), "edges": edges[None]}
    scale = adjacency(edges).sum(1) ** -0.5
    maps = attention_maps(network("gcn", "nodes"), inputs)
    np.testing.assert_allclose(maps["blocks.0"][0, 0], scale[:, None] * adjacency(edges) * scale, atol=1e-6)
    maps = attention_maps(network("gat", "nodes"), inputs)
    assert maps["blocks.1"].shape == (1, 2, N, N)
    np.testing.assert_allclose(maps["blocks.1"].sum(-1), 1, atol=1e-6)
    assert attention_maps(network("gated", "nodes"), inputs)["blocks.0"].shape == (1, D, N, N)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"layer": "sage"}, "layer='sage': expected one of gat, gated, gcn, masked_transformer, mlp, transformer"),
        ({"predicts": "edges"}, "predicts='edges': expected one of graphs, nodes"),
        ({"heads": 2}, "layer='gcn' has no heads"),
        ({"layer": "mlp", "heads": 2}, "layer='mlp' has no heads"),
        ({"layer": "gat", "heads": 4}, "heads=4 must divide width=6"),
        ({"edge_features": 2}, "layer='gcn' reads none"),
    ],
    ids=str,
)
def test_bad_fields_are_named(wrong, words):
    fields: dict[str, Any] = dict(features=F, classes=3, width=D, depth=2) | wrong
    with pytest.raises(UserError, match=words):
        GraphNetwork(**fields, rngs=nnx.Rngs(0))


def test_features_that_do_not_fit_are_said():
    net, edges = network("gcn", "nodes"), jnp.zeros((1, 3, 2), int)
    with pytest.raises(UserError, match="nodes have 4 features, but the model has features=5"):
        net(jnp.ones((1, N, 4)), edges)
    with pytest.raises(UserError, match="layer='transformer' reads real features of nodes, not the numbers"):
        network("transformer", "nodes")(jnp.ones((1, N, F), int), edges)
    with pytest.raises(UserError, match="edges have 2 features, but the model has edge_features=0"):
        net(jnp.ones((1, N, F)), edges, edge_features=jnp.ones((1, 3, 2)))
