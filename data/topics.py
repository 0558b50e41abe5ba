"""Pairs of artificial texts, [CLS] first [SEP] second [SEP]: are both about the same topic?"""

from typing import Annotated

import numpy as np

from core.errors import UserError, shown
from core.ranges import Range, Share
from data.dataset import Batch, Dataset
from data.in_memory import array_dataset

_SIZES = {"train": 20_000, "test": 2_000}
_CLS, _SEP, _MASK, _WORDS = range(4)


def topics(
    *, train: str = "train", evaluation: str = "test", topics: Annotated[int, Range(2, 1024)] = 7,
    words: Annotated[int, Range(1, 1024)] = 5, length: Annotated[int, Range(1, 1024)] = 8, share: Share = 0.7,
    targets: str = "follows",
) -> Dataset:  # fmt: skip
    """Returns pairs of texts; half of the pairs are about one topic (target 1), the others about two (target 0).

    The pairs are generated at each start, always the same ones; splits train (20,000) and test (2,000).

    Args:
      topics: the number of topics. words: the number of words that belong to each topic.
      length: words in each text.
      share: the probability that a word belongs to the text's topic; otherwise it is any word of any topic.
      targets: "follows", as above, or "topics", the number of the text's topic for each word.
    """
    if targets not in ("follows", "topics"):
        raise UserError(f"targets = {shown(targets)}: expected 'follows' or 'topics'.")
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
    examples: Batch = {"inputs": {"tokens": tokens, "segments": segments}}
    facts = {
        "vocab_size": _WORDS + topics * words, "context": tokens.shape[1], "mask_id": _MASK, "special_below": _WORDS,
    }  # fmt: skip
    if targets == "follows":
        examples |= {"targets": follows, "weights": np.ones(count, np.float32)}
    else:
        topic = np.where(segments, second[:, None], first[:, None]).astype(np.int32)
        examples |= {"targets": topic, "weights": (tokens >= _WORDS).astype(np.float32)}
        facts["classes"] = topics
    return array_dataset("topics", examples, _SIZES, train, evaluation, **facts)
