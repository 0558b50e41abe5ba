"""What trials cost, counted before any of them runs."""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from experiments.measure import preflight
from experiments.sweep import population, runner
from experiments.sweep.trials import Trial
from train import Run
from training.flops import count
from training.step import make_train_step


def flops_of(run: Run) -> float:
    """Returns the operations of matrix products and convolutions in one train step of a run. Nothing is compiled."""
    structure, create = run.initialise()
    state = jax.eval_shape(create, jax.random.key(0))
    resize = lambda x: jax.ShapeDtypeStruct((run.fields.batch_size, *x.shape[1:]), x.dtype)
    batch = jax.tree.map(resize, run.dataset.train.examples(np.arange(1)))
    step = make_train_step(structure, run.objective, run.optimizer, **run.fields.step_options)
    return count(step, state, batch).products


def flops_of_trials(trials: Sequence[Trial]) -> float:
    """Returns those of all steps of trials. Trials that differ only in numbers are counted once."""
    total = 0.0
    for kind in population.groups([runner.request(trial) for trial in trials]):
        run = Run.of(population.read(kind[0]))
        total += len(kind) * run.fields.steps * flops_of(run)
    return total


def times_of_trials(trials: Sequence[Trial], topologies: Sequence[str]) -> list[str]:
    """Returns a line for each accelerator: the least time of all trials, one after the other, and the largest memory.

    The train step of each kind of trial is compiled for it, see `experiments.measure.preflight`.

    Raises:
      UserError: there is no such topology, or a trial cannot be divided among its devices.
    """
    kinds = population.groups([runner.request(trial) for trial in trials])
    runs = [Run.of(population.read(kind[0])) for kind in kinds]
    lines = []
    for topology in topologies:
        estimates = [preflight.estimate(run, topology) for run in runs]
        refused = [(kind[0], own.problem) for kind, own in zip(kinds, estimates) if not own.fits]
        if refused:
            trial, problem = refused[0]
            lines.append(f"on {topology}: {Path(trial['workdir']).name} does not fit. {problem}".rstrip())
            continue
        seconds = sum(len(kind) * own.steps * own.step_seconds for kind, own in zip(kinds, estimates))
        memory = max(sum(own.memory.values()) for own in estimates)
        lines.append(
            f"on {topology}: at least {preflight.duration(seconds)} one after the other; the largest takes "
            f"{preflight.short(memory)}B of {preflight.short(estimates[0].available)}B on each device"
        )
    return lines
