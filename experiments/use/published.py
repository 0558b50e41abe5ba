"""The model of a published folder, with the tokenizer that lies beside it in `tokenizer.json`."""

import json
from pathlib import Path

from flax import nnx
import numpy as np
from tokenizers import Tokenizer

from models import pretrained
from models.protocols import LanguageModel, Translator


class Vocabulary:
    """The tokens of a published model, asked as `data.subwords.Subwords` is.

    `bos` stands before the first token of a target, `eos` ends a text; None where the folder says nothing of it.
    Raises FileNotFoundError without a tokenizer, ValueError where the file holds none.
    """

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} has no tokenizer.json: expected the file that fast tokenizers of transformers are saved as"
            )
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing more specific
            raise ValueError(f"{path} does not hold a tokenizer: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        said = {}
        for name in ("config.json", "generation_config.json"):  # what the second says holds
            said |= json.loads((folder / name).read_text()) if (folder / name).is_file() else {}
        eos = said.get("eos_token_id")
        self.bos, self.eos = said.get("decoder_start_token_id"), eos[0] if isinstance(eos, list) else eos

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> np.ndarray:
        """The tokens of `text`, int32 (T,), with the special ones that these models expect around it."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: list[str]) -> list[np.ndarray]:
        """The tokens of each text."""
        return [np.array(text.ids, np.int32) for text in self._tokenizer.encode_batch(texts)]

    def decode(self, tokens) -> str:
        """The text of `tokens` up to the end, without special ones."""
        tokens = np.asarray(tokens).tolist()
        return self._tokenizer.decode(tokens[: tokens.index(self.eos)] if self.eos in tokens else tokens)


def load(folder: str | Path) -> tuple[nnx.Module, Vocabulary]:
    """The model and its vocabulary. Raises as `pretrained.load` and `Vocabulary` do, ValueError where they differ."""
    model = pretrained.load(folder, dropout=0.0)
    if not isinstance(model, (LanguageModel, Translator)):
        raise ValueError(f"{folder} holds a {type(model).__name__}, which cannot write text")
    vocabulary, count = Vocabulary(folder), len(model.embedding.embedding)
    if len(vocabulary) > count:
        raise ValueError(f"{folder}: tokenizer.json has {len(vocabulary):,} tokens, but the model only {count:,}")
    return model, vocabulary
