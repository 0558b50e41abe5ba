"""Sentences around the names of classes, as in "a picture of a sneaker": texts for labelled images.

Radford et al. 2021, section 3.1.4, call them prompts, and average the vectors of several prompts for each class.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from core.errors import UserError
from data.dataset import Batch, Dataset, Source
from data.subwords import BOS, EOS, PAD, Subwords, vocabulary_of_words

TEMPLATES = ("a {}", "a picture of a {}", "a {} in a picture", "here you see one {}", "this is a small {}")


def with_prompts(dataset: Dataset, names: Sequence[str] | None = None) -> Dataset:
    """Returns a set of labelled images as pairs of an image and a sentence about it.

    The inputs are "images", "tokens", int32 (B, T), with a sentence between [BOS] and [EOS], and "mask", False at the
    padding behind it. The targets are the classes. In training each draw has one of `TEMPLATES`, in evaluation the
    first one. Words are the tokens, in lower case.

    Args:
      dataset: images with their classes as targets.
      names: what the targets stand for, where training images have more than the classes: these come first.

    Raises UserError where the examples are not images, or their classes have no names.
    """
    classes = expect_named_images(dataset)
    names = classes if names is None else names
    texts = prompts(names)
    vocabulary = vocabulary_of_words(words_of(texts))
    tokens, mask = (x.reshape(len(names), len(TEMPLATES), -1) for x in framed(vocabulary, texts))
    return replace(
        dataset,
        facts={
            "image_shape": dataset.facts["image_shape"], "vocab_size": len(vocabulary), "context": tokens.shape[-1]
        },
        train=PromptedSource(dataset.train, tokens, mask),
        evaluation=PromptedSource(dataset.evaluation, tokens, mask),
        vocabulary=vocabulary,
    )  # fmt: skip


def expect_named_images(dataset: Dataset) -> tuple[str, ...]:
    """Returns the names of the classes of images. Raises UserError where there are no images, classes or names."""
    if not {"image_shape", "classes"} <= dataset.facts.keys() or dataset.classes is None:
        raise UserError("sentences need images whose classes have names: leave targets = 'labels', or form out.")
    return dataset.classes


def prompts(classes: Sequence[str], templates: Sequence[str] = TEMPLATES) -> list[str]:
    """Returns the sentences of all templates for the first class, then for the next, in lower case.

    Raises UserError for a template without the place of the class, {}.
    """
    for template in templates:
        if template.count("{}") != 1:
            raise UserError(f"the template {template!r} has not one place for the class: expected such as 'a {{}}'.")
    return [template.replace("{}", name).lower() for name in classes for template in templates]


def words_of(texts: Sequence[str]) -> list[str]:
    """Returns the words of texts, each once, sorted."""
    return sorted({word for text in texts for word in text.split()})


def framed(vocabulary: Subwords, texts: Sequence[str], length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Returns [BOS] text [EOS] as int32 (N, length) with padding, and its mask, bool, False at padding.

    Without `length`, it is that of the longest. Raises UserError for a text that is longer.
    """
    rows = [np.concatenate([[BOS], tokens, [EOS]]) for tokens in vocabulary.encode_all(list(texts))]
    longest = max(range(len(rows)), key=lambda number: len(rows[number]))
    length = len(rows[longest]) if length is None else length
    if len(rows[longest]) > length:
        raise UserError(f"{texts[longest]!r} has {len(rows[longest])} tokens with [BOS] and [EOS]: at most {length}.")
    mask = np.arange(length) < np.array([len(row) for row in rows])[:, None]
    tokens = np.full(mask.shape, PAD, np.int32)
    tokens[mask] = np.concatenate(rows)
    return tokens, mask


class PromptedSource:
    """A source of pairs of an image and a sentence, made from a source of labelled images.

    Args:
      source: of images; the targets are numbers of what is in them.
      tokens, mask: of the sentences about that, (numbers, templates, T).
    """

    def __init__(self, source: Source, tokens: np.ndarray, mask: np.ndarray):
        self.draws = source.draws + 1  # the last one chooses the template
        self._source, self._tokens, self._mask = source, tokens, mask

    def __len__(self) -> int:
        return len(self._source)

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, see `data.dataset.Source`."""
        return self._source.identity()

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        template = np.zeros(len(indices), int)
        if draws is not None:
            template, draws = (draws[:, -1] * self._tokens.shape[1]).astype(int), draws[:, :-1]
        batch = self._source.examples(indices, draws if self._source.draws else None)
        labels = batch["targets"]
        texts = {"tokens": self._tokens[labels, template], "mask": self._mask[labels, template]}
        return batch | {"inputs": batch["inputs"] | texts}
