"""What a classifier, tagger or regressor answers: probabilities of classes, or numbers, batch by batch."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from core.errors import UserError
from core.parameters import Parameters, merge, split
from data.dataset import Batch, Source
from data.pipeline import evaluation_batches
from experiments.use.opened import Opened, describe
from models.protocols import LatentVariable
from objectives.interface import call
from objectives.noise import keys_of_examples, noise_of_examples


@dataclass(frozen=True)
class Answers:
    """The answers to one batch, without what only filled it up.

    Attributes:
      values: probabilities (B, C), of each element (B, T, C) or of each pixel (B, R, X, C); or numbers (B, ...).
      batch: the examples. Its weights are 0 for elements that do not count, such as padding.
    """

    values: np.ndarray
    batch: Batch


def answers(opened: Opened, source: Source, *, batch_size: int) -> Iterator[Answers]:
    """Yields the answers of a model to all examples of a source, in their order.

    Args:
      batch_size: examples at once. Each batch has as many, so one program answers all.

    Raises:
      UserError: the model is neither a classifier, nor a tagger, nor a regressor, or does not take these inputs.
    """
    compute = respond(opened)
    structure, parameters = split(opened.model)
    program = jax.jit(lambda parameters, inputs: compute(merge(structure, parameters), inputs))
    size = min(batch_size, len(source))
    for number, batch in enumerate(evaluation_batches(source, batch_size=size)):
        examples = slice(len(source) - number * size)  # the last batch is filled up
        values = np.asarray(_called(program, parameters, batch["inputs"], opened))[examples]
        yield Answers(values, jax.tree.map(itemgetter(examples), batch))


def respond(opened: Opened) -> Callable[[Any, Mapping[str, Any]], jax.Array]:
    """Returns the function from a model and named inputs to probabilities of classes, or to numbers.

    Raises:
      UserError: the model is neither a classifier, nor a tagger, nor a regressor.
    """
    model = opened.model
    if opened.classes is None:
        regresses = opened.run is not None and opened.run.config["objective"]["name"] == "regression"
        if not regresses:
            raise UserError(f"{describe(opened)}, which predicts neither classes nor numbers")
        return lambda model, inputs: call(model, inputs, None)
    if isinstance(model, LatentVariable):
        settings = opened.run.config["objective"] if opened.run else {}
        return lambda model, inputs: _mean_over_draws(model, inputs, settings.get("evaluation_samples", 1))
    return lambda model, inputs: jax.nn.softmax(call(model, inputs, None).astype(jnp.float32))


def _mean_over_draws(model: Any, inputs: Mapping[str, Any], samples: int) -> jax.Array:
    """The probabilities of classes, averaged over the draws of the latents that evaluation uses."""
    mean_BZ, log_variance_BZ = call(model.encode, inputs, None)
    keys_B = keys_of_examples(inputs)

    def draw(number):
        noise_BZ = noise_of_examples(keys_B, number, mean_BZ.shape[1:])
        return jax.nn.softmax(model.decode(mean_BZ + jnp.exp(log_variance_BZ / 2) * noise_BZ)["logits"])

    return jax.lax.map(draw, jnp.arange(samples)).mean(0)


def _called(program: Callable, parameters: Parameters, inputs: Mapping[str, Any], opened: Opened) -> jax.Array:
    try:
        return program(parameters, inputs)
    except UserError as error:
        raise UserError(f"{describe(opened)}: {error}") from error
