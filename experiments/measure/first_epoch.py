"""Compares the first epoch, in which files are decoded, with later ones: `python -m experiments.speed epochs`."""

from collections.abc import Callable, Iterator
from pathlib import Path
import runpy
import time
from typing import Any, TypeVar

import jax
from rich.table import Table

from core.errors import UserError
from data.dataset import Batch
from data.pipeline import CHUNK, train_batches
from train import Run
from training.step import make_train_step

_Item = TypeVar("_Item")
_TAKES = 4  # parts of the first epoch: the pipeline alone, a warm-up, both together, and what is prepared in advance


def measure_epochs(configs: list[str], *, seconds: float = 10.0) -> Table:
    """Returns examples a second of the data pipeline alone and of training, in the first epoch and in a later one.

    All of it happens on one device, without evaluation. The later epoch is the same batches once more, which a source
    that keeps what it decodes has in memory then. The columns are the examples a second of the compiled step, of the
    pipeline, of both together, and the share of the time in which the loop waits for a batch.

    Args:
      configs: config files.
      seconds: how long each is measured at most. The first epoch may end before.

    Raises:
      UserError: an epoch has too few batches.
    """
    table = Table("config", "epoch", box=None)
    for column in ("step alone", "pipeline alone", "both", "waits"):
        table.add_column(column, justify="right")
    for config in configs:
        for name, rates in epoch_rates(config, seconds).items():
            *numbers, waits = rates
            table.add_row(Path(config).name, name, *(f"{number:,.0f}/s" for number in numbers), f"{waits:.1%}")
    return table


def epoch_rates(config: str, seconds: float) -> dict[str, tuple[float, float, float, float]]:
    """Returns (step alone, pipeline alone, both: examples a second; share that waits) by "first" and "later"."""
    this = Run.of(runpy.run_path(config)["get_config"]())
    fields = this.fields
    most = len(this.dataset.train) // fields.batch_size // _TAKES
    if most < 1:
        raise UserError(f"{config}: an epoch has fewer than {_TAKES} batches. Choose a smaller batch_size.")
    structure, create = this.initialise()
    step = make_train_step(structure, this.objective, this.optimizer, **fields.step_options)
    step = jax.jit(step, donate_argnums=0)
    state = jax.jit(create)(jax.random.key(fields.seed))

    def train(batch: Batch) -> Any:
        nonlocal state
        state, metrics = step(state, jax.device_put(batch))
        return metrics

    opened = lambda: train_batches(this.dataset.train, batch_size=fields.batch_size, seed=fields.seed)
    first = opened()
    batch = next(first)
    jax.block_until_ready(train(batch))  # compiled
    count, took, _ = taken(iter(lambda: batch, None), train, most, seconds)
    alone = count / took
    rates, numbers = {}, (most, most)
    for name, batches in (("first", first), ("later", opened())):
        pipeline, pipeline_took, _ = taken(batches, lambda batch: None, numbers[0], seconds)
        taken(batches, train, min(2 * CHUNK, most), seconds)  # those that were prepared before
        both, both_took, waited = taken(batches, train, numbers[1], seconds)
        numbers = pipeline, both  # the later epoch may only read what the first one has read
        speeds = (alone, pipeline / pipeline_took, both / both_took)
        rates[name] = (*(speed * fields.batch_size for speed in speeds), waited / both_took)
    return rates


def taken(
    batches: Iterator[_Item], use: Callable[[_Item], Any], most: int, seconds: float
) -> tuple[int, float, float]:  # fmt: skip
    """Uses up to `most` batches for up to about `seconds`. Returns their number, the seconds, and those spent waiting.

    As in training, the result of a batch is awaited after the next one was given to the devices.
    """
    began, waited, count, last = time.perf_counter(), 0.0, 0, None
    while count < most and (time.perf_counter() - began < seconds or not count):
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        result, count = use(batch), count + 1
        jax.block_until_ready(last)
        last = result
    jax.block_until_ready(last)
    return count, time.perf_counter() - began, waited
