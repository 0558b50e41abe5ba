"""Labelled texts and images of the user's own, from a folder. Text without labels: `data.text.text_file`."""

from collections.abc import Callable
from dataclasses import dataclass
import json
from pathlib import Path

import numpy as np
from PIL import Image

from data.bytes import Bytes
from data.dataset import Dataset
from data.decoded import row_type
from data.images import labelled_images
from data.lines import read_lines
from data.sequences import Sequences, sequence_dataset
from data.storage import split_parts
from data.subwords import CLS, SEP, Subwords


def labelled_text(
    *, path: str, context: int, train: str = "train", evaluation: str = "validation", tokenizer: str = "bytes"
) -> Dataset:
    """Returns texts and their labels, from a folder with a file for each split, such as train.tsv.

    A line of a .tsv file is a label, a tab and the text; a line of a .jsonl file {"label": ..., "text": ...}. Both are
    UTF-8. The classes are the labels of the training split in alphabetical order. A text longer than `context` tokens
    is cut there, and it is said how many are.

    A token is a byte. Or `tokenizer` is a file that `data.subwords.Subwords` reads; a text then stands between [CLS]
    and [SEP], as BERT expects it.

    Raises FileNotFoundError, or ValueError that names file and line.
    """
    items = {file.stem: _READERS[file.suffix](file) for file in _split_files(path)}
    classes = _classes(path, items, train, evaluation)
    together = [item for split in items.values() for item in split]
    vocabulary = Bytes() if tokenizer == "bytes" else Subwords.load(tokenizer)
    texts = [vocabulary.encode(item.content) for item in together]
    room = context if tokenizer == "bytes" else context - 2
    if cut := sum(len(text) > room for text in texts):
        print(f"{path}: {cut:,} of {len(texts):,} texts are longer than {room:,} tokens and were cut", flush=True)
    if tokenizer != "bytes":
        texts = [np.concatenate([[CLS], text[:room], [SEP]]) for text in texts]
    targets = [classes.get(item.label, -1) for item in together]  # -1: in a split that is not used
    return sequence_dataset(
        path, Sequences.of(texts, targets), {split: len(items[split]) for split in items}, train, evaluation,
        vocabulary=vocabulary, classes=len(classes), vocab_size=len(vocabulary), context=context,
    )  # fmt: skip


def image_folder(
    *, path: str, train: str = "train", evaluation: str = "validation", size: int = 0, channels: int = 3,
    targets: str = "labels", shift: int = 0, crop: float = 1.0, flip: bool = False,
) -> Dataset:  # fmt: skip
    """Returns images from a folder with a folder for each split, and in it a folder for each class: train/cat/1.png.

    All files that Pillow reads will do, up to 8 bits a channel. The classes are the folders of the training split in
    alphabetical order. The images of a split are shuffled once, so that a slice such as "train[:90%]" has all classes.

    Args:
      size: rows and columns, to which each image is stretched. 0: all images have one size already.
      channels: 3 (colour) or 1 (grey), to which each image is converted.
      targets, shift, crop, flip: see `data.images.Images`.

    Raises FileNotFoundError, or ValueError that names the file.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels = {channels}: expected 3 (colour) or 1 (grey).")
    items = {folder.name: _images(folder) for folder in _visible(path) if folder.is_dir()}
    classes = _classes(path, items, train, evaluation)
    first = next(item.content for split in items.values() for item in split)
    rows, columns = (size, size) if size else _shape(first)
    if not size:
        for item in (item for split in items.values() for item in split):
            if _shape(item.content) != (rows, columns):
                raise ValueError(
                    f"{item.place} has {_words(_shape(item.content))}, but {first} has {_words((rows, columns))}. "
                    "Set data.size to stretch all to one size."
                )
    found = {split: [(item.content, classes.get(item.label, -1)) for item in items[split]] for split in items}
    return labelled_images(
        lambda spec: _Files(_chosen(path, found, spec), (rows, columns, channels)), len(classes), train, evaluation,
        peak=255, targets=targets, shift=shift, crop=crop, flip=flip,
    )  # fmt: skip


# ---- private parts --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Item:
    label: str
    content: str | Path  # the text, or the file with the image
    place: str  # for messages


def _chosen(path: str, of: dict[str, list], spec: str) -> list:
    """What a split in TFDS notation stands for."""
    parts = split_parts(path, {split: len(found) for split, found in of.items()}, spec)
    return [x for split, part in parts for x in of[split][part]]


def _classes(path: str, items: dict[str, list[_Item]], train: str, evaluation: str) -> dict[str, int]:
    """The number of each label."""
    if not any(items.values()):
        raise ValueError(f"{path} holds nothing to train on. Expected {_LAYOUT}.")
    labels = sorted({item.label for item in _chosen(path, items, train)})
    for item in _chosen(path, items, evaluation):
        if item.label not in labels:
            known = ", ".join(labels[:9]) + (", ..." if len(labels) > 9 else "")
            raise ValueError(f"{item.place}: the label {item.label!r} is not among those of {train}: {known}.")
    return {label: number for number, label in enumerate(labels)}


_LAYOUT = "a file for each split (train.tsv or train.jsonl), or for images a folder for each class of it (train/cat/)"


def _visible(path: str | Path) -> list[Path]:
    if not Path(path).is_dir():
        raise FileNotFoundError(f"There is no folder {path}. Expected {_LAYOUT}.")
    return sorted(entry for entry in Path(path).iterdir() if not entry.name.startswith("."))


def _split_files(path: str) -> list[Path]:
    files = [file for file in _visible(path) if file.suffix in _READERS]
    stems = [file.stem for file in files]
    for file in files:
        if stems.count(file.stem) > 1:
            raise ValueError(f"{path} holds {file.stem} as .tsv and as .jsonl: move one away.")
    return files


def _tsv(file: Path) -> list[_Item]:
    def item(line: str, place: str) -> _Item:
        label, tab, text = line.partition("\t")
        if not (label.strip() and tab and text.strip()):
            raise ValueError(f"{place}: expected a label, a tab and a text, got {line[:60]!r}.")
        return _Item(label.strip(), text, place)

    return _items(file, item)


def _jsonl(file: Path) -> list[_Item]:
    def item(line: str, place: str) -> _Item:
        try:
            content = json.loads(line)
            label, text = content["label"], content["text"]
        except (ValueError, TypeError, KeyError):
            label, text = None, None
        if not isinstance(label, (str, int)) or not isinstance(text, str) or not text.strip():
            raise ValueError(f'{place}: expected {{"label": "...", "text": "..."}}, got {line[:60]!r}.')
        return _Item(str(label), text, place)

    return _items(file, item)


def _items(file: Path, item: Callable[[str, str], _Item]) -> list[_Item]:
    return [item(line, f"{file}, line {number}") for number, line in enumerate(read_lines(file), start=1)]


_READERS = {".tsv": _tsv, ".jsonl": _jsonl}


def _images(folder: Path) -> list[_Item]:
    items = []
    for label in _visible(folder):
        if not label.is_dir():
            raise ValueError(f"{label}: expected a folder for each class here, with the images in it.")
        items += [_Item(label.name, file, str(file)) for file in _visible(label)]
    order = np.random.default_rng(0).permutation(len(items))
    return [items[place] for place in order]


def _open(file: Path) -> Image.Image:
    try:
        image = Image.open(file)
    except OSError as error:
        raise ValueError(f"{file} cannot be read as an image. Replace it, or move it away.") from error
    if image.mode[0] in "IF":
        raise ValueError(f"{file} has more than 8 bits a channel (mode {image.mode}). Convert it to 8 bits.")
    return image


def _shape(file: Path) -> tuple[int, int]:
    """(rows, columns), from the head of the file."""
    with _open(file) as image:
        return image.height, image.width


def _words(shape: tuple[int, int]) -> str:
    return f"{shape[0]} rows and {shape[1]} columns"


class _Files:
    """Images and class numbers as rows, see `data.decoded.row_type`. A file is decoded when it is first asked for.

    What was decoded is kept in memory, where the whole set takes less than `memory_limit` bytes.
    """

    def __init__(self, found: list[tuple[Path, int]], shape: tuple[int, int, int], memory_limit: int = 2 * 1024**3):
        self._found = found
        self.dtype = row_type(shape)
        self._kept = None
        if len(found) * self.dtype.itemsize <= memory_limit:
            self._kept = np.empty(len(found), self.dtype)
            self._have = np.zeros(len(found), bool)

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        if self._kept is None:
            return self._decode(indices)
        missing = indices[~self._have[indices]]
        if missing.size:
            # Marked last, so that another thread never reads a row before it is there.
            self._kept[missing] = self._decode(missing)
            self._have[missing] = True
        return self._kept[indices]

    def _decode(self, indices: np.ndarray) -> np.ndarray:
        found = [self._found[index] for index in indices.tolist()]
        return np.array([(label, self._pixels(file)) for file, label in found], self.dtype)

    def _pixels(self, file: Path) -> np.ndarray:
        rows, columns, channels = self.dtype["image"].shape
        with _open(file) as image:
            try:
                image = image.convert("L" if channels == 1 else "RGB")
            except OSError as error:
                raise ValueError(f"{file} is damaged: {error}. Replace it, or move it away.") from error
            if image.size != (columns, rows):
                image = image.resize((columns, rows), Image.Resampling.BILINEAR)
            return np.asarray(image).reshape(rows, columns, channels)
