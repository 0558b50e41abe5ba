"""The embedded documentation of Python: its text, its splits, its vocabulary."""

import pydoc_data.topics

import numpy as np
import pytest

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
    counted = np.concatenate([batch["weights"] for batch in batches]) == 1
    return dataset.vocabulary.decode(tokens[counted])


def test_the_splits_are_the_sorted_topics_cut_at_nine_tenths():
    topics = pydoc_data.topics.topics
    expected = "\n\n".join(topics[name] for name in sorted(topics))
    border = len(expected) * 9 // 10
    found = python_docs(context=61)
    # The last character of a split is only ever a target.
    assert text(found, found.train) == expected[: border - 1]
    assert text(found, found.evaluation) == expected[border:-1]
    assert found.vocabulary.symbols == "".join(sorted(set(expected)))
    assert found.facts["vocab_size"] == len(set(expected))
    assert found.evaluation_name == "validation"


def test_slices_count_characters():
    found = python_docs(context=61, train="train[:1000]", evaluation="train[1000:1500]+validation[:7]")
    whole = python_docs(context=61)
    assert text(found, found.train) == text(whole, whole.train)[:999]
    expected = text(whole, whole.train)[1000:1500] + text(whole, whole.evaluation)[:6]
    assert text(found, found.evaluation) == expected
    assert found.vocabulary == whole.vocabulary


def test_jitter_is_for_training_only_and_can_be_turned_off():
    assert [python_docs(context=61, jitter=jitter).train.draws for jitter in (True, False)] == [1, 0]
    assert python_docs(context=61).evaluation.draws == 0
