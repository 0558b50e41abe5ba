"""Vocabularies of this project as files that the transformers library reads: tokenizer.json and its settings."""

import json
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from core.errors import UserError
from core.files import parse_json
from data.bytes import Bytes
from data.characters import Characters
from data.subwords import CLS, SEP, SPECIALS, Subwords
from data.vocabulary import Vocabulary


def tokenizer_files(vocabulary: Vocabulary, *, framed: bool, longest: int | None) -> dict[str, Any]:
    """Returns the contents of the files of a tokenizer by name, as JSON.

    Args:
      framed: whether a text stands between [CLS] and [SEP].
      longest: the context of the model, in tokens.

    Raises UserError for a vocabulary that is none of this project's own.
    """
    if isinstance(vocabulary, Subwords):
        tokenizer, specials = Tokenizer.from_str(vocabulary.text()), SPECIALS
    elif isinstance(vocabulary, Bytes):
        tokenizer, specials = _bytes(), SPECIALS
    elif isinstance(vocabulary, Characters):
        tokenizer, specials = _characters(vocabulary), ()
    else:
        raise UserError(f"a vocabulary of the kind {type(vocabulary).__name__} has no published format")
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    if longest is not None:
        settings["model_max_length"] = longest
    if specials:
        tokenizer.add_special_tokens(list(specials))
        names = ("pad", "unk", "bos", "eos", "cls", "sep", "mask")
        settings |= {f"{name}_token": token for name, token in zip(names, specials)}
    if framed:
        tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue] # as documented
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
        )  # fmt: skip
    return {"tokenizer.json": parse_json(tokenizer.to_str()), "tokenizer_config.json": settings}


def _bytes() -> Tokenizer:
    """Byte-level BPE without merges: a token for each byte."""
    # As GPT-2 writes bytes: those that print stand for themselves, and the others for the characters from 256 on.
    prints = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(256, 512))
    written = [chr(byte if byte in prints else next(others)) for byte in range(256)]
    tokens = {token: number for number, token in enumerate([*SPECIALS, *written])}
    tokenizer = Tokenizer(models.BPE(tokens, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)  # pyright: ignore[reportAttributeAccessIssue] # as documented
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue] # as documented
    return tokenizer


def _characters(vocabulary: Characters) -> Tokenizer:
    """BPE without merges: a token for each character. What the vocabulary lacks is left out."""
    tokens = {vocabulary.decode([number]): number for number in range(len(vocabulary))}
    tokenizer = Tokenizer(models.BPE(tokens, []))
    tokenizer.decoder = decoders.Fuse()  # pyright: ignore[reportAttributeAccessIssue] # as documented
    return tokenizer


def dumped(content: Any) -> str:
    """Returns the content of a file of a tokenizer as text, with every character as it is."""
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"
