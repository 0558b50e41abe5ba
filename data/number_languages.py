"""Numbers written in the words of sixteen languages, as bytes; the class is the language. Nothing is downloaded.

Danish and Norwegian, or Czech and Slovak, share many words, so single letters and words do not suffice.
"""

from zlib import crc32

import tensorflow_datasets as tfds

from data.bytes import Bytes
from data.dataset import Dataset
from data.sequences import Sequences, sequence_dataset
from data.storage import open_embedded, records

LANGUAGES = ("cs", "da", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "no", "pl", "pt", "ro", "sk", "sv")


def number_languages(*, train: str = "train", evaluation: str = "test") -> Dataset:
    """Returns 2,500 numbers below 100,000 in 16 languages as UTF-8 bytes, with the language as the class.

    The splits are train and test (90 and 10 %, by a hash); all languages of a number are in the same split. The classes
    are `LANGUAGES`, in this order. Raises UserError for a split that does not exist.
    """
    vocabulary = Bytes()
    builder = open_embedded(NumberLanguages)
    contents = {split: next(records(builder, split)) for split in builder.info.splits}
    lines = {split: record["text"].decode().split("\n") for split, record in contents.items()}
    texts = [vocabulary.encode(line) for split in lines for line in lines[split]]
    targets = [number % len(LANGUAGES) for split in lines for number in range(len(lines[split]))]
    return sequence_dataset(
        "number_languages", Sequences.of(texts, targets), {split: len(lines[split]) for split in lines}, train,
        evaluation, context=max(map(len, texts)), vocabulary=vocabulary, encode=vocabulary.encode_all, names=LANGUAGES,
        classes=len(LANGUAGES), vocab_size=len(vocabulary),
    )  # fmt: skip


class NumberLanguages(tfds.core.GeneratorBasedBuilder):
    """One record a split: a text a line, the numbers in the order of their hash, each in all languages in turn."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
        return tfds.core.DatasetInfo(builder=self, description=__doc__, features=features)

    def _split_generators(self, dl_manager):
        numbers = sorted(range(100_000), key=_hash)[:2500]
        held_out = len(numbers) // 10
        return {
            "train": self._generate_examples(numbers[held_out:]),
            "test": self._generate_examples(numbers[:held_out]),
        }

    def _generate_examples(self, numbers):
        # Imported here because only the first run prepares the set.
        from num2words import num2words

        yield 0, {"text": "\n".join(num2words(number, lang=language) for number in numbers for language in LANGUAGES)}


def _hash(number: int) -> int:
    return crc32(f"language of {number}".encode())
