"""Multi-query associative recall: pairs of a key and its value, then each key once more, where its value is asked for.

Unlike in `data.recall`, key and value are two tokens and each sequence asks for all of its pairs: a model gets as many
signals from a sequence as it has pairs, and can learn to bring key and value together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import numpy as np

from core.errors import UserError, shown
from core.ranges import Range
from data.dataset import Batch, Dataset
from data.different import different_numbers, first_different
from data.identity import identity_of
from data.splits import split_rows

_SIZES = {"train": 100_000, "test": 3_000}
_AT_ONCE = 2**22  # random numbers: 32 MiB


def mqar(
    *, train: str = "train", evaluation: str = "test", symbols: Annotated[int, Range(4, 2**16)] = 8192,
    length: Annotated[int, Range(4, 1024)] = 64, pairs: Annotated[int, Range(1, 64)] = 4,
    power: Annotated[float, Range(1e-3, 10)] = 0.01, form: str = "next_token",
) -> Dataset:  # fmt: skip
    """Returns sequences key value key value ..., and then, among blanks, every key of them once more.

    The target at a key that stands there for the second time is its value. The weights are 1 there and 0 elsewhere, so
    loss and accuracy are those of the answers. The answers are not part of the inputs: blanks follow the keys.

    Arora et al. 2023, "Zoology: Measuring and improving recall in efficient language models"; the defaults are the
    smallest setting of its figure 2. All examples are different. They are generated at each
    start, always the same ones; splits train (100,000) and test (3,000).

    Args:
      symbols: the number of tokens, V. Token 0 is the blank, 1 to V / 2 - 1 are keys, and the others values. All keys
        of a sequence are different, and so are all values.
      length: tokens of a sequence, T.
      pairs: pairs in a sequence, P.
      power: a key comes back n pairs of places after the last pair with a probability proportional to n^(power - 1), as
        long as no other key is there: near 0 most come back soon, and with 1 all places are equally likely.
      form: "next_token" for a decoder, "tags" for an encoder, whose answers are classes of tokens, and "answers" for an
        encoder-decoder, whose source is the pairs.

    Raises UserError where the pairs do not fit into the sequence, or there are too few symbols.
    """
    if form not in _FORMS:
        raise UserError(f"form = {shown(form)}: expected one of {', '.join(_FORMS)}.")
    if 4 * pairs > length:
        raise UserError(
            f"length = {length}, pairs = {pairs}: expected at least 4 tokens per pair, two to state it, one to ask for "
            "it and one for the answer."
        )
    if pairs >= symbols // 2:
        raise UserError(f"symbols = {symbols}, pairs = {pairs}: expected at least {2 * pairs + 2} symbols.")
    questions = _questions(symbols, length, pairs, power)
    if len(questions.keys) < sum(_SIZES.values()):
        raise UserError(
            f"symbols = {symbols}, length = {length}, pairs = {pairs}: there are only about {len(questions.keys):,} "
            f"different sequences, and {sum(_SIZES.values()):,} are needed. Raise any of the three."
        )
    arrange, facts = _FORMS[form]
    source = lambda spec: QuestionSource(questions[split_rows("mqar", _SIZES, spec)], length, arrange)
    return Dataset(
        facts=facts(symbols, length, 2 * pairs),
        train=source(train),
        evaluation=source(evaluation),
        evaluation_name=evaluation,
    )


@dataclass(frozen=True)
class Questions:
    """What sequences consist of.

    Attributes:
      keys, values: of each pair, int32 (N, P).
      places: where in the sequence the key comes back, int32 (N, P).
    """

    keys: np.ndarray
    values: np.ndarray
    places: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> "Questions":
        return Questions(self.keys[rows], self.values[rows], self.places[rows])


class QuestionSource:
    """A source of sequences (B, T), which are put together when they are read.

    Args:
      questions: the sequences. length: T.
      arrange: returns the inputs, given tokens (B, T) and how many of them state pairs, 2 P, and the place at which the
        targets begin.
    """

    draws = 0

    def __init__(self, questions: Questions, length: int, arrange: Callable):
        self._questions, self._length, self._arrange = questions, length, arrange

    def __len__(self) -> int:
        return len(self._questions.keys)

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, see `data.dataset.Source`."""
        questions = self._questions
        return identity_of(len(self), questions.keys, questions.values, questions.places)

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        chosen = self._questions[indices]
        stated = 2 * chosen.keys.shape[1]
        tokens, targets = np.zeros((2, len(indices), self._length), np.int32)
        weights = np.zeros(tokens.shape, np.float32)
        tokens[:, 0:stated:2], tokens[:, 1:stated:2] = chosen.keys, chosen.values
        np.put_along_axis(tokens, chosen.places, chosen.keys, axis=1)
        np.put_along_axis(targets, chosen.places, chosen.values, axis=1)
        np.put_along_axis(weights, chosen.places, np.float32(1), axis=1)
        inputs, first = self._arrange(tokens, stated)
        return {"inputs": inputs, "targets": targets[:, first:], "weights": weights[:, first:]}


@lru_cache(maxsize=4)
def _questions(symbols: int, length: int, pairs: int, power: float) -> Questions:
    """Returns as many different sequences as all splits need, or fewer; the runs of one process share them."""
    generator, half, needed = np.random.default_rng(0), symbols // 2, sum(_SIZES.values())
    keys = 1 + different_numbers(generator, 2 * needed, half - 1, pairs)
    values = half + different_numbers(generator, 2 * needed, symbols - half, pairs)
    chances = np.arange(1, (length - 2 * pairs) // 2 + 1) ** (power - 1)
    places = 2 * pairs + 2 * _weighted_places(generator, 2 * needed, chances, pairs)
    rows = first_different(np.concatenate([keys, values, places], axis=1), needed)
    return Questions(keys, values, places)[rows]


def _weighted_places(generator: np.random.Generator, count: int, chances: np.ndarray, size: int) -> np.ndarray:
    """Returns rows of `size` different places, drawn one after the other in proportion to `chances` (S,), int32.

    The order of arrival of events with these rates is such a row (Efraimidis & Spirakis 2006).
    """
    rows_at_once = max(1, _AT_ONCE // len(chances))
    blocks = []
    for start in range(0, count, rows_at_once):
        arrivals = generator.exponential(1 / chances, size=(min(rows_at_once, count - start), len(chances)))
        blocks.append(arrivals.argsort(axis=1)[:, :size].astype(np.int32))
    return np.concatenate(blocks)


# ---- the forms: inputs and where targets begin; facts, from V symbols and T tokens, of which 2 P state pairs ---------

_FORMS = {
    "next_token": (
        lambda tokens, stated: ({"tokens": tokens}, 0),
        lambda V, T, stated: {"vocab_size": V, "context": T},
    ),
    "tags": (
        lambda tokens, stated: ({"tokens": tokens}, 0),
        lambda V, T, stated: {"vocab_size": V, "context": T, "classes": V},
    ),
    "answers": (
        lambda tokens, stated: ({"source": tokens[:, :stated], "tokens": tokens[:, stated:]}, stated),
        lambda V, T, stated: {
            "source_vocab_size": V, "source_context": stated, "vocab_size": V, "context": T - stated,
        },
    ),
}  # fmt: skip
