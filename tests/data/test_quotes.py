"""The tagging task: the texts have no quotes, and the targets tell where they were."""

import numpy as np
import pytest

from data.quotes import python_docs_quotes
from data.subwords import CLS, SEP


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECTERN_DATA", str(tmp_path_factory.mktemp("sets")))
        yield


def test_words_that_were_in_quotes_are_tagged_and_no_quote_remains():
    dataset = python_docs_quotes(context=61, evaluation="train[:600]")
    assert dataset.vocabulary is not None
    batch = dataset.evaluation.examples(np.arange(len(dataset.evaluation)))
    tokens, mask, targets, weights = *batch["inputs"].values(), batch["targets"], batch["weights"]
    assert dataset.facts == {"vocab_size": 2048, "context": 61, "classes": 2}
    quote = dataset.vocabulary.encode('"')[0]
    assert not (tokens == quote).any()
    np.testing.assert_array_equal(weights == 1, mask & (tokens != CLS) & (tokens != SEP))
    assert not (targets * (1 - weights)).any()
    # The text begins with the heading 'The "assert" statement'.
    assert dataset.vocabulary.decode(tokens[0][weights[0] == 1]).startswith("The assert statement")
    assert dataset.vocabulary.decode(tokens[0][targets[0] == 1]) == "assert"


def test_slices_and_splits_hold_different_examples():
    dataset = python_docs_quotes(context=61, train="train[:5000]")
    rows = lambda source: {row.tobytes() for row in source.examples(np.arange(len(source)))["inputs"]["tokens"]}
    assert not rows(dataset.train) & rows(dataset.evaluation)
    with pytest.raises(ValueError, match="no split 'test'"):
        python_docs_quotes(context=61, train="test")
