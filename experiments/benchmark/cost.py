"""What a family costs: parameters, FLOPs, memory and speed of its compiled programs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
import statistics
import time

import jax
import numpy as np

from core.errors import UserError
from data.pipeline import train_batches
from experiments.benchmark.suite import config_digest
from train import Run
from training.checkpoints import Checkpoints
from training.flops import Flops, of_jaxpr
from training.report import memory
from training.state import TrainState
from training.step import Batch, make_evaluation_step, make_train_step
from training.workdir import environment, read_config

SECONDS = 1.0  # for which a speed is measured


@dataclass(frozen=True)
class Cost:
    """What a config costs.

    Attributes:
      parameters: their number.
      train_flops, forward_flops: per example, of the matrix products and convolutions in the train step and in the
        evaluation, see `training.flops`.
      elementwise: all other arithmetic operations in the train step, per example.
      memory: bytes, peak of the train step as the compiler plans it.
      train_speed, inference_speed: examples per second.
      environment: on what it was measured, see `training.workdir.environment`.
    """

    parameters: int
    train_flops: float
    forward_flops: float
    elementwise: float
    memory: int
    inference_speed: float
    train_speed: float
    config_digest: str
    environment: Mapping


@dataclass(frozen=True)
class Compiled:
    """The programs of a complete run, and what they work on."""

    config: Mapping
    train: jax.stages.Compiled
    forward: jax.stages.Compiled
    of_training: Flops
    of_evaluation: Flops
    state: TrainState
    batch: Batch


def compiled(workdir: Path) -> Compiled:
    """Returns the programs of a complete run. Several runs may be compiled at a time.

    Raises UserError if the run has no checkpoint.
    """
    config = read_config(workdir)
    run = Run.of(config)
    structure, create = run.initialise()
    checkpoint = Checkpoints(workdir / "checkpoints", read_only=True).restore(jax.eval_shape(create, jax.random.key(0)))
    if checkpoint is None:
        raise UserError(f"{workdir} has no checkpoint. Remove the folder to run it again")
    _, state, _ = checkpoint
    batch = next(train_batches(run.dataset.train, batch_size=run.fields.batch_size, seed=0))
    step = make_train_step(structure, run.objective, run.optimizer, **run.fields.step_options)
    train = jax.jit(step, donate_argnums=0).trace(state, batch)
    forward = jax.jit(make_evaluation_step(structure, run.objective)).trace(state.parameters, batch)
    counted = of_jaxpr(train.jaxpr), of_jaxpr(forward.jaxpr)
    return Compiled(config, train.lower().compile(), forward.lower().compile(), *counted, state, jax.device_put(batch))


def measure(programs: Compiled) -> Cost:
    """Returns the cost of a run. Measures speeds, so nothing else should run on the machine."""
    state, batch, batch_size = programs.state, programs.batch, programs.config["batch_size"]

    def train_once():
        nonlocal state
        state, metrics = programs.train(state, batch)
        return metrics

    parameters = sum(x.size for x in state.parameters.values())
    inference_speed = batch_size / _seconds(lambda: programs.forward(state.parameters, batch))
    return Cost(
        parameters=parameters,
        train_flops=programs.of_training.products / batch_size,
        forward_flops=programs.of_evaluation.products / batch_size,
        elementwise=programs.of_training.elementwise / batch_size,
        memory=memory(programs.train),
        inference_speed=inference_speed,
        train_speed=batch_size / _seconds(train_once),
        config_digest=config_digest(programs.config),
        environment=environment(),
    )


def _seconds(call: Callable) -> float:
    """The median time of a call, of as many calls as fit into about `SECONDS`."""
    for _ in range(2):
        jax.block_until_ready(call())
    times, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return float(np.float64(statistics.median(times)))
