"""The tokenizer in the folder of a published model: `tokenizer.json`, as fast tokenizers of transformers write it."""

from collections.abc import Sequence
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from tokenizers import Tokenizer

from core.errors import UserError, reason
from core.files import parse_json, read_json, write_text
from data.vocabulary import checked_tokens

FILE = "tokenizer.json"


class PublishedTokenizer:
    """The vocabulary of a published model. Unlike others it gives the special tokens that the model expects.

    Args:
      folder: of the published model.

    Attributes:
      bos: the token before the first one of a target; None if the folder does not say.
      ends: the tokens that end a text, any of them; none if the folder does not say. Those of
        `generation_config.json` take precedence over those of `config.json`.

    Raises:
      UserError: the folder has no tokenizer.json, the file holds no tokenizer, or `tokenizer_config.json` asks for
        another one.
    """

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        path = folder / FILE
        if not path.is_file():
            raise UserError(f"{folder} has no {FILE}: expected the file of a fast tokenizer of transformers")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing more specific
            raise UserError(f"{path} does not hold a tokenizer: {reason(error)}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._refuse_other_settings(folder / "tokenizer_config.json")
        settings = {}
        for name in ("config.json", "generation_config.json"):
            settings |= _object(folder / name)
        self.bos: int | None = settings.get("decoder_start_token_id")
        ends = settings.get("eos_token_id")
        self.ends: Sequence[int] = () if ends is None else tuple(ends) if isinstance(ends, list) else (ends,)
        for token in (*self.ends, *(() if self.bos is None else (self.bos,))):
            if type(token) is not int or token < 0:
                raise UserError(f"{folder}: a special token has the number {token!r:.60}: expected a whole number")

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def save(self, path: str | Path) -> None:
        """Writes `text()` to a file."""
        write_text(path, self.text())

    def text(self) -> str:
        """Returns the tokenizer as JSON, without the special tokens around a text: as `data.subwords.Subwords` does."""
        content = parse_json(self._tokenizer.to_str()) | {"post_processor": None}
        return Tokenizer.from_str(json.dumps(content)).to_str(pretty=True)

    def encode(self, text: str) -> np.ndarray:
        """Returns the tokens of `text`, int32 (T,), with the special tokens that the model expects around it."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: list[str]) -> list[np.ndarray]:
        """Returns the tokens of each text, see `encode`."""
        return [np.array(text.ids, np.int32) for text in self._tokenizer.encode_batch(texts)]

    def framed(self, texts: list[str], longest: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns the tokens (T,) of each text, cut so that T <= `longest`, and which are special tokens, bool (T,)."""
        self._tokenizer.enable_truncation(longest)
        try:
            encoded = self._tokenizer.encode_batch(texts)
        finally:
            self._tokenizer.no_truncation()
        return [(np.array(text.ids, np.int32), np.array(text.special_tokens_mask, bool)) for text in encoded]

    def until_end(self, tokens: np.ndarray) -> np.ndarray:
        """Returns `tokens`, integers (T,), up to the first of those that end a text."""
        places = np.flatnonzero(np.isin(tokens, self.ends))
        return tokens[: places[0]] if len(places) else tokens

    def decode(self, tokens: ArrayLike) -> str:
        """Returns the text of `tokens`, integers (T,), without special tokens and numbers beyond the vocabulary."""
        return self._tokenizer.decode(checked_tokens(tokens, 2**31).tolist())

    def _refuse_other_settings(self, path: Path) -> None:
        """Raises UserError where `tokenizer_config.json` asks for what tokenizer.json does not do.

        transformers changes the tokenizer then, so the two would number a text differently.
        """
        settings = _object(path)
        normalizer, splitter = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer
        normal: Any = str if normalizer is None else normalizer.normalize_str
        pieces = [("a", (0, 1))] if splitter is None else splitter.pre_tokenize_str("a")
        does = {
            "do_lower_case": normal("A") == "a",
            "strip_accents": normal("é") in ("e", "E"),
            "tokenize_chinese_chars": normal("木") == " 木 ",
            "add_prefix_space": pieces[0][0][0] in "Ġ▁",
            "do_basic_tokenize": True,
        }
        for side, place in (("bos", 0), ("eos", -1)):
            token = settings.get(f"{side}_token")
            number = self._tokenizer.token_to_id(str(token.get("content") if isinstance(token, dict) else token))
            if settings.get(f"add_{side}_token"):
                does[f"add_{side}_token"] = self._tokenizer.encode("a").ids[place] == number
        for name, value in does.items():
            if isinstance(settings.get(name), bool) and settings[name] != value:
                raise UserError(f"{path}: {name} = {json.dumps(settings[name])}, but {FILE} beside it does otherwise")


def published_tokenizer(folder: str | Path) -> PublishedTokenizer | None:
    """Returns the tokenizer of a published model, or None if its folder has none."""
    return PublishedTokenizer(folder) if (Path(folder) / FILE).is_file() else None


def _object(path: Path) -> dict:
    """The content of a JSON file; empty if there is none."""
    content = read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a JSON object: expected {{...}}")
    return content
