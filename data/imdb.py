"""Film reviews from the Internet Movie Database, and whether each is negative or positive."""

from functools import lru_cache

from core.ranges import Length
from data.dataset import Dataset
from data.forms import in_form
from data.sequences import Sequences, sequence_dataset
from data.storage import open_official, records
from data.whole_texts import WholeTexts

_NAME = "imdb_reviews/plain_text"


def imdb(
    *, context: Length, train: str = "train", evaluation: str = "test", tokenizer: str = "bytes", form: str = "plain"
) -> Dataset:
    """Returns 50,000 reviews, half of them negative and half positive; splits train and test (25,000 each).

    Source: Maas et al. 2011, "Learning word vectors for sentiment analysis"; `imdb_reviews/plain_text` of TFDS.

    Args:
      context: tokens per review; a longer one is cut.
      tokenizer: see `data.whole_texts`. Bytes are the setting of the task Text of Long Range Arena (Tay et al. 2021).
      train, evaluation: splits, and slices of them, such as "train[:90%]". A split is not sorted by class.
      form: see `data.forms`.
    """
    whole_texts = WholeTexts("imdb", tokenizer=tokenizer, context=context)
    vocabulary, folder = whole_texts.vocabulary, open_official(_NAME).data_dir
    reviews, sizes = _reviews(str(folder), tokenizer, vocabulary.text(), context)
    dataset = sequence_dataset(
        "imdb", reviews, sizes, train, evaluation, vocabulary=vocabulary, encode=whole_texts.encode,
        names=["negative", "positive"], classes=2, vocab_size=len(vocabulary), context=context,
    )  # fmt: skip
    return in_form(dataset, form)


@lru_cache(maxsize=2)  # takes half a minute; the families of a benchmark share it
def _reviews(folder: str, tokenizer: str, vocabulary: str, context: int) -> tuple[Sequences, dict[str, int]]:
    """Returns all reviews, split after split, and how many each split has. `vocabulary` is what the tokenizer holds."""
    builder = open_official(_NAME)
    by_split = {split: list(records(builder, split)) for split in ("train", "test")}
    every = [review for reviews in by_split.values() for review in reviews]
    encode = WholeTexts("imdb", tokenizer=tokenizer, context=context).encode
    tokens = encode([review["text"].decode("utf-8") for review in every])
    labels = [review["label"] for review in every]
    return Sequences.of(tokens, labels), {split: len(reviews) for split, reviews in by_split.items()}
