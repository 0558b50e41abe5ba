"""Rearranges labelled examples into what an architecture reads: the class as a class, as a token, or as a sequence.

An image is read as the sequence of its intensities, row by row; a sequence of tokens stays as it is.

  form          inputs                               targets                                   for
  plain         the images, or the tokens            the class                                 models that read these
  class         [CLS], then the tokens               the class                                 an encoder
  next_token    the tokens                           the class, as the token after the last    a decoder
  answer        the tokens, as the source            the class, as a sequence of one token     an encoder-decoder
  density       the image without its last pixel     every pixel, from those before it         a decoder
  second_half   the same                             every pixel of the second half            a decoder
  halves        the first half, as the source        the second half                           an encoder-decoder
  pair          the image and a sentence about it    the class                                 CLIP: `data.prompts`
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
import math
from typing import Any

import numpy as np

from core.errors import UserError, shown
from data.dataset import Batch, Dataset, Reading, Source
from data.prompts import with_prompts


def in_form(dataset: Dataset, form: str, levels: int = 0) -> Dataset:
    """Returns a set of labelled images or sequences in another form, see the table above.

    With V tokens, class c becomes token V + c where it follows the tokens. Token V is also [CLS], and begins an image.
    A sequence of classes begins with token C, the number of classes.

    Args:
      dataset: images or sequences, with their classes as targets.
      form: one of the table above.
      levels: the number of intensities of images, V; see `data.images.Images`.

    Raises UserError for an unknown form, and for examples that do not have the form.
    """
    if form == "plain":
        return dataset
    if form == "pair":
        return with_prompts(dataset)
    if form not in _FORMS:
        raise UserError(f"form = {shown(form)}: expected one of plain, pair, {', '.join(_FORMS)}.")
    arrange, form_facts, only_images = _FORMS[form]
    facts, is_images = dataset.facts, "image_shape" in dataset.facts
    if only_images and not is_images:
        raise UserError(f"form = {form!r} is for images, and these are sequences. Choose class, next_token or answer.")
    if "classes" not in facts:
        raise UserError(f"form = {form!r} needs the labels: leave targets = 'labels'.")
    length, vocab_size = (
        (math.prod(facts["image_shape"]), levels) if is_images else (facts["context"], facts["vocab_size"])
    )
    arrange = partial(arrange, vocab_size=vocab_size, classes=facts["classes"])
    reading = dataset.reading
    if reading is not None:
        read = reading.source
        reading = Reading(reading.kind, lambda items: RearrangedSource(read(items), arrange, levels))
    return replace(
        dataset,
        facts=form_facts(length, vocab_size, facts["classes"]),
        train=RearrangedSource(dataset.train, arrange, levels),
        evaluation=RearrangedSource(dataset.evaluation, arrange, levels),
        classes=dataset.classes,
        reading=reading,
    )


class RearrangedSource:
    """A source of sequences, made from a source of labelled images or sequences.

    Args:
      source: of images, or of tokens and their mask; the targets are labels.
      arrange: makes a batch from tokens (B, S), their mask (B, S) or None, and labels (B,).
      levels: the number of intensities of an image.
    """

    def __init__(self, source: Source, arrange: Callable, levels: int):
        self.draws = source.draws
        self._source, self._arrange, self._levels = source, arrange, levels

    def __len__(self) -> int:
        return len(self._source)

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, see `data.dataset.Source`."""
        return self._source.identity()

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        batch = self._source.examples(indices, draws)
        inputs = batch["inputs"]
        if "images" in inputs:
            tokens, mask = np.rint(inputs["images"] * (self._levels - 1)).astype(np.int32), None
        else:
            tokens, mask = inputs["tokens"], inputs["mask"]
        return self._arrange(tokens.reshape(len(tokens), -1), mask, batch["targets"])


# ---- the forms: how a batch is made, and what a model must agree with -----------------------------------------------


def _class(tokens, mask, labels, *, vocab_size, classes) -> Batch:
    inputs = {"tokens": _prepend(vocab_size, tokens)} | ({} if mask is None else {"mask": _prepend(True, mask)})
    return {"inputs": inputs, "targets": labels, "weights": np.ones(len(tokens), np.float32)}


def _next_token(tokens, mask, labels, *, vocab_size, classes) -> Batch:
    # The padding comes after the last token, where a causal model does not see it.
    rows, last = np.arange(len(tokens)), -1 if mask is None else mask.sum(axis=1) - 1
    targets, weights = np.zeros_like(tokens), np.zeros(tokens.shape, np.float32)
    targets[rows, last], weights[rows, last] = vocab_size + labels, 1
    return {"inputs": {"tokens": tokens}, "targets": targets, "weights": weights}


def _answer(tokens, mask, labels, *, vocab_size, classes) -> Batch:
    start = np.full((len(tokens), 1), classes, np.int32)
    inputs = {"source": tokens, "tokens": start} | ({} if mask is None else {"source_mask": mask})
    return {"inputs": inputs, "targets": labels[:, None], "weights": np.ones(start.shape, np.float32)}


def _density(tokens, mask, labels, *, vocab_size, classes) -> Batch:
    inputs = {"tokens": _prepend(vocab_size, tokens[:, :-1])}
    return {"inputs": inputs, "targets": tokens, "weights": np.ones(tokens.shape, np.float32)}


def _second_half(tokens, mask, labels, **sizes) -> Batch:
    batch = _density(tokens, mask, labels, **sizes)
    batch["weights"][:, : tokens.shape[1] // 2] = 0
    return batch


def _halves(tokens, mask, labels, *, vocab_size, classes) -> Batch:
    first, second = np.split(tokens, [tokens.shape[1] // 2], axis=1)
    batch = _density(second, mask, labels, vocab_size=vocab_size, classes=classes)
    return batch | {"inputs": batch["inputs"] | {"source": first}}


def _prepend(first, rows):
    """Returns `rows` (B, S) with `first` in front of each, (B, 1 + S)."""
    return np.concatenate([np.full((len(rows), 1), first, rows.dtype), rows], axis=1)


# form -> how a batch is made; the facts, from S tokens per example, V different ones, C classes; only for images?
_FORMS = {
    "class": (_class, lambda S, V, C: {"context": S + 1, "vocab_size": V + 1, "classes": C}, False),
    "next_token": (_next_token, lambda S, V, C: {"context": S, "vocab_size": V + C}, False),
    "answer": (
        _answer,
        lambda S, V, C: {"source_context": S, "source_vocab_size": V, "context": 1, "vocab_size": C + 1},
        False,
    ),
    "density": (_density, lambda S, V, C: {"context": S, "vocab_size": V + 1}, True),
    "second_half": (_second_half, lambda S, V, C: {"context": S, "vocab_size": V + 1}, True),
    "halves": (
        _halves,
        lambda S, V, C: {
            "source_context": S // 2, "source_vocab_size": V + 1, "context": S - S // 2, "vocab_size": V + 1,
        },
        True,
    ),
}  # fmt: skip
