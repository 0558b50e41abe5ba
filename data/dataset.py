"""What every set here hands to a run: two sources of batches, and the facts a model must agree with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from data.bytes import Bytes
from data.characters import Characters
from data.subwords import Subwords

# {"inputs": {named as the model's arguments}, "targets": ..., "weights": ...}, NumPy arrays of fixed shape.
Batch = dict[str, Any]


class Source(Protocol):
    """Examples that can be asked for in any order, a batch at a time.

    Attributes:
      draws: how many random numbers U one training example uses; 0 where nothing is augmented.
    """

    draws: int

    def __len__(self) -> int:
        """Returns the number of examples."""

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns the examples at `indices` (B,) as one batch.

        `draws` are float64 (B, U), uniform in [0, 1), and decide the augmentation. Without them nothing is
        augmented, which is what evaluation wants. The arrays belong to the caller.
        """


@dataclass(frozen=True)
class Dataset:
    """A training and an evaluation source.

    Attributes:
      facts: what a model must agree with, named as the model's arguments, such as {"vocab_size": 65}.
      evaluation_name: the split evaluated on, such as "test", for the names of metrics.
      vocabulary: what gives tokens from text, and back; None where there is no text.
    """

    facts: dict[str, Any]
    train: Source
    evaluation: Source
    evaluation_name: str
    vocabulary: Characters | Subwords | Bytes | None = None

    def keep_vocabulary(self, path: Path, *, write: bool) -> None:
        """Keeps the vocabulary in a file, without which the parameters of a run mean nothing.

        Raises ValueError where another one is there: that of `python_docs` depends on the version of Python.
        """
        if self.vocabulary is None:
            return
        if path.exists() and path.read_text(encoding="utf-8") != self.vocabulary.text():
            raise ValueError(f"{path} is not the vocabulary of the data here: was the run made with another Python?")
        if write:
            self.vocabulary.save(path)

    def refuse_other_vocabulary(self, other: "Dataset", name: str) -> None:
        """Raises ValueError where both sets are of text, and their vocabularies differ.

        Parameters learned with one vocabulary mean nothing with another, even where all their shapes agree. `name` says
        where the other set is used.
        """
        if self.vocabulary and other.vocabulary and self.vocabulary.text() != other.vocabulary.text():
            raise ValueError(
                f"{name} was trained with another vocabulary ({len(other.vocabulary):,} tokens) than that of the data "
                f"here ({len(self.vocabulary):,}). Choose data with the same one, or the same tokenizer."
            )
