"""A small artificial translation: each word has one translation, and the order of the words is reversed.

What is to be learned is a dictionary and one rule of order. A model that has learned both translates combinations of
words that it has never seen as well as others.
"""

import math
from typing import Annotated

import numpy as np

from core.errors import UserError
from core.ranges import Range
from data.dataset import Dataset
from data.source_target import Pairs
from data.splits import split_rows
from data.subwords import SPECIALS

_SIZES = {"train": 20_000, "test": 2_000, "combinations": 2_000}


def lexical_reversal(
    *, train: str = "train", evaluation: str = "test", words: Annotated[int, Range(8, 2**12)] = 24,
    shortest: Annotated[int, Range(2, 1024)] = 3, longest: Annotated[int, Range(2, 1024)] = 12,
) -> Dataset:  # fmt: skip
    """Returns sentences of random words, and as targets their translations, from the last word to the first.

    All lengths from `shortest` to `longest` are equally frequent. A tenth of the pairs of words are never neighbours in
    the splits train (20,000) and test (2,000), which share no sentence. In each sentence of the split combinations
    (2,000) such a pair is.

    Source and target have one vocabulary: behind the special tokens come the `words` words of the source, and then as
    many of the target. The sentences are generated at each start, always the same ones.

    Raises UserError for a split that does not exist, and where there are too few different sentences.
    """
    if shortest > longest:
        raise UserError(f"shortest = {shortest}, longest = {longest}: expected shortest <= longest.")
    generator, lengths = np.random.default_rng(0), range(shortest, longest + 1)
    translations = generator.permutation(words).astype(np.int32)
    # By word, the words that may follow it: first those that are held out, then all others.
    followers = generator.permuted(np.tile(np.arange(words, dtype=np.int32), (words, 1)), axis=1)
    held_out, others = np.split(followers, [max(1, words // 10)], axis=1)
    count = -(-(_SIZES["train"] + _SIZES["test"]) // len(lengths))
    if shortest * math.log(others.shape[1]) < math.log(2 * count):
        raise UserError(
            f"words = {words}, shortest = {shortest}: there are too few different sentences. Raise either of them."
        )
    sentences = [row for length in lengths for row in _different(generator, others, count, length)]
    sentences = [sentences[row] for row in generator.permutation(len(sentences))[: _SIZES["train"] + _SIZES["test"]]]
    sentences += _with_one_of(generator, held_out, others, _SIZES["combinations"], shortest, longest)

    def pairs(spec: str) -> Pairs:
        chosen = [sentences[row] for row in split_rows("lexical_reversal", _SIZES, spec)]
        targets = [translations[sentence[::-1]] + np.int32(len(SPECIALS) + words) for sentence in chosen]
        sources = [sentence + np.int32(len(SPECIALS)) for sentence in chosen]
        return Pairs(sources, targets, source_length=longest, length=longest + 1)

    size = len(SPECIALS) + 2 * words
    return Dataset(
        facts={"source_vocab_size": size, "vocab_size": size, "source_context": longest, "context": longest + 1},
        train=pairs(train),
        evaluation=pairs(evaluation),
        evaluation_name=evaluation,
    )


def _sentences(generator: np.random.Generator, followers: np.ndarray, count: int, length: int) -> np.ndarray:
    """Returns sentences (count, length) in which each word is one of the followers of the word before it."""
    sentences = np.empty((count, length), np.int32)
    sentences[:, 0] = generator.integers(len(followers), size=count)
    for place in range(1, length):
        chosen = generator.integers(followers.shape[1], size=count)
        sentences[:, place] = followers[sentences[:, place - 1], chosen]
    return sentences


def _different(generator: np.random.Generator, followers: np.ndarray, count: int, length: int) -> np.ndarray:
    """Returns as many sentences (count, length), all of them different."""
    candidates = _sentences(generator, followers, 2 * count, length)
    hashes = candidates.astype(np.uint64) @ generator.integers(2**63, size=length, dtype=np.uint64)
    first = np.unique(hashes, return_index=True)[1]
    return candidates[np.sort(first)[:count]]


def _with_one_of(
    generator: np.random.Generator, held_out: np.ndarray, others: np.ndarray, count: int, shortest: int, longest: int
) -> list[np.ndarray]:
    """Returns sentences of `shortest` to `longest` words, in each of which one word has a follower that is held out."""
    sentences, rows = _sentences(generator, others, count, longest), np.arange(count)
    lengths = generator.integers(shortest, longest + 1, size=count)
    places = generator.integers(1, lengths)
    chosen = generator.integers(held_out.shape[1], size=count)
    sentences[rows, places] = held_out[sentences[rows, places - 1], chosen]
    return [sentence[:length] for sentence, length in zip(sentences, lengths)]
