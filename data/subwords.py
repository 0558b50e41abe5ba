"""A vocabulary of pieces of words, learned from text: byte-level BPE or WordPiece, by the `tokenizers` library."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPECIALS = ("[PAD]", "[UNK]", "[BOS]", "[EOS]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, BOS, EOS, CLS, SEP, MASK = range(len(SPECIALS))
KINDS = ("bpe", "wordpiece")


class Subwords:
    """Pieces of words, numbered after the special tokens, which no text gives: there "[MASK]" is a word like any other.

    "bpe" merges bytes (Sennrich et al. 2016; Radford et al. 2019): it knows every text, and gives it back unchanged.
    "wordpiece" splits at spaces and punctuation first (Devlin et al. 2019): what it does not know is [UNK], and spaces
    come back as one between words. Both keep upper and lower case.
    """

    def __init__(self, tokenizer: Tokenizer):
        # These two are not part of the file.
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer

    @classmethod
    def train(cls, texts: Iterable[str], *, kind: str, vocab_size: int) -> "Subwords":
        """Returns a vocabulary of up to `vocab_size` tokens that make `texts` short.

        The same texts give the same vocabulary. Raises ValueError where the kind is unknown, or the size is below what
        single bytes or characters need.
        """
        if kind not in KINDS:
            raise ValueError(f"kind = {kind!r}: expected one of {', '.join(KINDS)}.")
        tokenizer = (_bpe if kind == "bpe" else _wordpiece)(list(texts), vocab_size)
        if tokenizer.get_vocab_size() > vocab_size:
            raise ValueError(
                f"vocab_size = {vocab_size}: the special tokens and single pieces alone are "
                f"{tokenizer.get_vocab_size()}. Choose a larger one."
            )
        return cls(tokenizer)

    @classmethod
    def load(cls, path: str | Path) -> "Subwords":
        """Reads what `save` wrote. Raises FileNotFoundError, or ValueError where the file holds something else."""
        try:
            tokenizer = Tokenizer.from_str(Path(path).read_text(encoding="utf-8"))
            special = [tokenizer.token_to_id(token) for token in SPECIALS] == list(range(len(SPECIALS)))
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"There is no tokenizer {path}. To make one: python -m experiments.tokenizer --files TEXT --out={path}"
            ) from error
        except Exception as error:  # the library raises nothing more specific
            raise ValueError(f"{path} does not hold a tokenizer: {error}") from error
        if not special:
            raise ValueError(
                f"{path} holds a tokenizer whose first tokens are not {' '.join(SPECIALS)}. "
                "Make one with python -m experiments.tokenizer."
            )
        return cls(tokenizer)

    def save(self, path: str | Path) -> None:
        """Writes `text()` to a file, usually called tokenizer.json."""
        Path(path).write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """Returns the tokenizer as the JSON of the `tokenizers` library."""
        return self._tokenizer.to_str(pretty=True)

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> np.ndarray:
        """Returns the tokens of `text`, int32 (T,), without special ones around them."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: list[str]) -> list[np.ndarray]:
        """Returns the tokens of each text, faster than one by one."""
        encoded = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        return [np.array(text.ids, np.int32) for text in encoded]

    def decode(self, tokens: np.ndarray) -> str:
        """Returns the text of `tokens`, integers (T,), without the special ones.

        Raises ValueError for one outside the vocabulary.
        """
        tokens = np.asarray(tokens, dtype=np.int64)
        if ((tokens < 0) | (tokens >= len(self))).any():
            raise ValueError(f"Tokens must lie in 0..{len(self) - 1}, got {tokens.min()}..{tokens.max()}.")
        return self._tokenizer.decode(tokens.tolist(), skip_special_tokens=True)


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

    # The library numbers the characters inside words (##a) differently each time, unless they are there from the start.
    learner = empty({})
    known = learner.normalizer.normalize_str("".join(sorted(set().union(*texts))))
    inside = [f"##{c}" for c in known if len(learner.pre_tokenizer.pre_tokenize_str(f"a{c}a")) == 1]
    first = [*SPECIALS, *dict.fromkeys(inside)]
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=first, show_progress=False)
    learner.train_from_iterator(texts, trainer)
    tokenizer = empty(learner.get_vocab())
    tokenizer.add_special_tokens(list(SPECIALS))
    return tokenizer
