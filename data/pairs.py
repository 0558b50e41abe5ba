"""Pairs of token sequences: a source to read, and a target to write after it."""

from collections.abc import Callable

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


class Prompts:
    """The same pairs for a decoder: source, [BOS], target and [EOS] in one row, the padding at its end.

    The inputs are "tokens", int32 (B, S + T); the targets are the tokens that come next, and count from the first of
    the target to [EOS]. Arguments as for `Pairs`.
    """

    draws = 0

    def __init__(self, sources: list[np.ndarray], targets: list[np.ndarray], *, source_length: int, length: int):
        Pairs(sources, targets, source_length=source_length, length=length)  # says what does not fit
        rows = [np.concatenate([source, [BOS], target, [EOS]]) for source, target in zip(sources, targets)]
        self._rows = _Rows([row.astype(np.int32) for row in rows], source_length + length + 1, "length")
        self._sources = np.array([len(source) for source in sources])

    def __len__(self) -> int:
        return len(self._rows)

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        rows, within = self._rows.padded(indices)
        asked = within[:, 1:] & (np.arange(rows.shape[1] - 1) >= self._sources[indices][:, None])
        return {"inputs": {"tokens": rows[:, :-1]}, "targets": rows[:, 1:], "weights": asked.astype(np.float32)}


# form -> the source, and what a model must agree with
FORMS = {
    "pairs": (
        Pairs,
        lambda V, S, T: {"source_vocab_size": V, "vocab_size": V, "source_context": S, "context": T},
    ),
    "prompt": (Prompts, lambda V, S, T: {"vocab_size": V, "context": S + T}),
}


def pairs_in(form: str) -> tuple[type, Callable]:
    """What `FORMS` has: "pairs" for an encoder-decoder, "prompt" for a decoder. Raises ValueError for another form."""
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}.")
    return FORMS[form]


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
