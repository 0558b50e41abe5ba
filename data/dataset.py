"""What every data set returns: a source of training and one of evaluation examples, and facts about them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
import hashlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from core.errors import UserError
from data.vocabulary import Vocabulary

# {"inputs": {named as the model's arguments}, "targets": ..., "weights": ...}, NumPy arrays of fixed shape.
Batch = dict[str, Any]


class Source(Protocol):
    """Examples that can be read in any order, a batch at a time.

    Attributes:
      draws: the number of random numbers, U, that one training example uses; 0 where nothing is augmented.
    """

    draws: int

    def __len__(self) -> int:
        """Returns the number of examples."""
        ...

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, as nested JSON: how many there are, and a digest of them.

        What the config decides, such as augmentation, need not be part of it.
        """
        ...

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns the examples at `indices` (B,) as one batch, whose arrays the caller may change.

        `draws` are float64 (B, U), uniform in [0, 1), and decide the augmentation. Without them nothing is augmented,
        as in evaluation.
        """
        ...


@dataclass(frozen=True)
class Reading:
    """How files or texts of a user's own become inputs in the same way as the examples of a set.

    Attributes:
      kind: "images", which are files, or "texts".
      source: returns the source of a list of them. Its targets mean nothing.
    """

    kind: str
    source: Callable[[Sequence[Any]], Source]


@dataclass(frozen=True)
class Dataset:
    """A training and an evaluation source.

    Attributes:
      facts: what a model must agree with, named as the model's arguments, such as {"vocab_size": 65}.
      evaluation_name: the split of the evaluation source, such as "test", for the names of metrics.
      vocabulary: maps text to tokens and back; None where the examples are not text.
      classes: the names of the classes by number; None where there are none or they have no names.
      reading: how further images or texts become inputs; None where the examples are neither.
    """

    facts: dict[str, Any]
    train: Source
    evaluation: Source
    evaluation_name: str
    vocabulary: Vocabulary | None = None
    classes: tuple[str, ...] | None = None
    reading: Reading | None = None

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What tells this set from others, as nested JSON: the meaning of labels and tokens, and both sources."""
        names = {} if self.classes is None else {"classes": list(self.classes)}
        tokens = {}
        if self.vocabulary is not None:
            tokens = {"vocabulary": {"tokens": len(self.vocabulary), "digest": _digest(self.vocabulary.text())}}
        return names | tokens | {"train": self.train.identity(), "evaluation": self.evaluation.identity()}

    def keep_vocabulary(self, path: Path) -> None:
        """Writes the vocabulary to a file, if there is one: without it the parameters of a run are of no use."""
        if self.vocabulary is not None:
            self.vocabulary.save(path)

    def refuse_other_vocabulary(self, other: Vocabulary | None, name: str) -> None:
        """Raises UserError where this set is text, and `other` is another vocabulary than its own.

        Parameters learned with one vocabulary are of no use with another, even where all shapes agree. `name` is where
        the other one is used, for the message.
        """
        if self.vocabulary and other and self.vocabulary.text() != other.text():
            raise UserError(
                f"{name} was trained with another vocabulary ({len(other):,} tokens) than that of the data "
                f"here ({len(self.vocabulary):,} tokens). Choose data with the same vocabulary, or the same tokenizer."
            )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
