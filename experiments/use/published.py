"""The model of a published folder, with the tokenizer in its `tokenizer.json`."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from tokenizers import Tokenizer

from core.errors import UserError
from core.files import read_json
from models import pretrained
from models.protocols import LanguageModel, Translator


class Vocabulary:
    """The tokens of a published model, with the methods of `data.subwords.Subwords`.

    Args:
      folder: of the published model.

    Attributes:
      bos: the token before the first one of a target; None if the folder does not say.
      eos: the token that ends a text; None if the folder does not say.

    Raises:
      UserError: the folder has no tokenizer.json, or the file holds no tokenizer.
    """

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise UserError(f"{folder} has no tokenizer.json: expected the file of a fast tokenizer of transformers")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing more specific
            raise UserError(f"{path} does not hold a tokenizer: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        settings = {}
        for name in ("config.json", "generation_config.json"):  # the second one takes precedence
            settings |= read_json(folder / name) if (folder / name).is_file() else {}
        eos = settings.get("eos_token_id")
        self.bos: int | None = settings.get("decoder_start_token_id")
        self.eos: int | None = eos[0] if isinstance(eos, list) else eos

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> np.ndarray:
        """Returns the tokens of `text`, int32 (T,), with the special tokens that the model expects around it."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: list[str]) -> list[np.ndarray]:
        """Returns the tokens of each text, see `encode`."""
        return [np.array(text.ids, np.int32) for text in self._tokenizer.encode_batch(texts)]

    def decode(self, tokens: ArrayLike) -> str:
        """Returns the text of `tokens`, integers (T,), up to the end, without special tokens."""
        numbers = np.asarray(tokens).tolist()
        return self._tokenizer.decode(numbers[: numbers.index(self.eos)] if self.eos in numbers else numbers)


def load(folder: str | Path) -> tuple[LanguageModel | Translator, Vocabulary]:
    """Returns the model of a published folder and its vocabulary.

    Raises:
      UserError: the folder holds no model that can write text, or no tokenizer, or the two do not fit together.
    """
    model = pretrained.load(folder, dropout=0.0)
    if not isinstance(model, LanguageModel | Translator):
        raise UserError(f"{folder} holds a {type(model).__name__}, which cannot write text")
    vocabulary, count = Vocabulary(folder), len(model.embedding.embedding)
    if len(vocabulary) > count:
        raise UserError(f"{folder}: tokenizer.json has {len(vocabulary):,} tokens, but the model only {count:,}")
    return model, vocabulary
