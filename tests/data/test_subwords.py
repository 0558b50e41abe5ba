"""The vocabulary of subwords: encoding and decoding, the same each time, on disk, and what it refuses."""

import subprocess
import sys

import numpy as np
import pytest

from core.errors import UserError
from data.subwords import BOS, CLS, EOS, KINDS, MASK, PAD, SEP, SPECIALS, UNK, Subwords

TEXTS = ["aaab aab", "ab ba, Zebra zoo", "aaab Größe"] * 3


def test_special_tokens_come_first():
    assert [PAD, UNK, BOS, EOS, CLS, SEP, MASK] == [0, 1, 2, 3, 4, 5, 6]
    for kind, vocab_size in (("bpe", 270), ("wordpiece", 60)):
        vocabulary = Subwords.train(TEXTS, kind=kind, vocab_size=vocab_size)
        assert [vocabulary._tokenizer.token_to_id(token) for token in SPECIALS] == list(range(7))


def test_bpe_merges_the_most_frequent_pair_of_bytes():
    # 7 special tokens and 256 bytes leave one token to learn.
    vocabulary = Subwords.train(["aaa aa aa"], kind="bpe", vocab_size=7 + 256 + 1)
    assert len(vocabulary) == 264
    tokens = vocabulary.encode("aaaa")
    assert tokens.dtype == np.int32 and tokens.tolist() == [263, 263]


def test_bpe_restores_every_text_unchanged():
    vocabulary = Subwords.train(TEXTS, kind="bpe", vocab_size=280)
    for text in ("", "  aaab\n\taab ", "Größe – “π” 🙂", "[MASK] [PAD]", "\x00"):
        assert vocabulary.decode(vocabulary.encode(text)) == text


def test_wordpiece_splits_words_and_marks_unknown_characters():
    vocabulary = Subwords.train(TEXTS, kind="wordpiece", vocab_size=60)
    assert vocabulary.decode(vocabulary.encode("ab  zoo,\nGröße")) == "ab zoo, Größe"
    assert vocabulary.encode("π").tolist() == [UNK]
    assert len(vocabulary.encode("aaab")) < 4 < len(vocabulary.encode("zbazb"))


@pytest.mark.parametrize("kind", KINDS)
def test_encoding_never_gives_special_tokens_and_decoding_skips_them(kind):
    vocabulary = Subwords.train(TEXTS, kind=kind, vocab_size=280)
    assert MASK not in vocabulary.encode("[MASK]")
    tokens = [BOS, *vocabulary.encode("aab ab"), SEP, EOS, PAD, PAD]
    assert vocabulary.decode(tokens) == "aab ab"


@pytest.mark.parametrize("kind", KINDS)
def test_many_texts_are_encoded_as_one_by_one(kind):
    vocabulary = Subwords.train(TEXTS, kind=kind, vocab_size=280)
    many = vocabulary.encode_all(["aaab", "", "zoo ab"])
    assert [tokens.tolist() for tokens in many] == [vocabulary.encode(t).tolist() for t in ("aaab", "", "zoo ab")]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_texts_give_the_same_vocabulary_in_every_process(kind, tmp_path):
    source = f"""from data.subwords import Subwords
texts = ["the quick brown fox jumps over the lazy dog", "pack my box with five dozen liquor jugs"]
Subwords.train(texts, kind={kind!r}, vocab_size=300).save({str(tmp_path / "other.json")!r})"""
    subprocess.run([sys.executable, "-c", source], check=True)
    texts = ["the quick brown fox jumps over the lazy dog", "pack my box with five dozen liquor jugs"]
    mine, other = Subwords.train(texts, kind=kind, vocab_size=300), Subwords.load(tmp_path / "other.json")
    assert mine._tokenizer.get_vocab() == other._tokenizer.get_vocab()
    assert mine.encode(texts[1]).tolist() == other.encode(texts[1]).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load(kind, tmp_path):
    vocabulary = Subwords.train(TEXTS, kind=kind, vocab_size=280)
    vocabulary.save(tmp_path / "tokenizer.json")
    loaded = Subwords.load(tmp_path / "tokenizer.json")
    text = "aab [MASK] Zebra π"
    assert len(loaded) == len(vocabulary) and loaded.encode(text).tolist() == vocabulary.encode(text).tolist()
    assert loaded.decode(loaded.encode(text)) == vocabulary.decode(vocabulary.encode(text))


def test_another_file_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="nothing.json. To make one: python -m experiments.tokenizer"):
        Subwords.load(tmp_path / "nothing.json")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="config.json does not hold a tokenizer"):
        Subwords.load(tmp_path / "config.json")
    (tmp_path / "image.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="image.json is UTF-16, not UTF-8"):
        Subwords.load(tmp_path / "image.json")
    vocabulary = Subwords.train(TEXTS, kind="bpe", vocab_size=280)
    vocabulary.save(tmp_path / "tokenizer.json")
    other = (tmp_path / "tokenizer.json").read_text().replace("[CLS]", "[XYZ]")
    (tmp_path / "tokenizer.json").write_text(other)
    with pytest.raises(ValueError, match="first tokens are not .PAD. .UNK. .BOS."):
        Subwords.load(tmp_path / "tokenizer.json")


@pytest.mark.parametrize(
    "kind, vocab_size, words",
    [
        ("unigram", 300, "kind = 'unigram': expected one of bpe, wordpiece"),
        ("bpe", 262, "vocab_size = 262: .* alone are 263"),
        ("wordpiece", 9, "vocab_size = 9: .* Choose a larger one"),
    ],
)
def test_what_cannot_be_learned_is_named(kind, vocab_size, words):
    with pytest.raises(ValueError, match=words):
        Subwords.train(TEXTS, kind=kind, vocab_size=vocab_size)


@pytest.mark.parametrize("token", [-1, 264])
def test_a_token_outside_is_refused(token):
    vocabulary = Subwords.train(["aaa aa aa"], kind="bpe", vocab_size=264)
    with pytest.raises(ValueError, match="must lie in 0"):
        vocabulary.decode([7, token])
