"""The numbers from 0 to 99,999 in English and German words: a translation that changes the order.

"forty-two" is "zweiundvierzig": in German units come before tens, inside one long word. Nothing is downloaded.
"""

from functools import lru_cache
from zlib import crc32

import numpy as np
import tensorflow_datasets as tfds

from core.ranges import Vocabulary
from data.dataset import Dataset
from data.source_target import Pairs, Prompts, source_and_facts
from data.splits import split_parts
from data.storage import open_embedded, records
from data.subwords import Subwords


def number_words(
    *, train: str = "train", evaluation: str = "test", vocab_size: Vocabulary = 400, form: str = "pairs"
) -> Dataset:
    """Returns English number words with their German translation, splits train and test (90 and 10 %).

    A tenth of the numbers, chosen by a hash, is in test only.

    Args:
      vocab_size: tokens of the byte-level BPE that both languages share and that is learned from the training split;
        263 makes every byte a token.
      form: "pairs" or "prompt", see `data.source_target`.

    Raises UserError for a split that does not exist.
    """
    vocabulary, tokens = _tokens(vocab_size)
    longest = [max(len(row) for sides in tokens.values() for row in sides[side]) for side in (0, 1)]
    source_length, length = longest[0], longest[1] + 1
    make_source, facts = source_and_facts(form)

    def pairs(spec: str) -> Pairs | Prompts:
        parts = split_parts("number_words", {split: len(sides[0]) for split, sides in tokens.items()}, spec)
        sources, targets = ([row for split, part in parts for row in tokens[split][side][part]] for side in (0, 1))
        return make_source(sources, targets, source_length=source_length, length=length)

    return Dataset(
        facts=facts(len(vocabulary), source_length, length),
        train=pairs(train),
        evaluation=pairs(evaluation),
        evaluation_name=evaluation,
        vocabulary=vocabulary,
    )


@lru_cache(maxsize=1)  # takes seconds; the members of a population share the result
def _tokens(vocab_size: int) -> tuple[Subwords, dict[str, list[list[np.ndarray]]]]:
    """Returns the vocabulary, and by split the tokens of each number in English and in German.

    Callers share the arrays and must not write to them.
    """
    builder = open_embedded(NumberWords)
    contents = {split: next(records(builder, split)) for split in builder.info.splits}
    both = ("english", "german")
    texts = {split: [record[language].decode().split("\n") for language in both] for split, record in contents.items()}
    vocabulary = Subwords.train(sum(texts["train"], []), kind="bpe", vocab_size=vocab_size)
    return vocabulary, {split: [vocabulary.encode_all(lines) for lines in sides] for split, sides in texts.items()}


class NumberWords(tfds.core.GeneratorBasedBuilder):
    """One record a split: a number a line, in the order of its hash, so that a part of a split is a fair sample."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"english": tfds.features.Text(), "german": tfds.features.Text()})
        return tfds.core.DatasetInfo(builder=self, description=__doc__, features=features)

    def _split_generators(self, dl_manager):
        numbers = sorted(range(100_000), key=_hash)
        return {
            "train": self._generate_examples([number for number in numbers if _hash(number) % 10]),
            "test": self._generate_examples([number for number in numbers if _hash(number) % 10 == 0]),
        }

    def _generate_examples(self, numbers):
        # Imported here because only the first run prepares the set.
        from num2words import num2words

        words = lambda language: "\n".join(num2words(number, lang=language) for number in numbers)
        yield 0, {"english": words("en"), "german": words("de")}


def _hash(number: int) -> int:
    return crc32(str(number).encode())
