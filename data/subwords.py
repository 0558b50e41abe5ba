"""Vocabularies of word pieces learned from text, byte-level BPE or WordPiece, by the `tokenizers` library."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from core.errors import UserError, reason
from core.files import write_text
from core.ranges import Vocabulary, refuse_outside
from core.reading import read_text
from data.vocabulary import checked_tokens

SPECIALS = ("[PAD]", "[UNK]", "[BOS]", "[EOS]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, BOS, EOS, CLS, SEP, MASK = range(len(SPECIALS))
KINDS = ("bpe", "wordpiece")


class Subwords:
    """A vocabulary of word pieces, numbered after the special tokens.

    Encoding never gives special tokens: "[MASK]" in a text is a word like any other. "bpe" merges bytes (Sennrich et
    al. 2016; Radford et al. 2019): it can encode every text, and decoding restores it exactly. "wordpiece" first splits
    at spaces and punctuation (Devlin et al. 2019): unknown characters become [UNK], and decoding puts one space between
    words. Both distinguish upper and lower case.
    """

    def __init__(self, tokenizer: Tokenizer):
        # A tokenizer file does not hold these two settings.
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer

    @classmethod
    def train(cls, texts: Iterable[str], *, kind: str, vocab_size: Vocabulary) -> "Subwords":
        """Returns a vocabulary of up to `vocab_size` tokens, learned from `texts`.

        The same texts give the same vocabulary. Raises UserError for an unknown kind, and for a size that is too small
        for the single bytes or characters.
        """
        refuse_outside(cls.train, {"vocab_size": vocab_size})
        if kind not in KINDS:
            raise UserError(f"kind = {kind!r}: expected one of {', '.join(KINDS)}.")
        tokenizer = (_bpe if kind == "bpe" else _wordpiece)(list(texts), vocab_size)
        if tokenizer.get_vocab_size() > vocab_size:
            raise UserError(
                f"vocab_size = {vocab_size}: the special tokens and single pieces alone are "
                f"{tokenizer.get_vocab_size()}. Choose a larger one."
            )
        return cls(tokenizer)

    @classmethod
    def load(cls, path: str | Path) -> "Subwords":
        """Reads what `save` wrote. Raises UserError where there is no file, or it holds something else."""
        if not Path(path).exists():
            raise UserError(
                f"There is no tokenizer {path}. To make one: python -m experiments.tokenizer --files TEXT --out={path}"
            )
        text = read_text(path)
        try:
            tokenizer = Tokenizer.from_str(text)
            special = [tokenizer.token_to_id(token) for token in SPECIALS] == list(range(len(SPECIALS)))
        except Exception as error:  # the library raises nothing more specific
            raise UserError(f"{path} does not hold a tokenizer: {reason(error)}") from error
        if not special:
            raise UserError(
                f"{path} holds a tokenizer whose first tokens are not {' '.join(SPECIALS)}. "
                "Make one with python -m experiments.tokenizer."
            )
        return cls(tokenizer)

    def save(self, path: str | Path) -> None:
        """Writes `text()` to a file, usually called tokenizer.json."""
        write_text(path, self.text())

    def text(self) -> str:
        """Returns the tokenizer as the JSON of the `tokenizers` library."""
        return self._tokenizer.to_str(pretty=True)

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> np.ndarray:
        """Returns the tokens of `text`, int32 (T,), without [CLS] or the like around them."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: list[str]) -> list[np.ndarray]:
        """Returns the tokens of each text, faster than one by one."""
        encoded = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        return [np.array(text.ids, np.int32) for text in encoded]

    def decode(self, tokens: ArrayLike) -> str:
        """Returns the text of `tokens`, integers (T,), without special tokens.

        Raises ValueError for a token outside the vocabulary.
        """
        return self._tokenizer.decode(checked_tokens(tokens, len(self)).tolist(), skip_special_tokens=True)


def vocabulary_of_words(words: Sequence[str]) -> Subwords:
    """Returns a vocabulary of whole words between spaces, numbered after the special tokens in their order here."""
    numbers = {word: number for number, word in enumerate(dict.fromkeys([*SPECIALS, *words]))}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue] # as documented
    tokenizer.add_special_tokens(list(SPECIALS))
    return Subwords(tokenizer)


def _bpe(texts: list[str], vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIALS), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _wordpiece(texts: list[str], vocab_size: int) -> Tokenizer:
    def empty(vocabulary: dict[str, int]) -> Tokenizer:
        tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=SPECIALS[UNK]))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        return tokenizer

    # The library numbers the characters inside words (##a) differently each time, unless they are given in advance.
    learner = empty({})
    characters = learner.normalizer.normalize_str("".join(sorted(set().union(*texts))))
    inside = [f"##{c}" for c in characters if len(learner.pre_tokenizer.pre_tokenize_str(f"a{c}a")) == 1]
    first = [*SPECIALS, *dict.fromkeys(inside)]
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=first, show_progress=False)
    learner.train_from_iterator(texts, trainer)
    tokenizer = empty(learner.get_vocab())
    tokenizer.add_special_tokens(list(SPECIALS))
    return tokenizer
