"""What trials may be compared by: metrics as "split/name", and which way each is better."""

from functools import partial

import jax
import numpy as np

from core.errors import UserError, shown
from core.metrics import measured_by, refuse_unknown
from objectives import BETTER
from train import Run
from training.log import Log
from training.programs import check_fit
from training.step import make_evaluation_step, make_train_step

NAMES = {**BETTER, **measured_by(make_train_step), **measured_by(Log.train), "learning_rate": ""}
"""Whether "min" or "max" is better, for all metrics that are computed anywhere; empty if neither is."""


def better_of(metric: str, place: str = "METRIC") -> str:
    """Returns whether the "min" or the "max" of a metric is better; `place` is where it was named, for messages.

    Raises:
      UserError: it is no "split/name", nothing computes it, or neither is better.
    """
    split, name = _split(metric, place)
    refuse_unknown(f"{place} =", metric, (f"{split}/{each}" for each in NAMES))
    if not NAMES[name]:
        raise UserError(f"{place} = {metric!r}: neither a low nor a high one is better. Say which: BETTER, or --better")
    return NAMES[name]


def refuse_not_computed(metric: str, run: Run, place: str = "METRIC") -> None:
    """Raises UserError if a run does not compute a metric, "split/name". Nothing is trained or compiled."""
    split, evaluation = _split(metric, place)[0], run.dataset.evaluation_name
    if split not in ("train", evaluation):
        raise UserError(f"{place} = {metric!r}: expected {evaluation}/<name>, or train/<name>")
    structure, create = run.initialise()
    state, batch = jax.eval_shape(create, jax.random.key(0)), run.dataset.train.examples(np.arange(1))
    evaluate = partial(jax.eval_shape, make_evaluation_step(structure, run.objective))
    names = set(check_fit(evaluate, state.parameters, batch, run.fields))
    if split == "train":
        step = make_train_step(structure, run.objective, run.optimizer, freeze=run.fields.freeze)
        names = {*jax.eval_shape(step, state, batch)[1], *measured_by(Log.train), "learning_rate"}
    refuse_unknown(f"{place} =", metric, (f"{split}/{name}" for name in names))


def _split(metric: object, place: str) -> tuple[str, str]:
    """The split and the name of a metric. Raises UserError unless it is a text "split/name"."""
    split, _, name = metric.rpartition("/") if isinstance(metric, str) else ("", "", "")
    if not (split and name):
        raise UserError(f"{place} = {shown(metric)}: expected a split and a name, such as validation/loss")
    return split, name
