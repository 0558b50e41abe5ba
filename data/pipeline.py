"""Turns a source into batches: order, randomness, the share of each process, and prefetching.

Every batch is a function of (seed, batch number) alone. So a run continues exactly where it stopped, and the batches of
several processes together are those of one process. Grain iterates over chunks of batches, not over examples: its own
shuffle works example by example and its transfer between threads takes 0.2 ms, and small nets would wait for both.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
import sys
from typing import Any

from etils import epy
import numpy as np

from core.errors import UserError
from data.dataset import Batch, Source

with epy.lazy_imports():  # loads only at first use, so that errors in a config are reported sooner
    import grain


CHUNK = 8  # batches read from a source in one call


def train_batches(source: Source, *, batch_size: int, seed: int, rows: slice = slice(None)) -> "grain.DatasetIterator":
    """Returns an endless iterator over shuffled, augmented batches, which a thread of its own prepares in advance.

    Every example occurs once per epoch, in an order that follows from (seed, epoch). Batches continue across the
    borders of epochs, so all of them are full. `get_state()` and `set_state()` save and restore the position as JSON.

    Args:
      batch_size: examples in the global batch.
      seed: decides the order and the augmentation.
      rows: the share of the global batch that this process gets.

    Raises UserError where the batch is larger than the set.
    """
    _check_batch_size(source, batch_size)
    return _batch_by_batch(_TrainChunks(source, batch_size, seed, rows))


def population_batches(source: Source, *, batch_size: int, seeds: Sequence[int]) -> "grain.DatasetIterator":
    """Returns an iterator whose arrays stack the batches of `train_batches` for each of `seeds` along a new first axis.

    Its state is that of `train_batches` at the same batch. Members with the same seed share one batch.
    """
    _check_batch_size(source, batch_size)
    return _batch_by_batch(_StackedChunks(source, batch_size, seeds))


def evaluation_batches(source: Source, *, batch_size: int, rows: slice = slice(None)) -> Iterable[Batch]:
    """Returns the batches of one pass in order; each iteration over the result is a new pass.

    The last batch is filled up with copies of the last example, with weight 0. `batch_size` and `rows` are those of
    `train_batches`, but here a batch may be larger than the set.
    """
    if batch_size < 1:
        raise UserError(f"batch_size = {batch_size}: expected at least 1.")
    return _prefetched(_EvaluationBatches(source, batch_size, rows), ahead=2)


def _check_batch_size(source: Source, batch_size: int) -> None:
    if not 1 <= batch_size <= len(source):
        raise UserError(
            f"batch_size = {batch_size}: expected between 1 and the {len(source):,} examples of the training split. "
            "Choose a smaller batch_size or a larger split."
        )


def _prefetched(items: Any, ahead: int) -> "grain.IterDataset":
    # One thread, because preparing a batch holds Python's lock: two are slower (MNIST's first epoch by half).
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=ahead)
    return grain.MapDataset.source(items).to_iter_dataset(options)


def _batch_by_batch(chunks: Any) -> "grain.DatasetIterator":
    class Flatten(grain.experimental.FlatMapTransform):
        max_fan_out = CHUNK

        def flat_map(self, element: list[Batch]) -> list[Batch]:
            return element

    return iter(grain.experimental.FlatMapIterDataset(_prefetched(chunks, ahead=1), Flatten()))


class _TrainChunks:
    """Training batches n * CHUNK to (n + 1) * CHUNK for any n: one call of the source, split into batches."""

    def __init__(self, source: Source, batch_size: int, seed: int, rows: slice):
        self._source = source
        self._batch_size = batch_size
        self._seed = seed
        self._rows = rows
        # Two epochs, because a chunk begins in the epoch in which the last chunk ended.
        self._order = lru_cache(maxsize=2)(self._shuffle)

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, number: int) -> list[Batch]:
        numbers = range(number * CHUNK, (number + 1) * CHUNK)
        positions = np.arange(numbers.start * self._batch_size, numbers.stop * self._batch_size)
        positions = positions.reshape(CHUNK, self._batch_size)[:, self._rows]
        epochs, places = np.divmod(positions.ravel(), len(self._source))
        epoch_range = range(epochs[0], epochs[-1] + 1)
        indices = np.concatenate([self._order(epoch)[places[epochs == epoch]] for epoch in epoch_range])
        draws = np.concatenate([self._draw(number) for number in numbers]) if self._source.draws else None
        return _split(self._source.examples(indices, draws), positions.shape[1])

    def _shuffle(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self._seed, 0, epoch]).permutation(len(self._source))

    def _draw(self, number: int) -> np.ndarray:
        # Drawn for the global batch, so that a row's numbers do not depend on how processes share the rows.
        generator = np.random.default_rng([self._seed, 1, number])
        return generator.random((self._batch_size, self._source.draws))[self._rows]


class _StackedChunks:
    """The same chunk of several runs, stacked batch by batch."""

    def __init__(self, source: Source, batch_size: int, seeds: Sequence[int]):
        self._runs = {seed: _TrainChunks(source, batch_size, seed, slice(None)) for seed in seeds}
        self._seeds = seeds

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, number: int) -> list[Batch]:
        chunks = {seed: run[number] for seed, run in self._runs.items()}
        return [_stack(batches) for batches in zip(*(chunks[seed] for seed in self._seeds))]


def _split(chunk: Batch, size: int) -> list[Batch]:
    """Returns the `CHUNK` batches of `size` examples that a chunk consists of."""

    def part(values: Any, start: int) -> Any:
        if isinstance(values, dict):
            return {name: part(value, start) for name, value in values.items()}
        return values[start : start + size]

    return [part(chunk, number * size) for number in range(CHUNK)]


def _stack(batches: Sequence[Any]) -> Any:
    """Stacks equal nested dictionaries of arrays along a new first axis."""
    if isinstance(batches[0], dict):
        return {name: _stack([batch[name] for batch in batches]) for name in batches[0]}
    return np.stack(batches)


class _EvaluationBatches:
    """The batches of one pass in order."""

    def __init__(self, source: Source, batch_size: int, rows: slice):
        self._source = source
        self._batch_size = batch_size
        self._rows = rows

    def __len__(self) -> int:
        return -(-len(self._source) // self._batch_size)

    def __getitem__(self, number: int) -> Batch:
        positions = np.arange(number * self._batch_size, (number + 1) * self._batch_size)[self._rows]
        batch = self._source.examples(np.minimum(positions, len(self._source) - 1))
        batch["weights"][positions >= len(self._source)] = 0
        return batch
