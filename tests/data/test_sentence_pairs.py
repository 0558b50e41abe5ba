"""Pairs of texts: their layout, which text follows which, and that only the content shows it."""

import numpy as np
import pytest

from data.pipeline import evaluation_batches, train_batches
from data.sentence_pairs import SentencePairs, frame, sentence_pairs, stream
from data.subwords import CLS, PAD, SEP, Subwords

# 31 sentences of 1 to 5 tokens; token 100 + n is the n-th of the text.
LENGTHS = np.random.default_rng(0).integers(1, 6, 31)
STARTS = np.cumsum(LENGTHS) - LENGTHS
TOKENS = np.arange(100, 100 + LENGTHS.sum(), dtype=np.int32)
CONTEXT = 17


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECTERN_DATA", str(tmp_path_factory.mktemp("sets")))
        yield


def pairs(draws=None):
    source = SentencePairs(TOKENS, STARTS, CONTEXT)
    batch = source.examples(np.arange(len(source)), draws)
    return source, batch, [_cut(row) for row in batch["inputs"]["tokens"]]


def _cut(row):
    middle = np.flatnonzero(row == SEP)[0]
    return row[1:middle].tolist(), row[middle + 1 : -1].tolist()


def test_the_layout_is_that_of_bert():
    _, batch, _ = pairs()
    tokens, segments = batch["inputs"]["tokens"], batch["inputs"]["segments"]
    assert tokens.shape == segments.shape == batch["weights"].shape == (len(tokens), CONTEXT)
    assert {tokens.dtype, segments.dtype, batch["targets"].dtype} == {np.dtype(np.int32)}
    assert (tokens[:, 0] == CLS).all() and (tokens[:, -1] == SEP).all() and ((tokens == SEP).sum(axis=1) == 2).all()
    for row, kinds in zip(tokens, segments):
        middle = np.flatnonzero(row == SEP)[0]
        assert kinds.tolist() == [0] * (middle + 1) + [1] * (CONTEXT - middle - 1)


def test_the_first_is_complete_sentences_and_the_second_follows_or_begins_elsewhere():
    draws = np.random.default_rng(1).random((23, 3))
    source = SentencePairs(TOKENS, STARTS, CONTEXT)
    seen = set()
    for row in range(len(source)):
        batch = source.examples(np.full(23, row), draws)
        for (first, second), follows in zip(map(_cut, batch["inputs"]["tokens"]), batch["targets"]):
            assert first == list(range(100 + STARTS[row], 100 + STARTS[row] + len(first)))
            assert 1 <= len(first) <= (CONTEXT - 3) // 2 and first[-1] + 1 - 100 in STARTS
            assert second == list(range(second[0], second[0] + CONTEXT - 3 - len(first)))
            assert second[0] - 100 in STARTS and (second[0] == first[-1] + 1) == follows
            seen.add((len(first), int(follows)))
    assert len({length for length, _ in seen}) > 3


def test_half_of_the_pairs_follow():
    draws = np.random.default_rng(2).random((4001, 3))
    batch = SentencePairs(TOKENS, STARTS, CONTEXT).examples(np.zeros(4001, int), draws)
    assert batch["targets"].mean() == pytest.approx(0.5, abs=0.03)


def test_without_draws_a_pair_is_always_the_same():
    source, batch, _ = pairs()
    again = source.examples(np.array([5, 3]))
    np.testing.assert_array_equal(again["inputs"]["tokens"], batch["inputs"]["tokens"][[5, 3]])
    assert 0 < batch["targets"].mean() < 1


def test_a_text_that_is_too_short_is_named():
    with pytest.raises(ValueError, match="17 tokens .* too short for pairs of 17"):
        SentencePairs(TOKENS[:17], STARTS[STARTS < 17], 17)


def test_sentences_end_at_stops_and_empty_lines_and_long_ones_are_cut():
    vocabulary = Subwords.train(["a b c d e f g. :"] * 3, kind="wordpiece", vocab_size=40)
    tokens, starts = stream(vocabulary, "a b. c d: e\nf\n \n\ng a b c d e f g", longest=3)
    pieces = [vocabulary.decode(part) for part in np.split(tokens, starts[1:])]
    assert [piece.replace(" ", "") for piece in pieces] == ["ab.", "cd:", "ef", "gab", "cde", "fg"]


def test_python_docs_pairs_need_only_python():
    dataset = sentence_pairs(context=32, vocab_size=600)
    assert dataset.facts == {"vocab_size": 600, "context": 32, "mask_id": 6, "special_below": 7}
    again = sentence_pairs(context=32, vocab_size=600)  # from the file that the first call wrote
    batch, same = (next(train_batches(x.train, batch_size=7, seed=1)) for x in (dataset, again))
    np.testing.assert_equal(batch, same)
    assert batch["inputs"]["tokens"].max() < 600
    batches = list(evaluation_batches(dataset.evaluation, batch_size=101))
    assert sum(b["weights"].max(axis=1).sum() for b in batches) == len(dataset.evaluation)


def test_a_file_of_ones_own_needs_a_tokenizer(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("The cat sat. The dog ran! A bird? " * 40)
    with pytest.raises(ValueError, match="needs data.tokenizer.*experiments.tokenizer --files .*text.txt"):
        sentence_pairs(context=16, path=str(path))
    Subwords.train([path.read_text()], kind="wordpiece", vocab_size=60).save(tmp_path / "tokenizer.json")
    dataset = sentence_pairs(
        context=16, path=str(path), tokenizer=str(tmp_path / "tokenizer.json"), evaluation="train[:50%]"
    )
    assert dataset.vocabulary is not None
    assert len(dataset.train) > 50 and dataset.facts["vocab_size"] == len(dataset.vocabulary)


def test_frames_are_padded_and_cut_with_a_message(capsys):
    tokens, mask = frame([np.array([11, 12]), np.array([13, 14, 15, 16]), np.array([], int)], 5)
    assert tokens.tolist() == [[CLS, 11, 12, SEP, PAD], [CLS, 13, 14, 15, SEP], [CLS, SEP, PAD, PAD, PAD]]
    assert mask.sum(axis=1).tolist() == [4, 5, 2]
    assert capsys.readouterr().err == "1 of 3 texts are longer than 3 tokens and are cut\n"
    with pytest.raises(ValueError, match="context = 2: expected at least 3"):
        frame([], 2)
