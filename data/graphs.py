"""What data sets of graphs have in common: padding of many small ones, and one large one whose nodes are classified."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data.dataset import Batch, Dataset
from data.identity import identity_of
from data.in_memory import ArraySource
from data.splits import split_rows


def both_directions(pairs: np.ndarray) -> np.ndarray:
    """Returns edges (sender, receiver), int32 (E, 2), from undirected pairs, each twice; loops only once."""
    loop = pairs[:, 0] == pairs[:, 1]
    return np.concatenate([pairs, pairs[~loop, ::-1]]).astype(np.int32)


def padded(rows: Sequence[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns arrays of different lengths as one, with zeros at the ends, and the mask of what is no padding."""
    out = np.zeros((len(rows), length, *rows[0].shape[1:]), rows[0].dtype)
    for number, row in enumerate(rows):
        out[number, : len(row)] = row
    return out, np.arange(length) < np.array([[len(row)] for row in rows])


def node_dataset(
    name: str, nodes: np.ndarray, edges: np.ndarray, labels: np.ndarray, splits: Mapping[str, np.ndarray], train: str,
    evaluation: str, *, digests: Sequence[str], features: int, classes: Sequence[str],
) -> Dataset:  # fmt: skip
    """Returns one graph, whose nodes are classified: a split is the same graph with other nodes that count.

    Args:
      nodes: real features (N, F), or the numbers of the features that a node has, (N, K), padded by -1.
      edges: (sender, receiver), (E, 2).
      labels: of the nodes, (N,). splits: the nodes of each split.
      train, evaluation: the splits to use.
      digests: of the files that all this was read from, so that other files are another data set.
      features: F. classes: their names.

    Raises UserError for a split that does not exist.
    """
    weights = np.zeros((len(splits), len(nodes)), np.float32)
    for row, members in enumerate(splits.values()):
        weights[row, members] = 1
    everywhere = lambda x: np.broadcast_to(x, (len(splits), *x.shape))
    graph = {"inputs": {"nodes": everywhere(nodes), "edges": everywhere(edges)}, "targets": everywhere(labels)}
    examples = graph | {"weights": weights}
    sizes = dict.fromkeys(splits, 1)
    source = lambda spec: _NodeSource(examples, split_rows(name, sizes, spec), [spec, *digests])
    facts = {"features": features, "classes": len(classes), "predicts": "nodes"}
    return Dataset(facts, source(train), source(evaluation), evaluation, classes=tuple(classes))


class _NodeSource(ArraySource):
    """Rows that are known by the files they were read from: their features and weights are floats, with no digest."""

    def __init__(self, examples: Batch, rows: np.ndarray, digests: Sequence[str]):
        super().__init__(examples, rows)
        self._digests = digests

    def identity(self) -> dict[str, Any]:
        return identity_of(len(self), *self._digests)
