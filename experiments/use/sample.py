"""Makes a small sample of data in the layout that your own would have, without a download.

python -m experiments.sample images --out=samples/images
python -m experiments.sample labelled_text --out=samples/labelled_text

The configs own_*.py train on these samples as they stand, and on your own data with --config.data.path.

  images          a folder for each class with PNG files: scikit-learn's handwritten digits
  text            text.txt: the help topics of Python
  labelled_text   train.csv and validation.csv with a header: numbers in words of four languages
  parallel_text   train.en, train.de, validation.en, validation.de and tokenizer.json: numbers in words
"""

import argparse
from collections.abc import Callable
import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image

from core.command import command
from core.errors import UserError
from core.files import replacing, write_text
from data.subwords import Subwords

LANGUAGES = ("de", "en", "es", "fr")
NUMBERS = 2_000  # of each language; a tenth of them is for validation
IMAGES = 60  # of each class
SIDE = 32  # of the images, in pixels


def images(out: Path) -> list[Path]:
    """Writes `IMAGES` handwritten digits of each class to <class>/<number>.png. Returns the folders of the classes."""
    from sklearn.datasets import load_digits  # here, because it takes a second

    content = load_digits()
    folders = []
    for label in range(10):
        folders.append(out / str(label))
        folders[-1].mkdir(parents=True, exist_ok=True)
        for number, pixels in enumerate(content.images[content.target == label][:IMAGES]):  # pyright: ignore[reportAttributeAccessIssue] # a Bunch
            picture = Image.fromarray(np.rint(pixels * 255 / 16).astype(np.uint8))
            with replacing(folders[-1] / f"{number}.png") as path:
                picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, "PNG")
    return folders


def text(out: Path) -> list[Path]:
    """Writes the help topics of Python to text.txt."""
    from pydoc_data.topics import topics

    return _written({out / "text.txt": "\n".join(topics[name] for name in sorted(topics))})


def labelled_text(out: Path) -> list[Path]:
    """Writes numbers in words with their language to train.csv and validation.csv, which have no number in common."""
    return _written({out / f"{split}.csv": _csv(_words(numbers)) for split, numbers in _splits().items()})


def parallel_text(out: Path) -> list[Path]:
    """Writes numbers in English and German words, line by line, and a tokenizer for both."""
    files = {}
    for split, numbers in _splits().items():
        words = _words(numbers)
        for language in ("en", "de"):
            lines = [word for word, of in words if of == language]
            files[out / f"{split}.{language}"] = "\n".join(lines) + "\n"
    lines = [line for path, content in files.items() if path.stem == "train" for line in content.splitlines()]
    vocabulary = Subwords.train(lines, kind="bpe", vocab_size=400)
    return _written(files | {out / "tokenizer.json": vocabulary.text()})


SAMPLES: dict[str, Callable[[Path], list[Path]]] = {
    "images": images, "text": text, "labelled_text": labelled_text, "parallel_text": parallel_text,
}  # fmt: skip


@command
def main(arguments: list[str]) -> None:
    """Runs the command; prints the paths of what it wrote, and what trains on it."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.sample", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("kind", choices=SAMPLES, help="what to make")
    parser.add_argument("--out", help="a new or an empty folder (default: samples/KIND)")
    args = parser.parse_args(arguments)
    out = Path(args.out or Path("samples") / args.kind)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already: name a new or an empty folder")
    out.mkdir(parents=True, exist_ok=True)
    print(*SAMPLES[args.kind](out), sep="\n")
    config = f"own_{args.kind}"
    print(f"to train on it: python train.py --config=configs/{config}.py --workdir=runs/{config}{_path(args)}")


def _path(args: argparse.Namespace) -> str:
    """The flags that name the sample, where it is not where the config looks for it."""
    if not args.out or Path(args.out) == Path("samples") / args.kind:
        return ""
    path = Path(args.out) / "text.txt" if args.kind == "text" else args.out
    tokenizer = f" --config.data.tokenizer={args.out}/tokenizer.json" if args.kind == "parallel_text" else ""
    return f" --config.data.path={path}{tokenizer}"


def _splits() -> dict[str, list[int]]:
    """Numbers below 100,000 for training and, none of them, for validation."""
    numbers = np.random.default_rng(0).permutation(100_000)[:NUMBERS].tolist()
    border = NUMBERS * 9 // 10
    return {"train": numbers[:border], "validation": numbers[border:]}


def _words(numbers: list[int]) -> list[tuple[str, str]]:
    """Each number in the words of each language, and the language."""
    from num2words import num2words  # here, because only this command needs it

    return [(num2words(number, lang=language), language) for number in numbers for language in LANGUAGES]


def _csv(rows: list[tuple[str, str]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([("text", "label"), *rows])
    return file.getvalue()


def _written(contents: dict[Path, str]) -> list[Path]:
    for path, content in contents.items():
        write_text(path, content)
    return list(contents)


if __name__ == "__main__":
    main()
