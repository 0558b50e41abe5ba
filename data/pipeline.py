"""From a source to batches: order, randomness, the share of this process, prefetching.

Every batch follows from (seed, batch number) alone. So a run goes on exactly where it stopped, and any number
of processes see together what one process sees. Grain runs over batch numbers, not over examples: its own
shuffle works example by example, and small nets would wait for it.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
import sys

from etils import epy
import numpy as np

from data.dataset import Batch, Source

with epy.lazy_imports():  # what is wrong with a config is said before this loads
    import grain


def train_batches(
    source: Source, *, batch_size: int, seed: int, rows: slice = slice(None), prefetch: int = 8
) -> "grain.DatasetIterator":
    """Returns an endless iterator over shuffled, augmented batches.

    Every example comes once an epoch, in an order that follows from (seed, epoch). Batches run across the
    borders of epochs, so all of them are full. `get_state()` and `set_state()` hold the place as plain JSON.

    Args:
      batch_size: examples in the global batch.
      rows: the share of the global batch that this process gets.
      prefetch: how many batches are made ahead, in a thread of their own.

    Raises:
      ValueError: the batch is larger than the set.
    """
    _check(source, batch_size)
    batches = _TrainBatches(source, batch_size, seed, rows)
    return iter(_prefetched(batches, prefetch))


def population_batches(
    source: Source, *, batch_size: int, seeds: Sequence[int], prefetch: int = 8
) -> "grain.DatasetIterator":
    """Returns an iterator like that of `train_batches`, whose arrays hold the batches of all `seeds` along a new axis.

    Its state is that of `train_batches` at the same batch. A batch that several seeds share is made once.
    """
    _check(source, batch_size)
    return iter(_prefetched(_Together(source, batch_size, seeds), prefetch))


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


def _prefetched(batches, ahead: int) -> "grain.IterDataset":
    # One thread, because making a batch holds Python's lock: two are slower (MNIST's first epoch by half).
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=ahead)
    return grain.MapDataset.source(batches).to_iter_dataset(options)


class _TrainBatches:
    """Batch n of training, for any n."""

    def __init__(self, source: Source, batch_size: int, seed: int, rows: slice):
        self._source = source
        self._batch_size = batch_size
        self._seed = seed
        self._rows = rows
        # Two epochs, because one batch can touch two.
        self._order = lru_cache(maxsize=2)(self._shuffle)

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, number: int) -> Batch:
        positions = np.arange(number * self._batch_size, (number + 1) * self._batch_size)[self._rows]
        epochs, places = np.divmod(positions, len(self._source))
        indices = np.concatenate([self._order(epoch)[places[epochs == epoch]] for epoch in np.unique(epochs)])
        return self._source.examples(indices, self._draw(number))

    def _shuffle(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self._seed, 0, epoch]).permutation(len(self._source))

    def _draw(self, number: int) -> np.ndarray | None:
        if not self._source.draws:
            return None
        # Drawn for the global batch, so that a row's numbers do not depend on how rows are shared out.
        generator = np.random.default_rng([self._seed, 1, number])
        return generator.random((self._batch_size, self._source.draws))[self._rows]


class _Together:
    """Batch n of several runs, stacked."""

    def __init__(self, source: Source, batch_size: int, seeds: Sequence[int]):
        self._runs = {seed: _TrainBatches(source, batch_size, seed, slice(None)) for seed in seeds}
        self._seeds = seeds

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, number: int) -> Batch:
        made = {seed: run[number] for seed, run in self._runs.items()}
        return _stacked([made[seed] for seed in self._seeds])


def _stacked(parts: list):
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
