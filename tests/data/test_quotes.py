"""The tagging task: quotes are gone from the text, and found again in the targets."""

import numpy as np
import pytest

from data.quotes import python_docs_quotes
from data.subwords import CLS, SEP


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECTERN_DATA", str(tmp_path_factory.mktemp("sets")))
        yield


def test_what_stood_between_quotes_is_tagged_and_no_quote_is_left():
    found = python_docs_quotes(context=61, evaluation="train[:600]")
    batch = found.evaluation.examples(np.arange(len(found.evaluation)))
    tokens, mask, targets, weights = *batch["inputs"].values(), batch["targets"], batch["weights"]
    assert found.facts == {"vocab_size": 2048, "context": 61, "classes": 2}
    quote = found.vocabulary.encode('"')[0]
    assert not (tokens == quote).any()
    np.testing.assert_array_equal(weights == 1, mask & (tokens != CLS) & (tokens != SEP))
    assert not (targets * (1 - weights)).any()
    # 'The "assert" statement' opens the text: its heading, then this sentence.
    assert found.vocabulary.decode(tokens[0][weights[0] == 1]).startswith("The assert statement")
    assert found.vocabulary.decode(tokens[0][targets[0] == 1]) == "assert"


def test_slices_and_splits_hold_different_examples():
    found = python_docs_quotes(context=61, train="train[:5000]")
    rows = lambda source: {row.tobytes() for row in source.examples(np.arange(len(source)))["inputs"]["tokens"]}
    assert not rows(found.train) & rows(found.evaluation)
    with pytest.raises(ValueError, match="no split 'test'"):
        python_docs_quotes(context=61, train="test")
