"""The documentation of Python: its text, its splits, its vocabulary."""

import pydoc_data.topics

import numpy as np
import pytest

from data.characters import Characters
from data.pipeline import evaluation_batches
from data.python_docs import python_docs


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECTERN_DATA", str(tmp_path_factory.mktemp("sets")))
        yield


def text(dataset, source):
    batches = list(evaluation_batches(source, batch_size=101))
    tokens = np.concatenate([batch["inputs"]["tokens"] for batch in batches])
    has_weight = np.concatenate([batch["weights"] for batch in batches]) == 1
    return dataset.vocabulary.decode(tokens[has_weight])


def test_the_splits_are_the_sorted_topics_cut_at_nine_tenths():
    topics = pydoc_data.topics.topics
    expected = "\n\n".join(topics[name] for name in sorted(topics))
    border = len(expected) * 9 // 10
    dataset = python_docs(context=61)
    # The last character of a split is only ever a target.
    assert text(dataset, dataset.train) == expected[: border - 1]
    assert text(dataset, dataset.evaluation) == expected[border:-1]
    assert isinstance(dataset.vocabulary, Characters)
    assert dataset.vocabulary.symbols == "".join(sorted(set(expected)))
    assert dataset.facts["vocab_size"] == len(set(expected))
    assert dataset.evaluation_name == "validation"


def test_slices_count_characters():
    dataset = python_docs(context=61, train="train[:1000]", evaluation="train[1000:1500]+validation[:7]")
    complete = python_docs(context=61)
    assert text(dataset, dataset.train) == text(complete, complete.train)[:999]
    expected = text(complete, complete.train)[1000:1500] + text(complete, complete.evaluation)[:6]
    assert text(dataset, dataset.evaluation) == expected
    assert dataset.vocabulary == complete.vocabulary


def test_jitter_is_for_training_only_and_can_be_turned_off():
    assert [python_docs(context=61, jitter=jitter).train.draws for jitter in (True, False)] == [1, 0]
    assert python_docs(context=61).evaluation.draws == 0
