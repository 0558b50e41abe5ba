"""Cora, CiteSeer and PubMed from the files of Planetoid, which the user has: ind.cora.x, ind.cora.graph and so on."""

from collections import defaultdict
import io
from pathlib import Path
import pickle
from typing import Any

import numpy as np

from core.errors import UserError, reason
from core.reading import read_file
from data.dataset import Dataset
from data.graphs import both_directions, node_dataset
from data.identity import file_digest

_PARTS = ("x", "y", "tx", "ty", "allx", "ally", "graph")
_VALIDATION = 500


def planetoid(*, path: str, train: str = "train", evaluation: str = "validation") -> Dataset:
    """Returns a citation graph, whose documents are classified: Cora has 2,708 nodes, 1,433 features and 7 classes.

    Splits as published (Yang et al. 2016): train (the 20 nodes of each class that have labels), validation (the 500
    after them) and test (1,000). Each is the complete graph as one example, in which the nodes of the split count.
    Features of a node are divided by their sum (Kipf & Welling 2017). Where all are 0 or 1, nodes are the numbers of
    the features that they have, padded by -1.

    Args:
      path: the folder with the eight files ind.NAME.*, as in github.com/kimiyoung/planetoid.
      train, evaluation: the splits to use.

    Raises UserError where a file is missing or damaged.
    """
    folder = Path(path)
    graphs = sorted(folder.glob("ind.*.graph"))
    if len(graphs) != 1:
        what = f"{len(graphs)} files ind.*.graph" if graphs else "no file ind.*.graph"
        raise UserError(f"data.path = {path} holds {what}: expected the folder of one Planetoid set, as ind.cora.graph")
    stem = graphs[0].name.removesuffix(".graph")
    files = {part: folder / f"{stem}.{part}" for part in (*_PARTS, "test.index")}
    x, y, tx, ty, allx, ally, graph = (_unpickled(files[part]) for part in _PARTS)
    try:
        order = np.array([int(line) for line in read_file(files["test.index"]).split()])
        count = int(max(order.max(), *graph)) + 1
        # Test nodes are numbered by test.index. Nodes that are in no part, of CiteSeer, have no features and no label.
        features, labels = np.zeros((count, allx.shape[1]), np.float32), np.zeros((count, ally.shape[1]))
        features[: allx.shape[0]], labels[: len(ally)] = allx.toarray(), ally
        features[order], labels[order] = tx.toarray(), ty
        pairs = [(int(node), int(other)) for node, others in graph.items() for other in others]
        pairs = np.unique(np.sort(np.array(pairs), axis=1), axis=0)
        splits = {
            "train": np.arange(len(y)), "validation": np.arange(len(y), len(y) + _VALIDATION), "test": np.sort(order),
        }  # fmt: skip
        assert x.shape[0] == len(y) and pairs.min() >= 0 and pairs.max() < count
    except (AssertionError, AttributeError, IndexError, TypeError, ValueError) as error:
        text = f"The files {folder / stem}.* do not fit together ({reason(error)}): fetch them again."
        raise UserError(text) from error
    return node_dataset(
        str(folder), _compact(features), both_directions(pairs), labels.argmax(1).astype(np.int32), splits, train,
        evaluation, digests=[file_digest(file) for file in files.values()], features=features.shape[1],
        classes=[str(number) for number in range(labels.shape[1])],
    )  # fmt: skip


def _compact(features: np.ndarray) -> np.ndarray:
    """The numbers of each node's features, (N, K) padded by -1, if all are 0 or 1; else rows that sum to 1."""
    if not np.isin(features, (0, 1)).all():
        return features / np.maximum(features.sum(1, keepdims=True), 1e-12)
    rows, columns = np.nonzero(features)
    count = np.bincount(rows, minlength=len(features))
    numbers = np.full((len(features), max(1, count.max())), -1, np.int32)
    numbers[rows, np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)] = columns
    return numbers


class _Arrays(pickle.Unpickler):
    """Reads pickles of arrays, sparse matrices and dictionaries. Any other class is refused: it could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.startswith("scipy.sparse"), name) == (True, "csr_matrix"):
            from scipy.sparse import csr_matrix  # here, because importing it takes a while

            return csr_matrix
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        raise pickle.UnpicklingError(f"it holds a {module}.{name}")


def _latin1(text: str, encoding: str) -> bytes:
    """What Python 3 writes for the bytes of an array; other encodings could be programs of their own."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it is encoded as {encoding}")
    return text.encode("latin1")


_reconstruct = np.zeros(1).__reduce__()[0]  # NumPy's function for arrays, whose module differs between versions
_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype, ("collections", "defaultdict"): defaultdict,
    ("__builtin__", "list"): list, ("builtins", "list"): list, ("__builtin__", "object"): object,
    ("__builtin__", "bytes"): bytes, ("_codecs", "encode"): _latin1,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct, ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
}  # fmt: skip


def _unpickled(file: Path) -> Any:
    content = read_file(file)
    try:
        return _Arrays(io.BytesIO(content), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is no file of Planetoid ({reason(error)}): fetch it again.") from error
