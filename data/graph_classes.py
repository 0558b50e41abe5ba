"""Small graphs of eight kinds, each numbered at random: the kind has to be told from who is joined with whom."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import numpy as np

from core.ranges import Range
from data.dataset import Dataset
from data.graphs import both_directions, padded
from data.in_memory import array_dataset

_SMALLEST, _LARGEST = 10, 20  # nodes, but grids may have 8 or 9, and a hypercube has 16 or 32


def graph_classes(
    *, train: str = "train", evaluation: str = "test", lost: Annotated[float, Range(0, 0.9)] = 0.0,
    training_graphs: Annotated[int, Range(8, 100_000)] = 350, test_graphs: Annotated[int, Range(8, 100_000)] = 100,
) -> Dataset:  # fmt: skip
    """Returns cycles, stars, wheels, lollipops, hypercubes, grids, cliques and circular ladders.

    They have 8 to 20 nodes, hypercubes 16 or 32. The only feature of a node is a tenth of its degree; edges go in both
    directions. Graphs are padded to 32 nodes and 380 edges. They are generated at each start, always the same ones;
    splits train and test. The kinds are those of DGL's MiniGC data set.

    Args:
      lost: the share of the edges that are taken away at random. Then degrees alone no longer tell the kind: a grid
        that has lost edges may have those of a ladder, but not its neighbours.
      training_graphs, test_graphs: how many graphs the splits have. Other numbers give other graphs.
    """
    sizes = {"train": training_graphs, "test": test_graphs}
    generator, count = np.random.default_rng(0), sum(sizes.values())
    labels = np.arange(count, dtype=np.int32) % len(KINDS)
    generator.shuffle(labels)
    kinds = list(KINDS.values())
    nodes, edges = zip(*(_numbered(kinds[label], lost, generator) for label in labels))
    node_rows, mask = padded(nodes, 32)
    edge_rows, edge_mask = padded(edges, _LARGEST * (_LARGEST - 1))
    examples = {
        "inputs": {"nodes": node_rows, "edges": edge_rows, "mask": mask, "edge_mask": edge_mask},
        "targets": labels,
        "weights": np.ones(count, np.float32),
    }
    facts = {"features": 1, "classes": len(KINDS), "predicts": "graphs"}
    dataset = array_dataset("graph_classes", examples, sizes, train, evaluation, **facts)
    return replace(dataset, classes=tuple(KINDS))


def _numbered(
    kind: Callable[[int, np.random.Generator], np.ndarray], lost: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the features (N, 1) and the edges (E, 2) of a graph of a kind, with nodes numbered at random."""
    pairs = kind(int(generator.integers(_SMALLEST, _LARGEST + 1)), generator)
    size = int(pairs.max()) + 1
    if lost:
        pairs = pairs[generator.random(len(pairs)) >= lost]
    edges = both_directions(generator.permutation(size)[pairs])
    degree = np.bincount(edges[:, 1], minlength=size)
    return (degree[:, None] / 10).astype(np.float32), edges


def _chain(size: int) -> np.ndarray:
    return np.stack([np.arange(size - 1), np.arange(1, size)], axis=1)


def _cycle(size: int, _=None) -> np.ndarray:
    return np.concatenate([_chain(size), [[size - 1, 0]]])


def _star(size: int, _=None) -> np.ndarray:
    return np.stack([np.zeros(size - 1, int), np.arange(1, size)], axis=1)


def _wheel(size: int, _=None) -> np.ndarray:
    return np.concatenate([_star(size), _cycle(size - 1) + 1])


def _clique(size: int, _=None) -> np.ndarray:
    return np.stack(np.triu_indices(size, 1), axis=1)


def _lollipop(size: int, generator: np.random.Generator) -> np.ndarray:
    head = int(generator.integers(size // 3, 2 * size // 3 + 1))
    return np.concatenate([_clique(head), _chain(size - head + 1) + head - 1])


def _hypercube(_, generator: np.random.Generator) -> np.ndarray:
    dimensions = int(generator.integers(4, 6))
    corner, axis = np.meshgrid(np.arange(2**dimensions), 2 ** np.arange(dimensions), indexing="ij")
    pairs = np.stack([corner.ravel(), (corner ^ axis).ravel()], axis=1)
    return pairs[pairs[:, 0] < pairs[:, 1]]


def _grid(size: int, generator: np.random.Generator) -> np.ndarray:
    rows = int(generator.integers(3, 5))
    place = np.arange(rows * (size // rows)).reshape(rows, -1)
    across = np.stack([place[:, :-1].ravel(), place[:, 1:].ravel()], axis=1)
    return np.concatenate([across, np.stack([place[:-1].ravel(), place[1:].ravel()], axis=1)])


def _circular_ladder(size: int, _=None) -> np.ndarray:
    half = size // 2
    ring = _cycle(half)
    return np.concatenate([ring, ring + half, np.stack([np.arange(half), np.arange(half) + half], axis=1)])


KINDS: dict[str, Callable[..., np.ndarray]] = {
    "cycle": _cycle, "star": _star, "wheel": _wheel, "lollipop": _lollipop, "hypercube": _hypercube, "grid": _grid,
    "clique": _clique, "circular ladder": _circular_ladder,
}  # fmt: skip
