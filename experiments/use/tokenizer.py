"""Learns a vocabulary of word pieces from text files, or from a set of TensorFlow Datasets.

python -m experiments.tokenizer --files train.en train.de --kind=bpe --vocab_size=8000 --out=tokenizer.json
python -m experiments.tokenizer --tfds=imdb_reviews/plain_text --out=imdb.json

`data.subwords.Subwords` describes the kinds. A config names the file where it asks for a tokenizer.
"""

import argparse
import shlex
from typing import Any

from core.command import command
from core.errors import UserError
from core.files import make_folder_of
from core.next_commands import next_text
from core.reading import read_text
from data.storage import open_official, records
from data.subwords import KINDS, Subwords


@command
def main(arguments: list[str]) -> None:
    """Runs the command; prints one line about the vocabulary."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.tokenizer", description=(__doc__ or "").partition("\n")[0]
    )
    texts_from = parser.add_mutually_exclusive_group(required=True)
    texts_from.add_argument("--files", nargs="+", help="UTF-8 text files to learn from")
    texts_from.add_argument("--tfds", help="a set with the feature text, whose split train is learned from")
    parser.add_argument("--kind", choices=KINDS, default="bpe", help="(default %(default)s)")
    parser.add_argument("--vocab_size", type=int, default=8000, help="tokens at most (default %(default)s)")
    parser.add_argument("--out", required=True, help="file to write, such as tokenizer.json")
    args = parser.parse_args(arguments)
    make_folder_of(args.out)
    texts = _records(args.tfds) if args.tfds else [line for path in args.files for line in _lines(path)]
    vocabulary = Subwords.train(texts, kind=args.kind, vocab_size=args.vocab_size)
    vocabulary.save(args.out)
    print(f"{args.out}: {len(vocabulary):,} {args.kind} tokens from {len(texts):,} {'texts' if args.tfds else 'lines'}")
    flag = f"--config.data.tokenizer={shlex.quote(args.out)}"
    print(next_text([f"python train.py --config=CONFIG --workdir=WORKDIR {flag}"]))


def _records(name: str) -> list[str]:
    """The texts of the training split of a set that TFDS publishes."""
    builder = open_official(name)
    features: Any = builder.info.features
    if "text" not in (features or {}) or "train" not in builder.info.splits:
        raise UserError(f"--tfds={name}: expected a set with the feature text and the split train")
    return [record["text"].decode("utf-8") for record in records(builder, "train")]


def _lines(path: str) -> list[str]:
    """The lines of a text file with their line ends, which are all \\n."""
    return read_text(path).replace("\r\n", "\n").replace("\r", "\n").splitlines(keepends=True)


if __name__ == "__main__":
    main()
