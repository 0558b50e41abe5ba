"""Associative recall: pairs of a key and its value, then one of the keys; the class is the value of that key."""

from typing import Annotated

import numpy as np

from core.errors import UserError
from core.ranges import Range
from data.dataset import Dataset
from data.different import first_different
from data.forms import in_form
from data.sequences import Sequences, sequence_dataset

_SIZES = {"train": 20_000, "test": 2_000}


def recall(
    *, train: str = "train", evaluation: str = "test", pairs: Annotated[int, Range(1, 1024)] = 5,
    distinct_keys: Annotated[int, Range(1, 1024)] = 13, distinct_values: Annotated[int, Range(2, 1024)] = 7,
    joined: bool = False, form: str = "plain",
) -> Dataset:  # fmt: skip
    """Returns sequences key value key value ... query, whose class is the value of the key that is the query.

    The keys of an example are all different; the values are drawn independently. All examples are different. They are
    generated at each start, always the same ones; splits train (20,000) and test (2,000). The task is an old one, see
    Ba et al. 2016, "Using fast weights to attend to the recent past".

    Args:
      pairs: pairs in each example.
      distinct_keys: the number of keys, tokens 0, 1, ...
      distinct_values: the number of values, the tokens after the keys.
      joined: if True, a key with its value is one token, of distinct_keys times distinct_values, and the tokens after
        these are the queries. Then a layer that finds the key has found its value. If False, an earlier layer must
        first bring key and value together.
      form: see `data.forms`.

    Raises UserError where there are too few keys, values and pairs for that many different examples.
    """
    keys, values = distinct_keys, distinct_values
    if pairs > keys:
        raise UserError(f"pairs = {pairs}, distinct_keys = {keys}: expected at least as many keys as pairs.")
    count = sum(_SIZES.values())
    tokens, targets = _draw(2 * count, pairs, keys, values, joined)
    first = first_different(tokens, count)
    if len(first) < count:
        raise UserError(
            f"{pairs} pairs of {keys} keys and {values} values give only about {len(first):,} different examples, "
            f"{count:,} are needed. Choose more keys, values or pairs."
        )
    length = tokens.shape[1]
    sequences = Sequences(tokens[first].ravel(), np.full(count, length), targets[first])
    dataset = sequence_dataset(
        "recall", sequences, _SIZES, train, evaluation, context=length, classes=values,
        vocab_size=keys * values + keys if joined else keys + values,
    )  # fmt: skip
    return in_form(dataset, form)


def _draw(count: int, pairs: int, keys: int, values: int, joined: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns random examples, tokens (count, T), and their classes (count,)."""
    generator = np.random.default_rng(0)
    rows = np.arange(count)
    key = generator.permuted(np.tile(np.arange(keys), (count, 1)), axis=1)[:, :pairs]
    value = generator.integers(values, size=(count, pairs))
    chosen = generator.integers(pairs, size=count)
    if joined:
        context, query = key * values + value, keys * values + key[rows, chosen]
    else:
        context, query = np.stack([key, keys + value], axis=-1).reshape(count, 2 * pairs), key[rows, chosen]
    return np.column_stack([context, query]), value[rows, chosen].astype(np.int32)
