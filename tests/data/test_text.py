"""Windows over text: coverage, jitter, slices of splits counted in characters."""

import os
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from data.pipeline import evaluation_batches
from data.subwords import Subwords
from data.text import Windows, text_file, tiny_shakespeare

# 23 tokens, the first of which is never predicted: windows of 7 and 7 and 7, and one token more.
TOKENS = np.arange(100, 123, dtype=np.int32)


def test_a_window_predicts_the_next_token():
    batch = Windows(TOKENS, context=7).examples(np.array([1]))
    assert batch["inputs"]["tokens"].tolist() == [[107, 108, 109, 110, 111, 112, 113]]
    assert batch["targets"].tolist() == [[108, 109, 110, 111, 112, 113, 114]]
    assert batch["weights"].tolist() == [[1] * 7]
    assert {batch["inputs"]["tokens"].dtype, batch["targets"].dtype} == {np.dtype(np.int32)}
    assert batch["weights"].dtype == np.float32


@pytest.mark.parametrize("context", [1, 7, 11, 22, 31])
def test_evaluation_predicts_every_token_but_the_first_exactly_once(context):
    batches = list(evaluation_batches(Windows(TOKENS, context=context), batch_size=3))
    counted = np.concatenate([batch["weights"] for batch in batches]) == 1
    inputs = np.concatenate([batch["inputs"]["tokens"] for batch in batches])
    targets = np.concatenate([batch["targets"] for batch in batches])
    assert inputs.shape[1] == context
    assert targets[counted].tolist() == TOKENS[1:].tolist()
    assert inputs[counted].tolist() == TOKENS[:-1].tolist()


def test_jitter_moves_the_start_and_stays_inside_the_text():
    windows = Windows(TOKENS, context=7, jitter=True)
    draws = np.array([[0.0], [0.5], [0.99], [0.99]])
    batch = windows.examples(np.array([0, 1, 1, 3]), draws)
    # Seven equal parts of [0, 1): 0.5 is 3 tokens later, 0.99 is 6. The last start with 8 tokens left is 15.
    assert batch["inputs"]["tokens"][:, 0].tolist() == [100, 110, 113, 115]
    assert batch["targets"][:, -1].tolist() == [107, 117, 120, 122]
    assert (batch["weights"] == 1).all()


def test_no_jitter_without_draws_or_when_off():
    indices, draws = np.arange(4), np.full((4, 1), 0.9)
    expected = Windows(TOKENS, context=7).examples(indices)
    np.testing.assert_equal(Windows(TOKENS, context=7, jitter=True).examples(indices), expected)
    np.testing.assert_equal(Windows(TOKENS, context=7).examples(indices, draws), expected)
    assert (Windows(TOKENS, context=7).draws, Windows(TOKENS, context=7, jitter=True).draws) == (0, 1)


def test_a_text_shorter_than_a_window_is_padded_with_jitter_too():
    batch = Windows(TOKENS[:4], context=7, jitter=True).examples(np.array([0]), np.array([[0.9]]))
    assert batch["weights"].tolist() == [[1, 1, 1, 0, 0, 0, 0]]
    assert batch["targets"][0, :3].tolist() == [101, 102, 103]


def test_the_caller_may_change_a_batch():
    windows = Windows(TOKENS, context=7)
    windows.examples(np.array([0]))["inputs"]["tokens"][:] = -1
    assert windows.examples(np.array([0]))["inputs"]["tokens"][0, 0] == 100


@pytest.mark.parametrize(
    "tokens, context, message",
    [(TOKENS, 0, "context = 0: expected at least 1"), (TOKENS[:1], 7, "has 1 tokens: expected 2 or more")],
)
def test_a_context_or_text_that_is_too_short_is_named(tokens, context, message):
    with pytest.raises(ValueError, match=message):
        Windows(tokens, context=context)


def test_tiny_shakespeare_has_its_known_sizes():
    root = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    folder = root / "tiny_shakespeare"
    if not folder.exists():
        pytest.skip(f"{folder} is not there")
    dataset = tiny_shakespeare(context=64)
    assert dataset.vocabulary is not None
    assert dataset.facts["vocab_size"] == 65 == len(dataset.vocabulary)
    batches = list(evaluation_batches(dataset.evaluation, batch_size=97))
    assert sum(batch["weights"].sum() for batch in batches) == 55_770 - 1
    start = dataset.train.examples(np.array([0]))["inputs"]["tokens"][0]
    assert dataset.vocabulary.decode(start).startswith("First Citizen:\nBefore we proceed")


def test_a_text_file_of_ones_own(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("0123456789" * 10, encoding="utf-8")
    dataset = text_file(path=str(path), context=7)
    assert dataset.facts == {"vocab_size": 10, "context": 7} and dataset.evaluation_name == "validation"
    counted = [
        sum(batch["weights"].sum() for batch in evaluation_batches(s, batch_size=3))
        for s in (dataset.train, dataset.evaluation)
    ]
    assert counted == [90 - 1, 10 - 1]


def test_a_tokenizer_gives_word_pieces_and_slices_still_count_characters(tmp_path):
    text = "the cat and the dog – " * 30
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    Subwords.train([text], kind="bpe", vocab_size=280).save(tmp_path / "tokenizer.json")
    dataset = text_file(
        path=str(tmp_path / "text.txt"), tokenizer=str(tmp_path / "tokenizer.json"), context=5, train="train[:44]"
    )
    assert isinstance(dataset.vocabulary, Subwords) and dataset.facts["vocab_size"] == len(dataset.vocabulary)
    first = dataset.train.examples(np.arange(len(dataset.train)))
    tokens = np.append(first["inputs"]["tokens"][first["weights"] == 1], first["targets"][first["weights"] == 1][-1])
    assert dataset.vocabulary.decode(tokens) == text[:44] and len(tokens) < 44


def test_a_bad_text_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no file .*absent.txt"):
        text_file(path=str(tmp_path / "absent.txt"), context=7)
    (tmp_path / "latin.txt").write_bytes("eins\nzwei\ndrei ä\n".encode("latin-1"))
    with pytest.raises(ValueError, match="latin.txt, line 3: not UTF-8"):
        text_file(path=str(tmp_path / "latin.txt"), context=7)
    (tmp_path / "short.txt").write_text("abcdefghij")
    with pytest.raises(ValueError, match="has 1 tokens: expected 2 or more"):
        text_file(path=str(tmp_path / "short.txt"), context=7)
