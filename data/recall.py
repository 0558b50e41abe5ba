"""Associative recall: pairs of a key and its value, then one of the keys; the class is the value that went with it."""

import numpy as np

from data.dataset import Dataset
from data.forms import formed
from data.sequences import Sequences, sequence_dataset

_SIZES = {"train": 20_000, "test": 2_000}


def recall(
    *, train: str = "train", evaluation: str = "test", pairs: int = 5, distinct_keys: int = 13,
    distinct_values: int = 7, joined: bool = False, form: str = "plain",
) -> Dataset:  # fmt: skip
    """Returns examples key value key value ... query, made anew at each start, the same each time, no two equal.

    The keys of an example are all different; the values are drawn independently. Splits train (20,000) and test
    (2,000). Ba et al. 2016 ("Using fast weights to attend to the recent past") is one of many with this task.

    Args:
      pairs: in each example.
      distinct_keys: how many there are, tokens 0, 1, ... distinct_values: how many, the tokens after.
      joined: a key with its value is one token, keys times values of them, and the tokens after these ask for keys.
        Then a layer that finds the key has found its value; else an earlier one must put the key beside the value.
      form: see `data.forms`.

    Raises ValueError where so few keys, values and pairs do not give that many examples.
    """
    keys, values = distinct_keys, distinct_values
    if not (1 <= pairs <= keys and values >= 2):
        raise ValueError(
            f"pairs = {pairs}, distinct_keys = {keys}, distinct_values = {values}: expected at least 1, as many "
            "keys as pairs, and 2 values."
        )
    count = sum(_SIZES.values())
    tokens, targets = _draw(2 * count, pairs, keys, values, joined)
    first = np.sort(np.unique(tokens, axis=0, return_index=True)[1])[:count]
    if len(first) < count:
        raise ValueError(
            f"{pairs} pairs of {keys} keys and {values} values give only about {len(first):,} different examples, "
            f"{count:,} are needed: choose more of any."
        )
    length = tokens.shape[1]
    made = Sequences(tokens[first].ravel(), np.full(count, length), targets[first])
    facts = {"classes": values, "vocab_size": keys * values + keys if joined else keys + values}
    return formed(sequence_dataset("recall", made, _SIZES, train, evaluation, context=length, **facts), form)


def _draw(count: int, pairs: int, keys: int, values: int, joined: bool) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    rows = np.arange(count)
    key = generator.permuted(np.tile(np.arange(keys), (count, 1)), axis=1)[:, :pairs]
    value = generator.integers(values, size=(count, pairs))
    asked = generator.integers(pairs, size=count)
    if joined:
        told, query = key * values + value, keys * values + key[rows, asked]
    else:
        told, query = np.stack([key, keys + value], axis=-1).reshape(count, 2 * pairs), key[rows, asked]
    return np.column_stack([told, query]), value[rows, asked].astype(np.int32)
