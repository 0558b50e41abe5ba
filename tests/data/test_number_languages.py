"""Numbers in many languages: known words with their classes, and no number on both sides."""

from num2words import num2words
import numpy as np

from data.number_languages import LANGUAGES, number_languages


def texts(found, source) -> list[tuple[str, str]]:
    batch = source.examples(np.arange(len(source)))
    rows = zip(batch["inputs"]["tokens"], batch["inputs"]["mask"], batch["targets"])
    return [(found.vocabulary.decode(tokens[mask]), LANGUAGES[target]) for tokens, mask, target in rows]


def test_every_number_is_there_in_all_languages_of_one_split():
    found = number_languages()
    train, test = texts(found, found.train), texts(found, found.evaluation)
    assert len(train) == 2250 * 16 and len(test) == 250 * 16
    english = {words for words, language in train if language == "en"}
    assert len(english) == 2250 and not english & {words for words, language in test if language == "en"}
    said = set(train + test)
    number = next(number for number in range(100_000) if num2words(number) in english)
    assert all((num2words(number, lang=language), language) in said for language in LANGUAGES)


def test_facts_are_those_of_the_texts():
    found = number_languages(evaluation="test[:32]")
    assert len(found.evaluation) == 32
    assert found.facts["classes"] == 16 and found.facts["vocab_size"] == len(found.vocabulary)
    batch = found.train.examples(np.arange(len(found.train)))
    assert batch["inputs"]["tokens"].shape[1] == found.facts["context"]
    longest = max(len(words.encode()) for words, _ in texts(found, found.train) + texts(found, found.evaluation))
    assert longest <= found.facts["context"] < 100
