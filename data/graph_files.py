"""A graph of the user's own: a table of nodes with labels and features, and a list of edges."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.errors import UserError, shown
from data.dataset import Dataset
from data.graphs import both_directions, node_dataset
from data.identity import file_digest
from data.lines import read_lines
from data.splits import SplitError

_NO_SPLIT = "-"
_LARGEST = float(np.finfo(np.float32).max)


class _Node(NamedTuple):
    split: str
    label: str
    features: list[float]
    place: str  # for messages


def graph_files(
    *, path: str, train: str = "train", evaluation: str = "validation", undirected: bool = True
) -> Dataset:
    """Returns a graph, whose nodes are classified, from a folder with nodes.tsv and edges.tsv.

    A line of nodes.tsv is a name, a split, a label and the features as numbers, separated by tabs. The split "-" is for
    nodes that are only neighbours; their label is not read. A line of edges.tsv is the names of two nodes, separated by
    a tab. Each split is the complete graph as one example, in which its nodes count. The classes are the labels of the
    split `train` in alphabetical order.

    Args:
      path: the folder.
      train, evaluation: the splits to use.
      undirected: an edge leads in both directions; otherwise only from the first to the second node.

    Raises UserError where a file is missing or malformed, with the file and the line.
    """
    node_file, edge_file = Path(path) / "nodes.tsv", Path(path) / "edges.tsv"
    nodes = _read_nodes(node_file)
    numbers = {name: number for number, name in enumerate(nodes)}
    pairs = _read_edges(edge_file, numbers)
    splits: dict[str, np.ndarray] = {}
    for split in dict.fromkeys(node.split for node in nodes.values() if node.split != _NO_SPLIT):
        splits[split] = np.array([numbers[name] for name, node in nodes.items() if node.split == split])
    for split in (train, evaluation):
        if split not in splits:
            names = ", ".join(splits) or "none"
            raise SplitError(split, f"{node_file} has no split {shown(split)}: its second column has {names}.")
    classes = sorted({node.label for node in nodes.values() if node.split == train})
    for node in nodes.values():
        if node.split == evaluation and node.label not in classes:
            raise UserError(f"{node.place}: the label {node.label!r} is not among those of {train}: {classes[:9]}.")
    labels = [classes.index(node.label) if node.label in classes else 0 for node in nodes.values()]
    features = np.array([node.features for node in nodes.values()], np.float32)
    edges = both_directions(pairs) if undirected else pairs.astype(np.int32)
    return node_dataset(
        path, features, edges, np.array(labels, np.int32), splits, train, evaluation,
        digests=[file_digest(node_file), file_digest(edge_file)], features=features.shape[1], classes=classes,
    )  # fmt: skip


def _read_nodes(file: Path) -> dict[str, _Node]:
    nodes: dict[str, _Node] = {}
    for number, line in enumerate(read_lines(file), start=1):
        place = f"{file}, line {number}"
        name, *columns = [column.strip() for column in line.split("\t")]
        if len(columns) < 3 or not all((name, *columns)):
            expected = "a name, a split, a label and features with tabs between"
            raise UserError(f"{place}: expected {expected}, got {line[:60]!r}.")
        if name in nodes:
            raise UserError(f"{place}: there is a node {name!r} before, at {nodes[name].place}.")
        split, label, *texts = columns
        try:
            features = [float(text) for text in texts]
        except ValueError:
            features = [np.nan]
        if not all(abs(number) <= _LARGEST for number in features):  # False for NaN
            raise UserError(f"{place}: expected finite numbers from column 4 on, got {' '.join(texts)[:60]!r}.")
        if nodes and len(features) != (count := len(next(iter(nodes.values())).features)):
            raise UserError(f"{place}: {len(features)} features, but line 1 has {count}.")
        nodes[name] = _Node(split, label, features, place)
    return nodes


def _read_edges(file: Path, numbers: dict[str, int]) -> np.ndarray:
    pairs = []
    for number, line in enumerate(read_lines(file), start=1):
        place = f"{file}, line {number}"
        names = [name.strip() for name in line.split("\t")]
        if len(names) != 2:
            raise UserError(f"{place}: expected the names of two nodes with a tab between, got {line[:60]!r}.")
        for name in names:
            if name not in numbers:
                raise UserError(f"{place}: there is no node {name!r} in nodes.tsv.")
        pairs.append([numbers[name] for name in names])
    return np.array(pairs)
