"""Bytes as tokens: exact numbers, back again, and the special ones before them."""

import json

import numpy as np
import pytest

from data.bytes import Bytes
from data.text import text_dataset


def test_a_token_is_a_byte_after_the_seven_special_ones():
    tokens = Bytes().encode("aé")
    assert tokens.dtype == np.int32 and tokens.tolist() == [7 + 97, 7 + 0xC3, 7 + 0xA9]
    assert len(Bytes()) == 263


def test_decoding_gives_the_text_back_without_special_tokens():
    text = "naïve 東京 🙂\n\x00"
    tokens = Bytes().encode(text)
    assert Bytes().decode(tokens) == text
    assert Bytes().decode(np.concatenate([[4], tokens, [5, 6, 0]])) == text


def test_the_file_says_what_a_token_is(tmp_path):
    Bytes().save(tmp_path / "vocabulary.json")
    content = json.loads((tmp_path / "vocabulary.json").read_text(encoding="utf-8"))
    assert content["type"] == "bytes" and content["special"][6] == "[MASK]" and len(content["special"]) == 7


def test_half_a_character_becomes_the_replacement_character():
    assert Bytes().decode(Bytes().encode("aé")[:-1]) == "a\ufffd"


@pytest.mark.parametrize("token", [-1, 263])
def test_a_token_outside_the_vocabulary_is_named(token):
    with pytest.raises(ValueError, match=rf"0\.\.262, got {token}"):
        Bytes().decode(np.array([token]))


def test_any_text_set_can_be_read_as_bytes():
    texts = {"train": "né" * 5, "validation": "é?"}
    dataset = text_dataset("a", texts, "train", "validation", context=3, jitter=False, tokenizer="bytes")
    assert dataset.facts == {"vocab_size": 263, "context": 3, "mask_id": 6, "special_below": 7}
    batch = dataset.evaluation.examples(np.array([0]))
    assert batch["inputs"]["tokens"][0, :2].tolist() == [7 + 0xC3, 7 + 0xA9]
    assert len(dataset.train) == 5  # 15 bytes, the first of which is not predicted
