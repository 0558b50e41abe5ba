"""What trials cost, counted before any of them runs."""

from collections.abc import Sequence

import jax
import numpy as np

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
