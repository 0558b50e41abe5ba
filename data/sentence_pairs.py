"""Pairs of texts for BERT's pre-training, [CLS] first [SEP] second [SEP]: does the second follow the first?"""

from collections.abc import Sequence
from pathlib import Path
import re
from typing import Annotated, Any

from filelock import FileLock
import numpy as np

from core.errors import UserError
from core.notes import note
from core.ranges import Range, Vocabulary
from data.dataset import Batch, Dataset, Reading
from data.identity import identity_of
from data.python_docs import PythonDocs
from data.storage import open_embedded
from data.subwords import CLS, MASK, PAD, SEP, SPECIALS, Subwords
from data.text import builder_texts, file_texts, split_text


def sentence_pairs(
    *, context: Annotated[int, Range(5, 2**17)], path: str = "", tokenizer: str = "", vocab_size: Vocabulary = 2048,
    train: str = "train", evaluation: str = "validation",
) -> Dataset:  # fmt: skip
    """Returns pairs of texts for BERT's pre-training (Devlin et al. 2019, appendix A.2).

    Args:
      context: tokens of a pair, including [CLS] and both [SEP]; at least 5.
      path: a text file, see `data.text.file_texts`; "" for the text of `data.python_docs`.
      tokenizer: a file of `data.subwords.Subwords`. With "", for `python_docs` only, a WordPiece vocabulary is learned
        from the training split at the first use and kept beside the set.
      vocab_size: tokens of that vocabulary.
      train, evaluation: splits, and slices of them counted in characters.

    Raises UserError for a context or a split that is too short for a pair, and for a text file without a tokenizer.
    """
    if path and not tokenizer:
        raise UserError(
            f"data.path = {path!r} needs data.tokenizer. To make one: "
            f"python -m experiments.tokenizer --files {path} --kind=wordpiece --out=tokenizer.json"
        )
    name, texts = (path, file_texts(path)) if path else ("python_docs", builder_texts(open_embedded(PythonDocs)))
    vocabulary = Subwords.load(tokenizer) if tokenizer else python_docs_vocabulary(vocab_size)
    text = lambda split: stream(vocabulary, split_text(name, texts, split), (context - 3) // 2)
    source = lambda split: SentencePairs(*text(split), context)
    return Dataset(
        facts={
            "vocab_size": len(vocabulary), "context": context, "mask_id": MASK, "special_below": len(SPECIALS),
        },
        train=source(train),
        evaluation=source(evaluation),
        evaluation_name=evaluation,
        vocabulary=vocabulary,
        reading=Reading("texts", lambda texts: FramedTexts(vocabulary, texts, context)),
    )  # fmt: skip


def python_docs_vocabulary(size: int) -> Subwords:
    """Returns WordPiece of `size` tokens learned from the training split of `python_docs`.

    The first call on a machine learns it and keeps it beside the set.
    """
    builder = open_embedded(PythonDocs)
    path = Path(builder.data_dir) / f"wordpiece_{size}.json"
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            Subwords.train([builder_texts(builder)["train"]], kind="wordpiece", vocab_size=size).save(path)
    return Subwords.load(path)


def stream(vocabulary: Subwords, text: str, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns all tokens of a text, int32 (N,), and the positions where its sentences begin, int64 (S,).

    A sentence ends at . ! ? or : before a space, and at an empty line. One that is longer than `longest` tokens counts
    as several.
    """
    sentences = [part for part in re.split(r"(?<=[.!?:])\s+|\n\s*\n", text) if part.strip()]
    encoded = [tokens for tokens in vocabulary.encode_all(sentences) if len(tokens)]
    pieces = [tokens[at : at + longest] for tokens in encoded for at in range(0, len(tokens), longest)]
    starts = np.cumsum([0, *map(len, pieces)])[:-1]
    return np.concatenate([np.zeros(0, np.int32), *pieces]), starts


def frame(texts: list[np.ndarray], context: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns [CLS], text, [SEP] and padding for each text, int32 (N, T), and a mask, bool (N, T), False at padding.

    Texts longer than T - 2 tokens are cut, and a message says how many. Raises UserError where T is below 3.
    """
    if context < 3:
        raise UserError(f"context = {context}: expected at least 3, for [CLS], a token and [SEP].")
    if cut := sum(len(text) > context - 2 for text in texts):
        note(f"{cut:,} of {len(texts):,} texts are longer than {context - 2} tokens and are cut")
    tokens = np.full((len(texts), context), PAD, np.int32)
    mask = np.zeros(tokens.shape, bool)
    for row, row_mask, text in zip(tokens, mask, texts):
        content = [CLS, *text[: context - 2], SEP]
        row[: len(content)], row_mask[: len(content)] = content, True
    return tokens, mask


class FramedTexts:
    """A source of single texts, without targets: [CLS], text, [SEP] as tokens (B, T) with their mask, see `frame`."""

    draws = 0

    def __init__(self, vocabulary: Subwords, texts: Sequence[str], context: int):
        self._tokens, self._mask = frame(vocabulary.encode_all(list(texts)), context)

    def __len__(self) -> int:
        return len(self._tokens)

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, see `data.dataset.Source`."""
        return identity_of(len(self), self._tokens)

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        inputs = {"tokens": self._tokens[indices], "mask": self._mask[indices]}
        return {"inputs": inputs, "targets": inputs["tokens"], "weights": inputs["mask"].astype(np.float32)}


class SentencePairs:
    """A source of pairs, one for each first sentence: tokens and segments int32 (B, T), targets int32 (B,).

    The first text is a random number of complete sentences, up to half of the pair. The second text fills the other
    half: the tokens that follow (target 1) or, half of the time, those from the beginning of another sentence (target
    0). In both cases it begins with a sentence and is cut in the same way, so that only the content distinguishes them.

    Args:
      tokens: all tokens of a text, int32 (N,). starts: the positions where its sentences begin, (S,).
      context: T, the tokens of a pair, including [CLS] and both [SEP].
    """

    draws = 3

    def __init__(self, tokens: np.ndarray, starts: np.ndarray, context: int):
        self._tokens, self._starts, self._length = tokens, starts, context - 3
        self._half = self._length // 2
        # After a sentence late in the text there are too few tokens for a pair.
        self._seconds = int(np.searchsorted(starts, len(tokens) - self._length, side="right"))
        self._firsts = int(np.searchsorted(starts, len(tokens) - self._length - self._half, side="right"))
        if self._half < 1 or self._firsts < 1 or self._seconds < 3:
            raise UserError(
                f"A text of {len(tokens)} tokens in {len(starts)} sentences is too short for pairs of {context}. Use a "
                "longer text or a smaller context."
            )

    def __len__(self) -> int:
        return self._firsts

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, see `data.dataset.Source`."""
        return identity_of(len(self), self._tokens, self._starts)

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`. Without draws the pair of an index is always the same."""
        draws = self._fixed()[indices] if draws is None else draws
        begin = self._starts[indices]
        last = np.searchsorted(self._starts, begin + self._half, side="right") - 1
        sentences = 1 + (draws[:, 0] * (last - indices)).astype(np.int64)
        follows = draws[:, 1] < 0.5
        next_ = indices + sentences
        # Any sentence except the one that follows.
        other = (next_ + 1 + (draws[:, 2] * (self._seconds - 1)).astype(np.int64)) % self._seconds
        first = self._starts[next_] - begin
        second = self._starts[np.where(follows, next_, other)]
        place = np.arange(self._length + 1) - first[:, None]  # of each token in the second text; its [SEP] is at -1
        at = np.where(place < 0, begin[:, None] + np.arange(self._length + 1), second[:, None] + place - 1)
        body = np.where(place == 0, SEP, self._tokens[np.where(place == 0, 0, at)])
        edge = np.full((len(indices), 1), CLS), np.full((len(indices), 1), SEP)
        segments = np.concatenate([np.zeros((len(indices), 1)), place > 0, np.ones((len(indices), 1))], axis=1)
        return {
            "inputs": {
                "tokens": np.concatenate([edge[0], body, edge[1]], axis=1).astype(np.int32),
                "segments": segments.astype(np.int32),
            },
            "targets": follows.astype(np.int32),
            "weights": np.ones(segments.shape, np.float32),
        }

    def _fixed(self) -> np.ndarray:
        return np.random.default_rng(0).random((len(self), self.draws))
