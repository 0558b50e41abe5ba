"""Recall in context, made harder in two ways: between the pairs stands noise, or keys and values have several tokens.

Poli et al. 2024, see `data.answers`. A sequence consists of pairs of a key and its value, and keys come back. Unlike in
`data.mqar`, pairs are stated and asked for in no order, and what is asked for is part of the sequence.
"""

from typing import Annotated

import numpy as np

from core.errors import UserError
from core.ranges import Range, ShareBelowAll
from data.answers import COUNT, answers_dataset
from data.dataset import Dataset
from data.different import different_numbers


def noisy_recall(
    *, train: str = "train", evaluation: str = "test", symbols: Annotated[int, Range(4, 2**16)] = 32,
    noise_symbols: Annotated[int, Range(0, 2**15)] = 16, noise: ShareBelowAll = 0.2,
    length: Annotated[int, Range(4, 1024)] = 128,
) -> Dataset:  # fmt: skip
    """Returns sequences of key value key value ..., in which pairs of noise tokens stand in the place of some pairs.

    Within a sequence a key has always the same value. The targets are the next tokens, and the weights 1 for values of
    keys that came before, else 0. The last key always did. The axis of difficulty is `noise`; with 0 it is the skill
    "in-context recall". The sequences are generated at each start, always the same ones.

    Args:
      symbols: the number of tokens. The first half of those that are no noise are keys, the second half values.
      noise_symbols: how many of the symbols are noise, the last ones.
      noise: the share of pairs that are noise.
      length: tokens of a sequence, the last value included; an even number.

    Raises UserError where these do not fit together.
    """
    if length % 2:
        raise UserError(f"length = {length}: expected an even number, two tokens per pair.")
    if symbols - noise_symbols < 2:
        raise UserError(
            f"symbols = {symbols}, noise_symbols = {noise_symbols}: expected at least 2 symbols that are no noise."
        )
    if noise > 0 and noise_symbols == 0:
        raise UserError(f"noise = {noise:g}, noise_symbols = 0: expected at least 1 symbol for the noise.")
    generator, rows, pairs = np.random.default_rng(0), np.arange(COUNT), length // 2
    border, noises = (symbols - noise_symbols) // 2, symbols - noise_symbols
    keys = generator.integers(border, size=(COUNT, pairs))
    values = generator.integers(border, noises, size=(COUNT, pairs))
    is_noise = generator.random((COUNT, pairs)) < noise
    # One pair at least is none, and the last one is a pair whose key came before.
    is_noise[rows, generator.integers(pairs - 1, size=COUNT)] = is_noise[:, -1] = False
    stated = np.where(is_noise, 0, generator.random((COUNT, pairs)))[:, :-1].argmax(axis=1)
    keys[:, -1] = keys[rows, stated]
    first = first_of_each(np.where(is_noise, symbols + np.arange(pairs), keys))
    sequences = np.stack([keys, np.take_along_axis(values, first, axis=1)], axis=2)
    if noise_symbols:
        sequences = np.where(is_noise[..., None], generator.integers(noises, symbols, size=sequences.shape), sequences)
    is_answer = np.stack([np.zeros_like(is_noise), first < np.arange(pairs)], axis=2)
    flat = lambda x: x.reshape(COUNT, length)
    return _next_tokens("noisy_recall", flat(sequences), flat(is_answer), train, evaluation, symbols)


def fuzzy_recall(
    *, train: str = "train", evaluation: str = "test", symbols: Annotated[int, Range(4, 1024)] = 16,
    key_tokens: Annotated[int, Range(1, 8)] = 3, value_tokens: Annotated[int, Range(1, 8)] = 3,
    length: Annotated[int, Range(4, 1024)] = 128,
) -> Dataset:  # fmt: skip
    """Returns sequences of keys and values of several tokens each, "a b x", "c y z", ...

    The sizes of keys and of values are drawn for each from 1 to the largest; the tokens of one are all different. A key
    "a" is another one than "a b". Within a sequence a key has always the same value. The targets are the next tokens,
    and the weights 1 for all tokens of the values of keys that came before, else 0. The last key always did. The axis
    of difficulty is the number of tokens. The sequences are generated at each start, always the same ones.

    Args:
      symbols: the number of tokens. The last one fills the beginning of a sequence, where no pair fits; of the others,
        the first half are those of keys, the second half those of values.
      key_tokens, value_tokens: the largest key and the largest value.
      length: tokens of a sequence, the last value included.

    Raises UserError where these do not fit together.
    """
    border, padding = (symbols - 1) // 2, symbols - 1
    for name, size, available in (
        ("key_tokens", key_tokens, border), ("value_tokens", value_tokens, padding - border)
    ):  # fmt: skip
        if size > available:
            raise UserError(f"symbols = {symbols}, {name} = {size}: expected at most {available} different tokens.")
    sure = length // (key_tokens + value_tokens)  # pairs that fit whatever their sizes are
    if sure < 2:
        raise UserError(
            f"length = {length}, key_tokens = {key_tokens}, value_tokens = {value_tokens}: expected a length of at "
            f"least {2 * (key_tokens + value_tokens)}, two pairs."
        )
    generator, rows, pairs = np.random.default_rng(0), np.arange(COUNT), length // 2
    # Pairs are numbered from the end of the sequence: 0 is the last one, so the first few are those that fit.
    keys, key_sizes = _words(generator, pairs, 0, border, key_tokens)
    repeated_pair = generator.integers(1, sure, size=COUNT)
    keys[:, 0], key_sizes[:, 0] = keys[rows, repeated_pair], key_sizes[rows, repeated_pair]
    values, value_sizes = _words(generator, pairs, border, padding, value_tokens)
    numbers = _numbers(keys, key_sizes)
    last = first_of_each(numbers)
    values = np.take_along_axis(values, last[..., None], axis=1)
    value_sizes = np.take_along_axis(value_sizes, last, axis=1)
    begins = length - (key_sizes + value_sizes).cumsum(axis=1)
    fits = begins >= 0
    apart = np.where(fits, numbers, numbers.max() + 1 + np.arange(pairs))[:, ::-1]
    came_before = (first_of_each(apart) < np.arange(pairs))[:, ::-1]
    sequences, is_answer = np.full((COUNT, length), padding), np.zeros((COUNT, length), bool)
    parts = ((keys, key_sizes, begins, False), (values, value_sizes, begins + key_sizes, True))
    for words, sizes, begin, is_value in parts:
        for token in range(words.shape[2]):
            row, pair = np.nonzero(fits & (token < sizes))
            sequences[row, begin[row, pair] + token] = words[row, pair, token]
            is_answer[row, begin[row, pair] + token] = came_before[row, pair] & is_value
    return _next_tokens("fuzzy_recall", sequences, is_answer, train, evaluation, symbols)


def first_of_each(numbers: np.ndarray) -> np.ndarray:
    """Returns for each number of the rows (N, P), none of them negative, where in its row it occurs first, (N, P)."""
    count, pairs = numbers.shape
    apart = numbers.astype(np.int64) + (int(numbers.max()) + 1) * np.arange(count)[:, None]
    _, index, inverse = np.unique(apart, return_index=True, return_inverse=True)
    return index[inverse].reshape(count, pairs) % pairs


def _words(generator: np.random.Generator, pairs: int, low: int, high: int, longest: int):
    """Returns words of different tokens from `low` to `high` - 1, (N, P, longest), and their sizes (N, P)."""
    words = low + different_numbers(generator, COUNT * pairs, high - low, longest)
    return words.reshape(COUNT, pairs, longest), generator.integers(1, longest + 1, size=(COUNT, pairs))


def _numbers(words: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Returns a number for each word (N, P), equal for equal words: one of the different words, counted."""
    longest = words.shape[2]
    cut = np.where(np.arange(longest) < sizes[..., None], words + 1, 0).reshape(-1, longest)
    base, number = int(cut.max()) + 1, np.zeros(len(cut), np.int64)
    for token in cut.T:
        # Renumbered after each token, so that it stays small.
        number = np.unique(number * base + token, return_inverse=True)[1]
    return number.reshape(sizes.shape)


def _next_tokens(name, sequences, is_answer, train, evaluation, symbols) -> Dataset:
    tokens, targets, is_target = sequences[:, :-1], sequences[:, 1:], is_answer[:, 1:]
    return answers_dataset(name, tokens, targets, is_target, train, evaluation, symbols=symbols)
