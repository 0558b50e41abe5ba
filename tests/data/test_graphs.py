"""Data sets of graphs: the kinds are what they are called, and the user's files are read or refused with the line."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from data.graph_classes import KINDS, graph_classes
from data.graph_files import graph_files
from data.graphs import both_directions
from data.planetoid import planetoid
from tests.data.planetoid_files import planetoid_files

# ---- generated ------------------------------------------------------------------------------------------------------


def degrees(kind: str, size: int) -> Counter:
    pairs = KINDS[kind](size, np.random.default_rng(3))
    assert len(np.unique(np.sort(pairs, axis=1), axis=0)) == len(pairs) and (pairs[:, 0] != pairs[:, 1]).all()
    return Counter(np.bincount(both_directions(pairs)[:, 1]).tolist())


def test_each_kind_has_its_degrees():
    assert degrees("cycle", 13) == {2: 13}
    assert degrees("star", 13) == {1: 12, 12: 1}
    assert degrees("wheel", 13) == {3: 12, 12: 1}
    assert degrees("clique", 13) == {12: 13}
    assert degrees("circular ladder", 14) == {3: 14}
    assert set(degrees("hypercube", 13).items()) <= {(4, 16), (5, 32)}
    grid = degrees("grid", 12)
    assert grid[2] == 4 and set(grid) == {2, 3, 4} and grid.total() == 12
    lollipop = degrees("lollipop", 13)
    assert lollipop[1] == 1 and lollipop.total() == 13


def test_graphs_are_padded_and_both_directions_are_there():
    data = graph_classes()
    batch = data.train.examples(np.arange(len(data.train)))
    inputs = batch["inputs"]
    assert data.facts == {"features": 1, "classes": 8, "predicts": "graphs"}
    assert inputs["nodes"].shape == (350, 32, 1) and inputs["edges"].shape == (350, 380, 2)
    for row in (0, 17, 349):
        edges = inputs["edges"][row][inputs["edge_mask"][row]]
        assert sorted(map(tuple, edges)) == sorted(map(tuple, edges[:, ::-1]))
        degree = np.bincount(edges[:, 1], minlength=32)
        np.testing.assert_allclose(10 * inputs["nodes"][row, :, 0], degree, rtol=1e-6)
        assert ((degree > 0) == inputs["mask"][row]).all()


@pytest.mark.parametrize("lost", [0.2, 0.9])
def test_a_share_of_the_edges_is_taken_away(lost):
    whole, partial = (graph_classes(lost=share, training_graphs=307, test_graphs=11).train for share in (0.0, lost))
    counts = [source.examples(np.arange(307))["inputs"]["edge_mask"].sum() for source in (whole, partial)]
    assert len(whole) == 307 and counts[1] / counts[0] == pytest.approx(1 - lost, abs=0.04)
    inputs = partial.examples(np.arange(307))["inputs"]
    for row in (0, 306):
        edges = inputs["edges"][row][inputs["edge_mask"][row]]
        assert sorted(map(tuple, edges)) == sorted(map(tuple, edges[:, ::-1]))
        np.testing.assert_allclose(10 * inputs["nodes"][row, :, 0], np.bincount(edges[:, 1], minlength=32), rtol=1e-6)
    assert inputs["mask"].sum(1).min() >= 8  # also nodes that lost all edges


# ---- a table and a list ---------------------------------------------------------------------------------------------

NODES = "a\ttrain\tcat\t1.5\t0\nb\ttrain\tdog\t2\t-1\nc\tvalidation\tcat\t0\t3\nd\t-\t-\t4\t4\n"
EDGES = "a\tb\nc\ta\nd\td\n"


def write(folder: Path, nodes: str = NODES, edges: str = EDGES) -> str:
    (folder / "nodes.tsv").write_text(nodes)
    (folder / "edges.tsv").write_text(edges)
    return str(folder)


def test_a_table_and_a_list_are_a_graph(tmp_path):
    data = graph_files(path=write(tmp_path))
    assert data.facts == {"features": 2, "classes": 2, "predicts": "nodes"} and data.classes == ("cat", "dog")
    batch, held_out = data.train.examples(np.arange(1)), data.evaluation.examples(np.arange(1))
    np.testing.assert_array_equal(batch["inputs"]["nodes"][0], [[1.5, 0], [2, -1], [0, 3], [4, 4]])
    np.testing.assert_array_equal(batch["inputs"]["edges"][0], [[0, 1], [2, 0], [3, 3], [1, 0], [0, 2]])
    assert batch["targets"][0, :3].tolist() == [0, 1, 0]
    assert batch["weights"].tolist() == [[1, 1, 0, 0]] and held_out["weights"].tolist() == [[0, 0, 1, 0]]
    directed = graph_files(path=str(tmp_path), undirected=False)
    np.testing.assert_array_equal(directed.train.examples(np.arange(1))["inputs"]["edges"][0], [[0, 1], [2, 0], [3, 3]])


def test_other_features_are_another_data_set(tmp_path):
    before = graph_files(path=write(tmp_path)).identity
    assert graph_files(path=write(tmp_path)).identity == before
    assert graph_files(path=write(tmp_path, NODES.replace("1.5", "1.75"))).identity != before


@pytest.mark.parametrize(
    "nodes, edges, words",
    [
        (NODES.replace("b\ttrain\tdog\t2", "b\ttrain\tdog\ttwo"), EDGES, r"nodes.tsv, line 2: expected finite numbers"),
        (NODES.replace("2\t-1", "2\tnan"), EDGES, r"nodes.tsv, line 2: expected finite numbers"),
        (NODES.replace("2\t-1", "2\t1e39"), EDGES, r"nodes.tsv, line 2: expected finite numbers"),
        (NODES.replace("2\t-1", "2"), EDGES, r"nodes.tsv, line 2: 1 features, but line 1 has 2"),
        (NODES.replace("b\ttrain", "a\ttrain"), EDGES, r"nodes.tsv, line 2: there is a node 'a' before"),
        (NODES.replace("b\ttrain\tdog\t2\t-1", "b train"), EDGES, r"nodes.tsv, line 2: expected a name, a split"),
        (NODES.replace("validation\tcat", "validation\tcow"), EDGES, r"nodes.tsv, line 3: the label 'cow' is not"),
        (NODES.replace("validation", "test"), EDGES, r"has no split 'validation': its second column has train, test"),
        (NODES, EDGES.replace("c\ta", "c\tz"), r"edges.tsv, line 2: there is no node 'z'"),
        (NODES, EDGES.replace("c\ta", "c a"), r"edges.tsv, line 2: expected the names of two nodes"),
        (NODES, EDGES.replace("c\ta", ""), r"edges.tsv, line 2: empty"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(tmp_path, nodes, edges, words):
    with pytest.raises(UserError, match=words):
        graph_files(path=write(tmp_path, nodes, edges))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="There is no file .*nodes.tsv"):
        graph_files(path=str(tmp_path))


# ---- Planetoid ------------------------------------------------------------------------------------------------------


def test_planetoid_puts_the_test_nodes_in_their_places(tmp_path):
    features = (np.random.default_rng(0).random((507, 5)) < 0.3).astype(np.float32)
    data = planetoid(path=planetoid_files(tmp_path, features), evaluation="test")
    batch, test = data.train.examples(np.arange(1)), data.evaluation.examples(np.arange(1))
    assert data.facts == {"features": 5, "classes": 3, "predicts": "nodes"}
    sets = [set(row[row >= 0].tolist()) for row in batch["inputs"]["nodes"][0]]
    in_order = np.concatenate([features[:504], features[[504, 506, 505]], np.zeros((1, 5))])
    assert sets == [set(np.flatnonzero(row).tolist()) for row in in_order]
    assert batch["targets"][0, [504, 505, 506]].tolist() == [0, 2, 1]
    assert np.flatnonzero(batch["weights"]).tolist() == [0, 1, 2, 3]
    assert np.flatnonzero(test["weights"]).tolist() == [504, 505, 506]
    edges = {tuple(edge) for edge in batch["inputs"]["edges"][0].tolist()}
    assert edges == {(0, 1), (1, 0), (0, 2), (2, 0), (503, 504), (504, 503)}


def test_real_features_become_rows_that_sum_to_one(tmp_path):
    features = np.random.default_rng(0).random((507, 5)).astype(np.float32)
    data = planetoid(path=planetoid_files(tmp_path, features))
    rows = data.train.examples(np.arange(1))["inputs"]["nodes"][0]
    np.testing.assert_allclose(rows[:507].sum(1), 1, rtol=1e-5)


def test_a_pickle_that_could_run_code_is_refused(tmp_path):
    path = planetoid_files(tmp_path, np.eye(507, 5, dtype=np.float32))
    (tmp_path / "ind.small.x").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    with pytest.raises(UserError, match=r"ind.small.x is no file of Planetoid \(it holds a os.system\)"):
        planetoid(path=path)
    assert not (tmp_path / "ran").exists()


def test_files_that_are_missing_or_do_not_fit_are_named(tmp_path):
    with pytest.raises(UserError, match="holds no file ind"):
        planetoid(path=str(tmp_path))
    path = planetoid_files(tmp_path, np.eye(507, 5, dtype=np.float32))
    (tmp_path / "ind.small.test.index").write_text("504\n505\n")
    with pytest.raises(UserError, match="do not fit together"):
        planetoid(path=path)
    (tmp_path / "ind.small.y").unlink()
    with pytest.raises(UserError, match="There is no file .*ind.small.y"):
        planetoid(path=path)
