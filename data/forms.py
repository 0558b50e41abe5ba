"""Labelled examples in the form that an architecture reads: with the class as a class, a next token, or a sequence.

An image is read as a sequence of its intensities, row by row; a sequence of tokens stays what it is.

  form          what goes in                         what must come out                        for
  plain         the images, or the tokens            the class                                 all that read these
  class         [CLS], then the tokens               the class                                 an encoder
  next_token    the tokens                           the class, as the token after the last    a decoder
  answer        the tokens as the source             the class, as a sequence of one token     an encoder-decoder
  density       the image but for its last pixel     every pixel, from those before it         a decoder
  second_half   the same                             every pixel of the second half            a decoder
  halves        the first half as the source         the second half                           an encoder-decoder
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
import math

import numpy as np

from data.dataset import Batch, Dataset, Source


def formed(dataset: Dataset, form: str, levels: int = 0) -> Dataset:
    """Returns a set of labelled images or sequences in another form.

    The class c is the token V + c where it comes after V tokens. V also stands for [CLS], and for the beginning of an
    image; a sequence of classes begins with the token C. `levels` is V of images: see `data.images.Images`.

    Raises ValueError where there is no such form, or the examples do not have it.
    """
    if form == "plain":
        return dataset
    if form not in _FORMS:
        raise ValueError(f"form must be one of plain, {', '.join(_FORMS)}, got {form!r}.")
    arrange, facts, only_images = _FORMS[form]
    known, images = dataset.facts, "image_shape" in dataset.facts
    if only_images and not images:
        raise ValueError(
            f"form = {form!r} is for images: what comes before, a pixel has, and a padded sequence has not."
        )
    if "classes" not in known:
        raise ValueError(f"form = {form!r} needs the labels: leave targets = 'labels'.")
    length, vocab_size = (
        (math.prod(known["image_shape"]), levels) if images else (known["context"], known["vocab_size"])
    )
    arrange = partial(arrange, vocab_size=vocab_size, classes=known["classes"])
    return replace(
        dataset,
        facts=facts(length, vocab_size, known["classes"]),
        train=Formed(dataset.train, arrange, levels),
        evaluation=Formed(dataset.evaluation, arrange, levels),
    )


class Formed:
    """A source of sequences, made from one of labelled images or sequences.

    Args:
      arrange: makes a batch from tokens (B, S), their mask (B, S) or None, and labels (B,).
      levels: intensities of an image.
    """

    def __init__(self, source: Source, arrange: Callable, levels: int):
        self.draws = source.draws
        self._source, self._arrange, self._levels = source, arrange, levels

    def __len__(self) -> int:
        return len(self._source)

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
    inputs = {"tokens": _after(vocab_size, tokens)} | ({} if mask is None else {"mask": _after(True, mask)})
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
    inputs = {"tokens": _after(vocab_size, tokens[:, :-1])}
    return {"inputs": inputs, "targets": tokens, "weights": np.ones(tokens.shape, np.float32)}


def _second_half(tokens, mask, labels, **sizes) -> Batch:
    batch = _density(tokens, mask, labels, **sizes)
    batch["weights"][:, : tokens.shape[1] // 2] = 0
    return batch


def _halves(tokens, mask, labels, *, vocab_size, classes) -> Batch:
    first, second = np.split(tokens, [tokens.shape[1] // 2], axis=1)
    batch = _density(second, mask, labels, vocab_size=vocab_size, classes=classes)
    return batch | {"inputs": batch["inputs"] | {"source": first}}


def _after(first, x):
    """`x` (B, S) with `first` in front of each row."""
    return np.concatenate([np.full((len(x), 1), first, x.dtype), x], axis=1)


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
