"""Film reviews from the Internet Movie Database, and whether each is negative or positive."""

from core.ranges import Length
from data.dataset import Dataset
from data.sequences import Sequences, sequence_dataset
from data.storage import open_official, records
from data.whole_texts import WholeTexts


def imdb(*, context: Length, train: str = "train", evaluation: str = "test", tokenizer: str = "bytes") -> Dataset:
    """Returns 50,000 reviews, half of them negative and half positive; splits train and test (25,000 each).

    Source: Maas et al. 2011, "Learning word vectors for sentiment analysis"; `imdb_reviews/plain_text` of TFDS.

    Args:
      context: tokens per review; a longer one is cut.
      tokenizer: see `data.whole_texts`. Bytes are the setting of the task Text of Long Range Arena (Tay et al. 2021).
      train, evaluation: splits, and slices of them, such as "train[:90%]". A split is not sorted by class.
    """
    whole_texts = WholeTexts("imdb", tokenizer=tokenizer, context=context)
    builder = open_official("imdb_reviews/plain_text")
    reviews = {split: list(records(builder, split)) for split in ("train", "test")}
    every = [review for split in reviews.values() for review in split]
    texts = [review["text"].decode("utf-8") for review in every]
    vocabulary, labels = whole_texts.vocabulary, [review["label"] for review in every]
    return sequence_dataset(
        "imdb", Sequences.of(whole_texts.encode(texts), labels),
        {split: len(rows) for split, rows in reviews.items()}, train, evaluation, vocabulary=vocabulary,
        encode=whole_texts.encode, names=["negative", "positive"], classes=2, vocab_size=len(vocabulary),
        context=context,
    )  # fmt: skip
