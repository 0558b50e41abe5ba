"""What a command is asked about: images, texts, arrays or a split, from flags, files, folders or standard input."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
import sys
import zipfile

import numpy as np

from core.errors import UserError, reason
from core.reading import refuse_special_file
from data.dataset import Source
from data.image_files import refuse_damaged
from data.images import Images
from data.in_memory import ArraySource
from data.lines import read_lines
from data.vocabulary import Vocabulary
from experiments.use.opened import Opened, describe, open_split
from models import CLIP

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


@dataclass(frozen=True)
class Inputs:
    """Examples to answer.

    Attributes:
      names: of the examples: the text, the file, or the number.
      source: of the examples.
      labelled: whether their targets are known.
    """

    names: "Sequence[str] | SplitNames"
    source: Source
    labelled: bool = False


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that name a model, of which one is required; the value is `folder`."""
    folder = parser.add_mutually_exclusive_group(required=True)
    folder.add_argument("--workdir", dest="folder", help="folder of a run; its newest checkpoint is used")
    folder.add_argument("--weights", dest="folder", help="folder of a published model")


def add_inputs(parser: argparse.ArgumentParser, *, split: bool = True) -> None:
    """Adds the flags that name inputs, of which at most one may be given; see `read_inputs`."""
    inputs = parser.add_mutually_exclusive_group()
    inputs.add_argument("--text", help="a text")
    inputs.add_argument("--file", help="UTF-8 file with a text, or the path of an image, a line; -: standard input")
    inputs.add_argument("--images", nargs="+", metavar="PATH", help="image files, and folders of them")
    inputs.add_argument("--arrays", help=".npz file with the model's inputs by name, examples along the first axis")
    if split:
        inputs.add_argument("--split", help="a split of the run's own data set, such as test or train[:100]")


def read_inputs(args: argparse.Namespace, opened: Opened) -> Inputs:
    """Returns what the flags of `add_inputs` name; without any of them, the lines of standard input.

    Raises:
      UserError: there is nothing to read, or it is not what the model reads.
    """
    if split := getattr(args, "split", None):
        return _split(opened, split)
    if args.arrays:
        return _arrays(args.arrays)
    if args.images:
        return of_items(opened, image_files(args.images), "images")
    if args.text is not None:
        return of_items(opened, [args.text], "texts")
    if args.file not in (None, "-"):
        return of_items(opened, read_lines(args.file))
    if args.file is None and sys.stdin.isatty():
        raise UserError("there is nothing to read: give --text, --file, --images or --arrays, or pipe lines in")
    return of_items(opened, _lines_of_standard_input())


def of_items(opened: Opened, items: Sequence[str | Path], kind: str | None = None) -> Inputs:
    """Returns texts, or paths of images, as a model's inputs. `kind` is "texts" or "images", None for either.

    Raises:
      UserError: the model reads something else, there is none, or one is empty.
    """
    reading = opened.reading
    if isinstance(opened.model, CLIP) and opened.run is None:
        raise UserError(f"{describe(opened)}, which compares images with texts: load it in Python")
    if reading is None:
        why = "without a tokenizer.json for texts" if opened.run is None else "which reads no texts or images of yours"
        raise UserError(f"{describe(opened)}, {why}: use --arrays")
    if kind not in (None, reading.kind):
        flags = {"images": "--images", "texts": "--text or --file"}
        raise UserError(f"{describe(opened)}, which reads {reading.kind}: use {flags[reading.kind]}")
    if not items:
        raise UserError(f"there is nothing to read: expected some {reading.kind}")
    names = list(map(str, items))
    for number, name in enumerate(names, start=1):
        if not name.strip():
            raise UserError(f"text {number} is empty: expected at least one character")
    if reading.kind == "images":
        for name in names:
            refuse_special_file(name)
    return Inputs(names, reading.source(list(map(Path, names)) if reading.kind == "images" else names))


def image_files(paths: Sequence[str | Path]) -> list[Path]:
    """Returns the files that are named, and the image files in the folders that are named and below them, sorted.

    Files in a folder that cannot be read as images are left out, and named on standard error.

    Raises:
      UserError: there is no such file, or a folder has no image.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            files.append(path)
            continue
        inside = [file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.startswith(".")]
        images = [file for file in inside if file.suffix.lower() in SUFFIXES]
        if not images:
            raise UserError(f"{path} holds no image: expected files that end with {', '.join(SUFFIXES)}")
        if len(images) < len(inside):
            others = f"{len(inside) - len(images):,} of {len(inside):,} files"
            print(f"{path}: {others} left out: no image by their names", file=sys.stderr)
        readable = [file for file in images if _is_readable(file)]
        if not readable:
            raise UserError(f"{path}: none of its {len(images):,} image files can be read")
        files += readable
    return files


def _is_readable(file: Path) -> bool:
    """Returns whether a file is an image that can be decoded to its end; says why if not."""
    try:
        refuse_damaged(file)
    except UserError as error:
        print(f"left out: {error}", file=sys.stderr)
        return False
    return True


def _lines_of_standard_input() -> list[str]:
    text = sys.stdin.read()
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []
    return lines


def _split(opened: Opened, split: str) -> Inputs:
    if opened.run is None:
        raise UserError(f"{opened.folder} is a published model, without a data set: --split needs --workdir")
    source = open_split(opened.run, split).evaluation
    return Inputs(SplitNames(source, opened.vocabulary), source, labelled=True)


class SplitNames:
    """The names of the examples of a source by number: the text, the file of an image, or else the number."""

    def __init__(self, source: Source, vocabulary: Vocabulary | None):
        self._source, self._vocabulary = source, vocabulary

    def __getitem__(self, number: int) -> str:
        if isinstance(self._source, Images):
            return self._source.place(number)
        if self._vocabulary is None:
            return str(number)
        inputs = self._source.examples(np.array([number]))["inputs"]
        if "tokens" not in inputs:
            return str(number)
        mask = inputs.get("mask", np.ones_like(inputs["tokens"]))
        return self._vocabulary.decode(inputs["tokens"][mask.astype(bool)])


def _arrays(path: str) -> Inputs:
    refuse_special_file(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise UserError(
            f"{path} is not an .npz file of arrays ({reason(error)}): write one with numpy.savez"
        ) from error
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if not lengths or len(set(lengths.values())) > 1 or 0 in lengths.values():
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "none"
        raise UserError(f"{path}: expected arrays with as many examples along the first axis, got {shapes}")
    count = next(iter(lengths.values()))
    floats = {name: x.astype(np.float32) if x.dtype.kind == "f" else x for name, x in arrays.items()}
    integers = {name: x.astype(np.int32) if x.dtype.kind in "iu" else x for name, x in floats.items()}
    weights = np.asarray(integers["mask"], np.float32) if "mask" in integers else np.ones(count, np.float32)
    batch = {"inputs": integers, "targets": np.zeros(count, np.int32), "weights": weights}
    return Inputs(list(map(str, range(count))), ArraySource(batch, np.arange(count)))
