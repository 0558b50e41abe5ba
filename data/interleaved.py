"""Texts with images in them: each image is followed by a sentence about it. For Flamingo, and for its language model.

    [IMAGE] a red circle [EOS] [IMAGE] a blue square [EOS]
"""

from dataclasses import replace
from typing import Any

import numpy as np

from data.dataset import Batch, Dataset, Source
from data.prompts import TEMPLATES, expect_named_images, prompts, words_of
from data.subwords import EOS, PAD, vocabulary_of_words

IMAGE = "[IMAGE]"
IMAGES = 2  # in each text


def interleaved(dataset: Dataset, blind: bool = False) -> Dataset:
    """Returns a set of labelled images as texts of two images, each followed by the first of `data.prompts.TEMPLATES`.

    The inputs are "images", (B, 2, rows, columns, channels), unless the set is `blind`, and "tokens", int32 (B, T). The
    targets are the next tokens, (B, T); their weights are 0 at padding, and where the next token is [IMAGE]. The first
    image is that of the example, the second one that of the example after it.

    Raises UserError where the examples are not images, or their classes have no names.
    """
    classes = expect_named_images(dataset)
    texts = prompts(classes, TEMPLATES[:1])
    vocabulary = vocabulary_of_words([IMAGE, *words_of(texts)])
    image_token = int(vocabulary.encode(IMAGE)[0])
    sentences = [np.array([image_token, *vocabulary.encode(text), EOS], np.int32) for text in texts]
    length = IMAGES * max(map(len, sentences)) - 1
    facts = {"vocab_size": len(vocabulary), "context": length}
    if not blind:
        facts |= {"image_shape": dataset.facts["image_shape"], "image_token": image_token}
    source = lambda images: InterleavedSource(images, sentences, image_token, blind)
    return replace(
        dataset, facts=facts, train=source(dataset.train), evaluation=source(dataset.evaluation), vocabulary=vocabulary
    )


class InterleavedSource:
    """A source of texts with images, made from a source of labelled images.

    Args:
      source: of images; the targets are classes.
      sentences: the tokens of each class, from the `image_token` to [EOS].
      blind: leaves out the images.
    """

    def __init__(self, source: Source, sentences: list[np.ndarray], image_token: int, blind: bool):
        self.draws = 0
        self._source, self._image_token, self._blind = source, image_token, blind
        lengths = np.array([len(sentence) for sentence in sentences])
        self._mask = np.arange(lengths.max()) < lengths[:, None]
        self._tokens = np.full(self._mask.shape, PAD, np.int32)
        self._tokens[self._mask] = np.concatenate(sentences)

    def __len__(self) -> int:
        return len(self._source)

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, see `data.dataset.Source`."""
        return self._source.identity()

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        both = (np.asarray(indices)[:, None] + np.arange(IMAGES)) % len(self._source)
        batch = self._source.examples(both.ravel())
        labels = batch["targets"].reshape(both.shape)
        tokens, mask = (x[labels].reshape(len(both), -1) for x in (self._tokens, self._mask))
        order = np.argsort(~mask, axis=1, kind="stable")  # padding goes to the end
        tokens, mask = (np.take_along_axis(x, order, axis=1) for x in (tokens, mask))
        targets = tokens[:, 1:]
        weights = mask[:, 1:] & (targets != self._image_token)
        images = batch["inputs"]["images"]
        inputs = {} if self._blind else {"images": images.reshape(*both.shape, *images.shape[1:])}
        return {
            "inputs": inputs | {"tokens": tokens[:, :-1]}, "targets": targets, "weights": weights.astype(np.float32)
        }  # fmt: skip
