"""The model of a published folder, with its tokenizer."""

from pathlib import Path

from core.errors import UserError
from data.published_tokenizer import PublishedTokenizer
from models import pretrained
from models.protocols import LanguageModel, Translator


def load(folder: str | Path) -> tuple[LanguageModel | Translator, PublishedTokenizer]:
    """Returns the model of a published folder and its vocabulary.

    Raises:
      UserError: the folder holds no model that can write text, or no tokenizer, or the two do not fit together.
    """
    model = pretrained.load(folder, dropout=0.0)
    if not isinstance(model, LanguageModel | Translator):
        raise UserError(f"{folder} holds a {type(model).__name__}, which cannot write text")
    vocabulary, count = PublishedTokenizer(folder), len(model.embedding.embedding)
    if len(vocabulary) > count:
        raise UserError(f"{folder}: tokenizer.json has {len(vocabulary):,} tokens, but the model only {count:,}")
    return model, vocabulary
