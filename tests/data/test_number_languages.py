"""Numbers in many languages: known words with their classes, and no number in both splits."""

from num2words import num2words
import numpy as np

from data.number_languages import LANGUAGES, number_languages


def texts(dataset, source) -> list[tuple[str, str]]:
    batch = source.examples(np.arange(len(source)))
    rows = zip(batch["inputs"]["tokens"], batch["inputs"]["mask"], batch["targets"])
    return [(dataset.vocabulary.decode(tokens[mask]), LANGUAGES[target]) for tokens, mask, target in rows]


def test_every_number_is_there_in_all_languages_of_one_split():
    dataset = number_languages()
    train, test = texts(dataset, dataset.train), texts(dataset, dataset.evaluation)
    assert len(train) == 2250 * 16 and len(test) == 250 * 16
    english = {words for words, language in train if language == "en"}
    assert len(english) == 2250 and not english & {words for words, language in test if language == "en"}
    pairs = set(train + test)
    number = next(number for number in range(100_000) if num2words(number) in english)
    assert all((num2words(number, lang=language), language) in pairs for language in LANGUAGES)


def test_facts_are_those_of_the_texts():
    dataset = number_languages(evaluation="test[:32]")
    assert dataset.vocabulary is not None
    assert len(dataset.evaluation) == 32
    assert dataset.facts["classes"] == 16 and dataset.facts["vocab_size"] == len(dataset.vocabulary)
    batch = dataset.train.examples(np.arange(len(dataset.train)))
    assert batch["inputs"]["tokens"].shape[1] == dataset.facts["context"]
    words = [word for source in (dataset.train, dataset.evaluation) for word, _ in texts(dataset, source)]
    longest = max(len(word.encode()) for word in words)
    assert longest <= dataset.facts["context"] < 100
