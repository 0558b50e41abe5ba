"""Running text for language models, in windows of a fixed length; the targets are the next tokens."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
import tensorflow_datasets as tfds

from core.errors import UserError
from core.ranges import Length
from core.reading import read_text
from data.bytes import Bytes
from data.characters import Characters
from data.dataset import Batch, Dataset
from data.identity import identity_of
from data.splits import split_parts
from data.storage import open_official, records
from data.subwords import MASK, SPECIALS, Subwords


def tiny_shakespeare(
    *, context: Length, train: str = "train", evaluation: str = "validation", jitter: bool = True, tokenizer: str = ""
) -> Dataset:
    """Returns 40,000 lines of Shakespeare: 65 different characters, splits train, validation, test (90, 5, 5 %).

    Source: A. Karpathy, https://github.com/karpathy/char-rnn.
    `context` and `jitter`: see `Windows`; `tokenizer`: see `text_dataset`.
    """
    texts = builder_texts(open_official("tiny_shakespeare"))
    return text_dataset(
        "tiny_shakespeare", texts, train, evaluation, context=context, jitter=jitter, tokenizer=tokenizer
    )


def text_file(
    *, path: str, context: Length, train: str = "train", evaluation: str = "validation", jitter: bool = True,
    tokenizer: str = "",
) -> Dataset:  # fmt: skip
    """Returns the text of a file, with splits train and validation (90 and 10 %).

    `context` and `jitter`: see `Windows`; `tokenizer`: see `text_dataset`; the file: see `file_texts`.
    """
    return text_dataset(path, file_texts(path), train, evaluation, context=context, jitter=jitter, tokenizer=tokenizer)


def text_dataset(
    name: str, texts: dict[str, str], train: str, evaluation: str, *, context: int, jitter: bool, tokenizer: str = ""
) -> Dataset:
    """Returns the set `name`, given the text of each split.

    Args:
      texts: the text of each split. train, evaluation: splits, and slices of them counted in characters.
      context, jitter: see `Windows`.
      tokenizer: "bytes", or a file of `data.subwords.Subwords`. With "" a token is a character, and the vocabulary is
        that of all splits.

    Raises UserError for a split that does not exist or is too short.
    """
    if tokenizer:
        vocabulary = Bytes() if tokenizer == "bytes" else Subwords.load(tokenizer)
        masking = {"mask_id": MASK, "special_below": len(SPECIALS)}
    else:
        vocabulary, masking = Characters.of(*texts.values()), {}  # no special tokens, so no mask
    source = lambda spec, jitter: Windows(
        vocabulary.encode(split_text(name, texts, spec)), context=context, jitter=jitter
    )
    return Dataset(
        facts={"vocab_size": len(vocabulary), "context": context} | masking,
        train=source(train, jitter),
        evaluation=source(evaluation, False),
        evaluation_name=evaluation,
        vocabulary=vocabulary,
    )


def builder_texts(builder: tfds.core.DatasetBuilder, feature: str = "text") -> dict[str, str]:
    """Returns the text of each split of a set, of which all records are read one after the other."""
    read = lambda split: "".join(record[feature].decode("utf-8") for record in records(builder, split))
    return {split: read(split) for split in builder.info.splits}


def file_texts(path: str | Path) -> dict[str, str]:
    """Returns the first 90 % of a text file as "train" and the last 10 % as "validation".

    A byte-order mark is no part of the text. Raises UserError where there is no such file, and for a line that is not
    UTF-8.
    """
    text = read_text(path)
    border = len(text) * 9 // 10
    return {"train": text[:border], "validation": text[border:]}


def split_text(name: str, texts: dict[str, str], split: str) -> str:
    """Returns the text of a TFDS split, counted in characters. Raises UserError as `data.splits.split_parts`."""
    lengths = {key: len(text) for key, text in texts.items()}
    return "".join(texts[key][part] for key, part in split_parts(name, lengths, split))


class Windows:
    """A source of windows over one long text, int32 (B, T) with T = `context`; the targets are the next tokens.

    Window i starts at token i * context, so that every token except the first is predicted exactly once. The last
    window is filled up with tokens of weight 0.

    Args:
      tokens: int32 (N,), at least 2.
      context: tokens in a window, T.
      jitter: training windows start up to context - 1 tokens later, so that they differ between epochs. A window that
        would reach beyond the end of the text is moved back to end there.
    """

    def __init__(self, tokens: np.ndarray, *, context: int, jitter: bool = False):
        if context < 1:
            raise UserError(f"context = {context}: expected at least 1 token.")
        if len(tokens) < 2:
            raise UserError(f"The text has {len(tokens)} tokens: expected 2 or more, to predict one from another.")
        self.draws = int(jitter)
        self._tokens = tokens
        self._context = context
        self._predicted = len(tokens) - 1
        padded = np.pad(tokens, (0, len(self) * context - self._predicted))
        self._windows = sliding_window_view(padded, context)

    def __len__(self) -> int:
        return -(-self._predicted // self._context)

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, see `data.dataset.Source`."""
        return identity_of(len(self), self._tokens)

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        starts = indices * self._context
        if draws is not None and self.draws:
            later = starts + (draws[:, 0] * self._context).astype(np.int64)
            starts = np.minimum(later, max(0, self._predicted - self._context))
        within = starts[:, None] + np.arange(self._context) < self._predicted
        return {
            "inputs": {"tokens": self._windows[starts]},
            "targets": self._windows[starts + 1],
            "weights": within.astype(np.float32),
        }
