"""From a source to batches: order, randomness, the share of this process, prefetching.

Every batch follows from (seed, batch number) alone. So a run goes on exactly where it stopped, and any number
of processes see together what one process sees. Grain runs over chunks of batches, not over examples: its own
shuffle works example by example, its hand-over between threads takes 0.2 ms, and small nets would wait for both.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
import sys

from etils import epy
import numpy as np

from data.dataset import Batch, Source

with epy.lazy_imports():  # what is wrong with a config is said before this loads
    import grain


CHUNK = 8  # batches made at once


def train_batches(source: Source, *, batch_size: int, seed: int, rows: slice = slice(None)) -> "grain.DatasetIterator":
    """Returns an endless iterator over shuffled, augmented batches, which are made ahead in a thread of their own.

    Every example comes once an epoch, in an order that follows from (seed, epoch). Batches run across the
    borders of epochs, so all of them are full. `get_state()` and `set_state()` hold the place as plain JSON.

    Args:
      batch_size: examples in the global batch.
      rows: the share of the global batch that this process gets.

    Raises:
      ValueError: the batch is larger than the set.
    """
    _check(source, batch_size)
    return _one_by_one(_TrainChunks(source, batch_size, seed, rows))


def population_batches(source: Source, *, batch_size: int, seeds: Sequence[int]) -> "grain.DatasetIterator":
    """Returns an iterator like that of `train_batches`, whose arrays hold the batches of all `seeds` along a new axis.

    Its state is that of `train_batches` at the same batch. A batch that several seeds share is made once.
    """
    _check(source, batch_size)
    return _one_by_one(_Together(source, batch_size, seeds))


def evaluation_batches(source: Source, *, batch_size: int, rows: slice = slice(None)) -> Iterable[Batch]:
    """Returns the batches of one pass in order; each use of the result is a new pass.

    The last batch is filled up with copies of the last example, of weight 0. `batch_size` and `rows` are
    those of `train_batches`, but here a batch may be larger than the set.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    return _prefetched(_EvaluationBatches(source, batch_size, rows), ahead=2)


def _check(source: Source, batch_size: int) -> None:
    if not 1 <= batch_size <= len(source):
        raise ValueError(
            f"batch_size is {batch_size:,}, but must lie between 1 and the {len(source):,} examples of the "
            "training split. Choose a smaller batch_size or a larger split."
        )


def _prefetched(made, ahead: int) -> "grain.IterDataset":
    # One thread, because making a batch holds Python's lock: two are slower (MNIST's first epoch by half).
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=ahead)
    return grain.MapDataset.source(made).to_iter_dataset(options)


def _one_by_one(chunks) -> "grain.DatasetIterator":
    class Apart(grain.experimental.FlatMapTransform):
        max_fan_out = CHUNK

        def flat_map(self, chunk: list[Batch]) -> list[Batch]:
            return chunk

    return iter(grain.experimental.FlatMapIterDataset(_prefetched(chunks, ahead=1), Apart()))


class _TrainChunks:
    """Batches n * CHUNK to (n + 1) * CHUNK of training, for any n: one call of the source, cut apart."""

    def __init__(self, source: Source, batch_size: int, seed: int, rows: slice):
        self._source = source
        self._batch_size = batch_size
        self._seed = seed
        self._rows = rows
        # Two epochs, because a chunk begins in the one in which the last chunk ended.
        self._order = lru_cache(maxsize=2)(self._shuffle)

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, number: int) -> list[Batch]:
        numbers = range(number * CHUNK, (number + 1) * CHUNK)
        positions = np.arange(numbers.start * self._batch_size, numbers.stop * self._batch_size)
        positions = positions.reshape(CHUNK, self._batch_size)[:, self._rows]
        epochs, places = np.divmod(positions.ravel(), len(self._source))
        passed = range(epochs[0], epochs[-1] + 1)
        indices = np.concatenate([self._order(epoch)[places[epochs == epoch]] for epoch in passed])
        draws = np.concatenate([self._draw(number) for number in numbers]) if self._source.draws else None
        return _cut(self._source.examples(indices, draws), positions.shape[1])

    def _shuffle(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self._seed, 0, epoch]).permutation(len(self._source))

    def _draw(self, number: int) -> np.ndarray:
        # Drawn for the global batch, so that a row's numbers do not depend on how rows are shared out.
        generator = np.random.default_rng([self._seed, 1, number])
        return generator.random((self._batch_size, self._source.draws))[self._rows]


class _Together:
    """The same chunk of several runs, stacked batch by batch."""

    def __init__(self, source: Source, batch_size: int, seeds: Sequence[int]):
        self._runs = {seed: _TrainChunks(source, batch_size, seed, slice(None)) for seed in seeds}
        self._seeds = seeds

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, number: int) -> list[Batch]:
        made = {seed: run[number] for seed, run in self._runs.items()}
        return [_stacked(parts) for parts in zip(*(made[seed] for seed in self._seeds))]


def _cut(chunk: Batch, size: int) -> list[Batch]:
    def part(values, start: int):
        if isinstance(values, dict):
            return {name: part(value, start) for name, value in values.items()}
        return values[start : start + size]

    return [part(chunk, number * size) for number in range(CHUNK)]


def _stacked(parts: Sequence):
    if isinstance(parts[0], dict):
        return {name: _stacked([part[name] for part in parts]) for name in parts[0]}
    return np.stack(parts)


class _EvaluationBatches:
    """Batch n of one pass in order."""

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
