"""What a family costs: parameters, FLOPs, memory and speed of its compiled programs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
import statistics
import time

import jax
import numpy as np

from data.pipeline import train_batches
from experiments.benchmark.suite import config_digest
from train import Run
from training.flops import of_jaxpr
from training.report import memory
from training.step import make_evaluation_step, make_train_step
from training.workdir import environment

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


def measure(config: Mapping) -> Cost:
    """Returns the cost of a run of this config. Measures speeds, so nothing else should run on the machine."""
    run = Run.of(config)
    batch_size = run.fields.batch_size
    structure, create = run.initialise()
    state = jax.jit(create)(jax.random.key(0))
    parameters = sum(x.size for x in state.parameters.values())
    batch = next(train_batches(run.dataset.train, batch_size=batch_size, seed=0))
    step = make_train_step(structure, run.objective, run.optimizer, **run.fields.step_options)
    traced = jax.jit(step, donate_argnums=0).trace(state, batch)
    evaluation = jax.jit(make_evaluation_step(structure, run.objective)).trace(state.parameters, batch)
    train, forward = traced.lower().compile(), evaluation.lower().compile()
    of_training, of_evaluation = of_jaxpr(traced.jaxpr), of_jaxpr(evaluation.jaxpr)
    batch = jax.device_put(batch)

    def train_once():
        nonlocal state
        state, metrics = train(state, batch)
        return metrics

    return Cost(
        parameters=parameters,
        train_flops=of_training.products / batch_size,
        forward_flops=of_evaluation.products / batch_size,
        elementwise=of_training.elementwise / batch_size,
        memory=memory(train),
        inference_speed=batch_size / _seconds(lambda: forward(state.parameters, batch)),
        train_speed=batch_size / _seconds(train_once),
        config_digest=config_digest(config),
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
