"""Labelled texts and images from a folder of the user's own. For text without labels see `data.text.text_file`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from PIL import Image

from core.errors import UserError
from core.files import parse_json
from data.bytes import Bytes
from data.dataset import Dataset
from data.image_cache import row_type
from data.images import Channels, labelled_images
from data.lines import read_lines
from data.sequences import Sequences, sequence_dataset
from data.storage import split_parts
from data.subwords import CLS, SEP, Subwords


def labelled_text(
    *, path: str, context: int, train: str = "train", evaluation: str = "validation", tokenizer: str = "bytes"
) -> Dataset:
    """Returns texts and their labels, from a folder with one file per split, such as train.tsv.

    A line of a .tsv file is a label, a tab and the text; a line of a .jsonl file is {"label": ..., "text": ...}. Both
    are UTF-8. The classes are the labels of the training split in alphabetical order. Texts longer than `context`
    tokens are cut, and a message says how many were.

    Args:
      path: the folder.
      context: tokens per text.
      tokenizer: "bytes" for one token per byte; or a file of `data.subwords.Subwords`, in which case a text stands
        between [CLS] and [SEP], as for BERT.
      train, evaluation: splits, and slices of them counted in texts, such as "train[:90%]".

    Raises UserError where the folder does not exist or a file is malformed, with the file and the line.
    """
    longest = context if tokenizer == "bytes" else context - 2
    if longest < 1:
        raise UserError(f"context = {context}: expected at least 1 token, or 3 with [CLS] and [SEP].")
    items = {file.stem: _READERS[file.suffix](file) for file in _split_files(path)}
    classes = _classes(path, items, train, evaluation)
    all_items = [item for split in items.values() for item in split]
    vocabulary = Bytes() if tokenizer == "bytes" else Subwords.load(tokenizer)
    texts = vocabulary.encode_all([item.content for item in all_items])
    if cut := sum(len(text) > longest for text in texts):
        print(f"{path}: {cut:,} of {len(texts):,} texts are longer than {longest:,} tokens and were cut", flush=True)
    if tokenizer != "bytes":
        texts = [np.concatenate([[CLS], text[:longest], [SEP]]) for text in texts]
    targets = [classes.get(item.label, -1) for item in all_items]  # -1: in a split that is not used
    return sequence_dataset(
        path, Sequences.of(texts, targets), {split: len(items[split]) for split in items}, train, evaluation,
        vocabulary=vocabulary, classes=len(classes), vocab_size=len(vocabulary), context=context,
    )  # fmt: skip


def image_folder(
    *, path: str, train: str = "train", evaluation: str = "validation", size: int = 0, channels: int = 3,
    targets: str = "labels", shift: int = 0, crop: float = 1.0, flip: bool = False, mean: Channels = None,
    std: Channels = None,
) -> Dataset:  # fmt: skip
    """Returns images from a folder with one folder per split, and one folder per class in it: train/cat/1.png.

    Every file format that Pillow reads works, with up to 8 bits a channel. The classes are the folders of the training
    split in alphabetical order. The images of a split are shuffled once, so that a slice such as "train[:90%]" has all
    classes.

    Args:
      path: the folder.
      size: rows and columns, to which each image is stretched. With 0, all images must have the same size.
      channels: 3 (colour) or 1 (grey), to which each image is converted.
      targets, shift, crop, flip, mean, std: see `data.images.Images`.
      train, evaluation: splits, and slices of them counted in images.

    Raises UserError where the folder does not exist, and for a file that is no image or does not fit.
    """
    if channels not in (1, 3):
        raise UserError(f"channels = {channels}: expected 3 (colour) or 1 (grey).")
    if size < 0:
        raise UserError(f"size = {size}: expected at least 1 pixel, or 0 where all images have one size.")
    items = {folder.name: _images(folder) for folder in _visible(path) if folder.is_dir()}
    classes = _classes(path, items, train, evaluation)
    all_files = [item.content for split in items.values() for item in split]
    rows, columns = (size, size) if size else _size(all_files[0])
    if not size:
        for file in all_files:
            if _size(file) != (rows, columns):
                raise UserError(
                    f"{file} has {_words(_size(file))}, but {all_files[0]} has {_words((rows, columns))}. "
                    "Set data.size to stretch all images to one size."
                )
    labelled = {split: [(item.content, classes.get(item.label, -1)) for item in items[split]] for split in items}
    return labelled_images(
        lambda spec: _ImageRows(_selected(path, labelled, spec), (rows, columns, channels)), len(classes), train,
        evaluation, peak=255, targets=targets, shift=shift, crop=crop, flip=flip, mean=mean, std=std,
    )  # fmt: skip


# ---- private parts --------------------------------------------------------------------------------------------------

_Content = TypeVar("_Content", str, Path)
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Item(Generic[_Content]):
    label: str
    content: _Content  # the text, or the file with the image
    place: str  # the file and the line, for messages


def _selected(path: str, splits: Mapping[str, Sequence[_T]], spec: str) -> list[_T]:
    """The items of a split in TFDS notation."""
    parts = split_parts(path, {split: len(items) for split, items in splits.items()}, spec)
    return [item for split, part in parts for item in splits[split][part]]


def _classes(path: str, items: Mapping[str, Sequence[_Item]], train: str, evaluation: str) -> dict[str, int]:
    """The number of each label of the training split."""
    if not any(items.values()):
        raise UserError(f"{path} holds nothing to train on. Expected {_LAYOUT}.")
    labels = sorted({item.label for item in _selected(path, items, train)})
    for item in _selected(path, items, evaluation):
        if item.label not in labels:
            expected = ", ".join(labels[:9]) + (", ..." if len(labels) > 9 else "")
            raise UserError(f"{item.place}: the label {item.label!r} is not among those of {train}: {expected}.")
    return {label: number for number, label in enumerate(labels)}


_LAYOUT = "a file per split (train.tsv or train.jsonl), or for images a folder per split with a folder per class in it"


def _visible(path: str | Path) -> list[Path]:
    if not Path(path).is_dir():
        raise UserError(f"There is no folder {path}. Expected {_LAYOUT}.")
    return sorted(entry for entry in Path(path).iterdir() if not entry.name.startswith("."))


def _split_files(path: str) -> list[Path]:
    files = [file for file in _visible(path) if file.suffix in _READERS]
    stems = [file.stem for file in files]
    for file in files:
        if stems.count(file.stem) > 1:
            raise UserError(f"{path} holds {file.stem} as .tsv and as .jsonl: move one away.")
    return files


def _read_tsv(file: Path) -> list[_Item[str]]:
    def item(line: str, place: str) -> _Item[str]:
        label, tab, text = line.partition("\t")
        if not (label.strip() and tab and text.strip()):
            raise UserError(f"{place}: expected a label, a tab and a text, got {line[:60]!r}.")
        return _Item(label.strip(), text, place)

    return _items(file, item)


def _read_jsonl(file: Path) -> list[_Item[str]]:
    def item(line: str, place: str) -> _Item[str]:
        try:
            content = parse_json(line)
            label, text = content["label"], content["text"]
        except (ValueError, TypeError, KeyError):
            label, text = None, None
        if not isinstance(label, (str, int)) or not isinstance(text, str) or not text.strip():
            raise UserError(f'{place}: expected {{"label": "...", "text": "..."}}, got {line[:60]!r}.')
        return _Item(str(label), text, place)

    return _items(file, item)


def _items(file: Path, item: Callable[[str, str], _Item[str]]) -> list[_Item[str]]:
    return [item(line, f"{file}, line {number}") for number, line in enumerate(read_lines(file), start=1)]


_READERS = {".tsv": _read_tsv, ".jsonl": _read_jsonl}


def _images(folder: Path) -> list[_Item[Path]]:
    items = []
    for label in _visible(folder):
        if not label.is_dir():
            raise UserError(f"{label}: expected a folder per class here, with the images in it.")
        items += [_Item(label.name, file, str(file)) for file in _visible(label)]
    order = np.random.default_rng(0).permutation(len(items))
    return [items[place] for place in order]


def _open(file: Path) -> Image.Image:
    try:
        image = Image.open(file)
    except OSError as error:
        raise UserError(f"{file} cannot be read as an image. Replace it, or move it away.") from error
    if image.mode[0] in "IF":
        raise UserError(f"{file} has more than 8 bits a channel (mode {image.mode}). Convert it to 8 bits.")
    return image


def _size(file: Path) -> tuple[int, int]:
    """(rows, columns), which the header of the file tells."""
    with _open(file) as image:
        return image.height, image.width


def _words(size: tuple[int, int]) -> str:
    return f"{size[0]} rows and {size[1]} columns"


class _ImageRows:
    """Image files and class numbers that can be indexed like an array of rows, see `data.image_cache.row_type`.

    A file is decoded when it is first read. Where the whole set takes at most `memory_limit` bytes, decoded images are
    kept in memory.
    """

    def __init__(self, labelled: list[tuple[Path, int]], shape: tuple[int, int, int], memory_limit: int = 2 * 1024**3):
        self._labelled = labelled
        self._shape = shape
        self.dtype = row_type(shape)
        self._kept = None
        if len(labelled) * self.dtype.itemsize <= memory_limit:
            self._kept = np.empty(len(labelled), self.dtype)
            self._is_kept = np.zeros(len(labelled), bool)

    def __len__(self) -> int:
        return len(self._labelled)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        if self._kept is None:
            return self._decode(indices)
        missing = indices[~self._is_kept[indices]]
        if missing.size:
            # Marked last, so that another thread never reads a row that is not there yet.
            self._kept[missing] = self._decode(missing)
            self._is_kept[missing] = True
        return self._kept[indices]

    def _decode(self, indices: np.ndarray) -> np.ndarray:
        chosen = [self._labelled[index] for index in indices.tolist()]
        return np.array([(label, self._pixels(file)) for file, label in chosen], self.dtype)

    def _pixels(self, file: Path) -> np.ndarray:
        rows, columns, channels = self._shape
        with _open(file) as image:
            try:
                image = image.convert("L" if channels == 1 else "RGB")
            except OSError as error:
                raise UserError(f"{file} is damaged: {error}. Replace it, or move it away.") from error
            if image.size != (columns, rows):
                image = image.resize((columns, rows), Image.Resampling.BILINEAR)
            return np.asarray(image).reshape(rows, columns, channels)
