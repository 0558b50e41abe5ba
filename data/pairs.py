"""Pairs of token sequences: a source to read, and a target to write after it."""

import numpy as np

from data.dataset import Batch
from data.subwords import BOS, EOS, PAD


class Pairs:
    """A source of pairs, padded at their ends.

    The inputs are "source", int32 (B, S), "source_mask", False at padding, and "tokens", int32 (B, T), the target
    shifted right: [BOS] before it and its last token away. The targets end with [EOS]; weights are 0 at padding.

    Args:
      sources, targets: int32 arrays of any lengths, as many of the one as of the other.
      source_length: S, at least the longest source. length: T, at least the longest target and one more.
    """

    draws = 0

    def __init__(self, sources: list[np.ndarray], targets: list[np.ndarray], *, source_length: int, length: int):
        if len(sources) != len(targets):
            raise ValueError(f"There are {len(sources):,} sources, but {len(targets):,} targets.")
        self._sources = _Rows(sources, source_length, "source_length")
        self._targets = _Rows([np.append(target, np.int32(EOS)) for target in targets], length, "length")

    def __len__(self) -> int:
        return len(self._sources)

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        source, source_mask = self._sources.padded(indices)
        targets, within = self._targets.padded(indices)
        tokens = np.concatenate([np.full((len(indices), 1), BOS, np.int32), targets[:, :-1]], axis=1)
        # [EOS] is what the model writes last, and never reads.
        tokens[tokens == EOS] = PAD
        inputs = {"source": source, "source_mask": source_mask, "tokens": tokens}
        return {"inputs": inputs, "targets": targets, "weights": within.astype(np.float32)}


class _Rows:
    """Sequences of different lengths in one array, which takes no room for padding."""

    def __init__(self, rows: list[np.ndarray], length: int, name: str):
        self._counts = np.array([len(row) for row in rows], np.int64)
        if len(rows) == 0 or self._counts.max() > length:
            raise ValueError(
                f"{name} = {length}: expected at least {self._counts.max(initial=1)}, the longest sequence."
            )
        self._starts = np.cumsum(self._counts) - self._counts
        self._tokens = np.concatenate([*rows, np.full(length, PAD, np.int32)])
        self._length = length

    def __len__(self) -> int:
        return len(self._counts)

    def padded(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns tokens int32 (B, length) and where they are no padding."""
        places = np.arange(self._length)
        within = places < self._counts[indices][:, None]
        return np.where(within, self._tokens[self._starts[indices][:, None] + places], np.int32(PAD)), within
