"""A vocabulary of subwords from text files.

python -m experiments.tokenizer --files train.en train.de --kind=bpe --vocab_size=8000 --out=tokenizer.json

What it learns is what `data.subwords.Subwords` says. The file goes where a config asks for a tokenizer.
"""

import argparse
from pathlib import Path
import sys

from data.subwords import KINDS, Subwords


def main(arguments: list[str] | None = None) -> None:
    """The command line: one line on what was made, an error as one line and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m experiments.tokenizer", description=__doc__.splitlines()[0])
    parser.add_argument("--files", required=True, nargs="+", help="UTF-8 text files to learn from")
    parser.add_argument("--kind", choices=KINDS, default="bpe", help="(default %(default)s)")
    parser.add_argument("--vocab_size", type=int, default=8000, help="tokens at most (default %(default)s)")
    parser.add_argument("--out", required=True, help="file to write, such as tokenizer.json")
    given = parser.parse_args(arguments)
    try:
        texts = [line for path in given.files for line in _lines(path)]
        vocabulary = Subwords.train(texts, kind=given.kind, vocab_size=given.vocab_size)
        vocabulary.save(given.out)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    print(f"{given.out}: {len(vocabulary):,} {given.kind} tokens from {len(texts):,} lines")


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error.reason} at byte {error.start + 1:,}.") from error


if __name__ == "__main__":
    main()
