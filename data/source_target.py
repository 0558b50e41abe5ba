"""Examples of a source sequence and a target sequence to generate from it, for translation and the like."""

from collections.abc import Callable
from typing import Any

import numpy as np

from core.errors import UserError, shown
from data.dataset import Batch
from data.identity import combined, identity_of
from data.subwords import BOS, EOS, PAD


class Pairs:
    """Source and target as two sequences, padded at their ends: for an encoder-decoder.

    The inputs are "source", int32 (B, S), "source_mask", False at padding, and "tokens", int32 (B, T), the target
    shifted right: [BOS] comes first, and the last token is dropped. The targets end with [EOS]; their weights are 0 at
    padding.

    Args:
      sources, targets: int32 arrays of any lengths, as many sources as targets.
      source_length: S, at least the length of the longest source.
      length: T, at least the length of the longest target plus one.
    """

    draws = 0

    def __init__(self, sources: list[np.ndarray], targets: list[np.ndarray], *, source_length: int, length: int):
        if len(sources) != len(targets):
            raise ValueError(f"There are {len(sources):,} sources, but {len(targets):,} targets.")
        self._sources = _PaddedRows(sources, source_length, "source_length")
        self._targets = _PaddedRows([np.append(target, np.int32(EOS)) for target in targets], length, "length")

    def __len__(self) -> int:
        return len(self._sources)

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, see `data.dataset.Source`."""
        return combined([self._sources.identity(), self._targets.identity()])

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        source, source_mask = self._sources.padded(indices)
        targets, mask = self._targets.padded(indices)
        tokens = np.concatenate([np.full((len(indices), 1), BOS, np.int32), targets[:, :-1]], axis=1)
        # [EOS] is what the model writes last, and never reads.
        tokens[tokens == EOS] = PAD
        inputs = {"source": source, "source_mask": source_mask, "tokens": tokens}
        return {"inputs": inputs, "targets": targets, "weights": mask.astype(np.float32)}


class Prompts:
    """Source, [BOS], target and [EOS] as one sequence, padded at its end: for a decoder.

    The inputs are "tokens", int32 (B, S + T). The targets are the tokens that come next; their weights are 1 from the
    first token of the target to [EOS]. The arguments are those of `Pairs`.
    """

    draws = 0

    def __init__(self, sources: list[np.ndarray], targets: list[np.ndarray], *, source_length: int, length: int):
        Pairs(sources, targets, source_length=source_length, length=length)  # checks the arguments
        rows = [np.concatenate([source, [BOS], target, [EOS]]) for source, target in zip(sources, targets)]
        self._rows = _PaddedRows([row.astype(np.int32) for row in rows], source_length + length + 1, "length")
        self._source_lengths = np.array([len(source) for source in sources])

    def __len__(self) -> int:
        return len(self._rows)

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, see `data.dataset.Source`."""
        return combined([self._rows.identity(), identity_of(len(self), self._source_lengths)])

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        rows, mask = self._rows.padded(indices)
        is_target = mask[:, 1:] & (np.arange(rows.shape[1] - 1) >= self._source_lengths[indices][:, None])
        return {"inputs": {"tokens": rows[:, :-1]}, "targets": rows[:, 1:], "weights": is_target.astype(np.float32)}


# form -> the source, and the facts from a vocabulary of V, sources of up to S and targets of up to T tokens
FORMS: dict[str, tuple[type[Pairs] | type[Prompts], Callable[[int, int, int], dict[str, int]]]] = {
    "pairs": (
        Pairs,
        lambda V, S, T: {"source_vocab_size": V, "vocab_size": V, "source_context": S, "context": T},
    ),
    "prompt": (Prompts, lambda V, S, T: {"vocab_size": V, "context": S + T}),
}


def source_and_facts(form: str) -> tuple[type[Pairs] | type[Prompts], Callable[[int, int, int], dict[str, int]]]:
    """Returns the class of the source, and the function from V, S and T to the facts, of a form.

    The form is "pairs" for an encoder-decoder, or "prompt" for a decoder. Raises UserError for another one.
    """
    if form not in FORMS:
        raise UserError(f"form = {shown(form)}: expected one of {', '.join(FORMS)}.")
    return FORMS[form]


class _PaddedRows:
    """Sequences of different lengths, stored one after the other without padding, and padded when they are read."""

    def __init__(self, rows: list[np.ndarray], length: int, name: str):
        self._counts = np.array([len(row) for row in rows], np.int64)
        if len(rows) == 0 or self._counts.max() > length:
            raise UserError(
                f"{name} = {length}: expected at least {self._counts.max(initial=1)}, the longest sequence."
            )
        self._starts = np.cumsum(self._counts) - self._counts
        self._tokens = np.concatenate([*rows, np.full(length, PAD, np.int32)])
        self._length = length

    def __len__(self) -> int:
        return len(self._counts)

    def identity(self) -> dict[str, Any]:
        """Returns what tells these rows from others."""
        return identity_of(len(self), self._tokens, self._counts)

    def padded(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns tokens int32 (B, length) and their mask, bool (B, length), False at padding."""
        places = np.arange(self._length)
        mask = places < self._counts[indices][:, None]
        return np.where(mask, self._tokens[self._starts[indices][:, None] + places], np.int32(PAD)), mask
