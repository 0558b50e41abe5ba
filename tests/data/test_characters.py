"""The vocabulary of characters: encoding and decoding, on disk, and what it refuses."""

import json

import numpy as np
import pytest

from data.characters import Characters


def test_symbols_are_sorted_over_all_texts_and_numbered_by_place():
    vocabulary = Characters.of("cab\n", "bad")
    assert vocabulary.symbols == "\nabcd" and len(vocabulary) == 5
    tokens = vocabulary.encode("dab")
    assert tokens.dtype == np.int32 and tokens.tolist() == [4, 1, 2]


def test_decoding_restores_the_text_also_beyond_ascii_and_for_no_text():
    text = "Größe – “π” 🙂\n\t"
    vocabulary = Characters.of(text)
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.decode(vocabulary.encode("")) == ""


def test_save_and_load(tmp_path):
    vocabulary = Characters.of('π"\\\n🙂')
    vocabulary.save(tmp_path / "vocabulary.json")
    assert Characters.load(tmp_path / "vocabulary.json") == vocabulary
    content = json.loads((tmp_path / "vocabulary.json").read_text(encoding="utf-8"))
    assert content == {"type": "characters", "symbols": vocabulary.symbols}


def test_another_file_is_refused_by_name(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="config.json does not hold a vocabulary"):
        Characters.load(tmp_path / "config.json")


@pytest.mark.parametrize("unknown", ["\x00", "b", "z", "🙂"])
def test_an_unknown_character_is_named(unknown):
    with pytest.raises(ValueError) as error:
        Characters.of("ac").encode(f"ca{unknown}a")
    assert f"The character {unknown!r} is not among the 2 characters" in str(error.value)


@pytest.mark.parametrize("token", [-1, 2])
def test_a_token_outside_is_refused(token):
    with pytest.raises(ValueError, match=r"must lie in 0\.\.1"):
        Characters.of("ab").decode([0, token])
