"""Pairs of made-up texts, [CLS] first [SEP] second [SEP]: does the second one go on about the same topic?"""

import numpy as np

from data.arrays import array_dataset
from data.dataset import Dataset

_SIZES = {"train": 20_000, "test": 2_000}
_CLS, _SEP, _MASK, _WORDS = range(4)


def topics(
    *, train: str = "train", evaluation: str = "test", topics: int = 7, words: int = 5, length: int = 8,
    share: float = 0.7, targets: str = "follows",
) -> Dataset:  # fmt: skip
    """Returns pairs of texts of `length` words, half of them about one topic (target 1), the others about two (0).

    A word is with probability `share` one of the `words` of the text's topic, else any word of any topic. Made anew at
    each start, always the same; splits train (20,000) and test (2,000). With `targets` "topics" the target is, for each
    word, the number of its text's topic.
    """
    if topics < 2 or min(words, length) < 1 or not 0 <= share <= 1:
        raise ValueError(
            f"topics = {topics}, words = {words}, length = {length}, share = {share}: expected at least 2, 1 and 1, "
            "and a probability."
        )
    if targets not in ("follows", "topics"):
        raise ValueError(f"targets must be 'follows' or 'topics', got {targets!r}.")
    generator, count = np.random.default_rng(0), sum(_SIZES.values())
    follows = generator.integers(2, size=count, dtype=np.int32)
    first = generator.integers(topics, size=count)
    second = np.where(follows, first, (first + generator.integers(1, topics, count)) % topics)

    def texts(topic: np.ndarray) -> np.ndarray:
        own = topic[:, None] * words + generator.integers(words, size=(count, length))
        other = generator.integers(topics * words, size=(count, length))
        return _WORDS + np.where(generator.random((count, length)) < share, own, other)

    one = np.ones((count, 1), np.int32)
    tokens = np.hstack([_CLS * one, texts(first), _SEP * one, texts(second), _SEP * one]).astype(np.int32)
    segments = np.tile(np.arange(2 * length + 3, dtype=np.int32) >= length + 2, (count, 1)).astype(np.int32)
    made = {"inputs": {"tokens": tokens, "segments": segments}}
    facts = {
        "vocab_size": _WORDS + topics * words, "context": tokens.shape[1], "mask_id": _MASK, "special_below": _WORDS,
    }  # fmt: skip
    if targets == "follows":
        made |= {"targets": follows, "weights": np.ones(count, np.float32)}
    else:
        topic = np.where(segments, second[:, None], first[:, None]).astype(np.int32)
        made |= {"targets": topic, "weights": (tokens >= _WORDS).astype(np.float32)}
        facts["classes"] = topics
    return array_dataset("topics", made, _SIZES, train, evaluation, **facts)
