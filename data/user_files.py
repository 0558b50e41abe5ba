"""Labelled texts and images from a folder of the user's own. For text without labels see `data.text.text_file`."""

from collections.abc import Iterator, Mapping, Sequence
import itertools
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np

from core.errors import UserError
from core.notes import note
from core.ranges import Length, Range, Seed
from core.reading import refuse_special_file
from data.dataset import Dataset
from data.image_files import image_size, words
from data.image_rows import ImageRows
from data.images import Crop, Mean, Shift, Std, labelled_images
from data.resizing import Centre, NewSide, Resample, Resizing
from data.sequences import Sequences, sequence_dataset
from data.splits import split_parts
from data.text_tables import READERS, Item, read_table
from data.whole_texts import WholeTexts

_T = TypeVar("_T")
HeldOut = Annotated[float, Range(0, 1, open_low=True, open_high=True)]


def labelled_text(
    *, path: str, context: Length, train: str = "train", evaluation: str = "validation", tokenizer: str = "bytes",
    text: str = "text", label: str = "label",
) -> Dataset:  # fmt: skip
    """Returns texts and their labels, from a folder with one file per split, such as train.tsv.

    A line of a .tsv file is a label, a tab and the text; a line of a .jsonl file is {"label": ..., "text": ...}. A .csv
    file has a header, commas and double quotes. These are UTF-8; a .parquet file has the same columns. The classes are
    the labels of the training split in alphabetical order. Texts longer than `context` tokens are cut, and a message
    says how many were.

    Args:
      path: the folder.
      context: tokens per text.
      tokenizer: "bytes", or a file of `data.subwords.Subwords`; see `data.whole_texts`.
      train, evaluation: splits, and slices of them counted in texts, such as "train[:90%]".
      text, label: the names of the columns of .csv and .parquet files, and of the keys of .jsonl files.

    Raises UserError where the folder does not exist or a file is malformed, with the file and the line.
    """
    whole_texts = WholeTexts(path, tokenizer=tokenizer, context=context)  # raises an error before files are read
    items = {file.stem: read_table(file, text, label) for file in _split_files(path)}
    classes = _classes(path, items, train, evaluation)
    all_items = [item for split in items.values() for item in split]
    tokens = whole_texts.encode([item.content for item in all_items])
    targets = [classes.get(item.label, -1) for item in all_items]  # -1: in a split that is not used
    return sequence_dataset(
        path, Sequences.of(tokens, targets), {split: len(items[split]) for split in items}, train, evaluation,
        vocabulary=whole_texts.vocabulary, encode=whole_texts.encode, names=list(classes), classes=len(classes),
        vocab_size=len(whole_texts.vocabulary), context=context,
    )  # fmt: skip


def image_folder(
    *, path: str, train: str = "train", evaluation: str = "validation", size: NewSide = 0,
    resample: Resample = "bilinear", centre: Centre = 1.0, proportions: bool = False,
    channels: Annotated[int, Range(1, 3)] = 3, held_out: HeldOut = 0.2, split_seed: Seed = 0, targets: str = "labels",
    shift: Shift = 0, crop: Crop = 1.0, flip: bool = False, mean: Mean = None, std: Std = None,
) -> Dataset:  # fmt: skip
    """Returns images from a folder with one folder per split, and one folder per class in it: train/cat/1.png.

    Or from a folder with one folder per class: cat/1.png. A share of each class is then held out as validation, and the
    rest is train. A message says which of the two was found.

    The formats are PNG, JPEG, GIF, BMP, WebP, TIFF and PPM, with up to 8 bits a channel; `data.image_files` says how
    they are read. The classes are the folders of the training split in alphabetical order. The images of a split are
    shuffled once, so that a slice such as "train[:90%]" has all classes.

    Args:
      path: the folder.
      size: rows and columns, to which each image is stretched. With 0, all images must have the same size.
      resample, centre, proportions: how, see `data.resizing.Resizing`.
      channels: 3 (colour) or 1 (grey), to which each image is converted.
      held_out: the share of the images of each class that are validation, where there are no folders of splits.
      split_seed: decides which ones these are.
      targets, shift, crop, flip, mean, std: see `data.images.Images`.
      train, evaluation: splits, and slices of them counted in images.

    Raises UserError where the folder does not exist, and for a file that is no image or does not fit.
    """
    if channels not in (1, 3):
        raise UserError(f"channels = {channels}: expected 3 (colour) or 1 (grey).")
    if size < 0:
        raise UserError(f"size = {size}: expected at least 1 pixel, or 0 where all images have one size.")
    items = _image_items(path, held_out, split_seed)
    classes = _classes(path, items, train, evaluation)
    all_files = [item.content for split in items.values() for item in split]
    rows, columns = (size, size) if size else image_size(all_files[0])
    if not size:
        for file in all_files:
            if image_size(file) != (rows, columns):
                raise UserError(
                    f"{file} has {words(image_size(file))}, but {all_files[0]} has {words((rows, columns))}. "
                    "Set data.size to stretch all images to one size."
                )
    labelled = {split: [(item.content, classes.get(item.label, -1)) for item in items[split]] for split in items}
    resizing = Resizing.of(size, resample, centre, proportions)
    how = resizing if size else None
    return labelled_images(
        lambda spec: ImageRows(_selected(path, labelled, spec), (rows, columns, channels), resizing=how),
        list(classes), train, evaluation, peak=255, resizing=resizing, targets=targets, shift=shift, crop=crop,
        flip=flip, mean=mean, std=std,
    )  # fmt: skip


def split_by_class(classes: Sequence[Sequence[_T]], held_out: float, seed: int) -> dict[str, list[_T]]:
    """Divides the items of each class into train and validation. If it has two, there is one on both sides.

    Args:
      classes: the items of each class.
      held_out: the share of validation.
      seed: decides which ones these are.
    """
    splits: dict[str, list[_T]] = {"train": [], "validation": []}
    for number, items in enumerate(classes):
        order = np.random.default_rng([seed, number]).permutation(len(items)).tolist()
        count = round(held_out * len(items))
        if len(items) > 1:
            count = min(max(count, 1), len(items) - 1)
        splits["validation"] += [items[place] for place in order[:count]]
        splits["train"] += [items[place] for place in order[count:]]
    return splits


# ---- private parts --------------------------------------------------------------------------------------------------

def _selected(path: str, splits: Mapping[str, Sequence[_T]], spec: str) -> list[_T]:
    """The items of a split in TFDS notation."""
    parts = split_parts(path, {split: len(items) for split, items in splits.items()}, spec)
    return [item for split, part in parts for item in splits[split][part]]


def _classes(path: str, items: Mapping[str, Sequence[Item]], train: str, evaluation: str) -> dict[str, int]:
    """The number of each label of the training split."""
    if not any(items.values()):
        raise UserError(f"{path} holds nothing to train on. {_layouts(path)}")
    labels = sorted({item.label for item in _selected(path, items, train)})
    for item in _selected(path, items, evaluation):
        if item.label not in labels:
            expected = ", ".join(labels[:9]) + (", ..." if len(labels) > 9 else "")
            raise UserError(f"{item.place}: the label {item.label!r} is not among those of {train}: {expected}.")
    return {label: number for number, label in enumerate(labels)}


_SPLITS = ("train", "validation", "valid", "val", "test")
_LAYOUT = (
    "a file per split (train.tsv, .csv, .jsonl or .parquet), or for images a folder per class, or one per split with a "
    "folder per class in it"
)


def _layouts(path: str | Path) -> str:
    """Returns the layout that is expected in a folder and what is there, for a message."""
    first_files = [f"{Path(path) / name}" for name in itertools.islice(_first_files(Path(path)), 3)]
    return (
        f"Expected {_LAYOUT}.\n"
        f"  expected: {Path(path) / 'train' / 'cat' / '1.png'} or {Path(path) / 'train.tsv'}\n"
        f"  found:    {', '.join(first_files) or 'no file'}"
    )


def _first_files(folder: Path, levels: int = 4) -> Iterator[str]:
    """Yields the names of files below a folder, down to some levels, the first one of each folder."""
    entries = _visible(folder)
    yield from itertools.islice((entry.name for entry in entries if not entry.is_dir()), 1)
    for entry in entries if levels > 1 else []:
        if entry.is_dir():
            yield from (f"{entry.name}/{name}" for name in _first_files(entry, levels - 1))


def _visible(path: str | Path) -> list[Path]:
    if Path(path).is_file():
        raise UserError(f"{path} is a file: name the folder that holds it. Expected {_LAYOUT}.")
    if not Path(path).is_dir():
        raise UserError(f"There is no folder {path}. Expected {_LAYOUT}.")
    return sorted(entry for entry in Path(path).iterdir() if not entry.name.startswith("."))


def _split_files(path: str) -> list[Path]:
    files = [file for file in _visible(path) if file.suffix in READERS]
    stems = [file.stem for file in files]
    for file in files:
        if stems.count(file.stem) > 1:
            endings = " and as ".join(other.suffix for other in files if other.stem == file.stem)
            raise UserError(f"{path} holds {file.stem} as {endings}: move one away.")
    return files


def _image_items(path: str, held_out: float, seed: int) -> dict[str, list[Item[Path]]]:
    """The images of each split, in an order that is random but always the same. Prints which layout was found."""
    folders = [folder for folder in _visible(path) if folder.is_dir()]
    classes_alone = folders and not any(entry.is_dir() for folder in folders for entry in _visible(folder))
    if classes_alone and any(folder.name in _SPLITS for folder in folders):
        raise UserError(
            f"{next(f for f in folders if f.name in _SPLITS)} is called as a split, but holds no folder of a class. "
            f"{_layouts(path)}"
        )
    if classes_alone:
        items = split_by_class([_images_of(path, folder) for folder in folders], held_out, seed)
        layout = f"a folder per class; {held_out:.0%} of each are held out"
    else:
        items = {folder.name: _images(path, folder) for folder in folders}
        layout = "a folder per split with a folder per class in it"
    if any(items.values()):
        counts = ", ".join(f"{split} {len(split_items):,}" for split, split_items in items.items())
        note(f"{path}: {layout}; images: {counts}")
    return {split: _shuffled(split_items) for split, split_items in items.items()}


def _images(path: str, split: Path) -> list[Item[Path]]:
    """The images of a split."""
    items = []
    for label in _visible(split):
        if not label.is_dir():
            raise UserError(f"{label}: expected a folder per class in {split}, the folder of a split. {_layouts(path)}")
        items += _images_of(path, label)
    return items


def _images_of(path: str, folder: Path) -> list[Item[Path]]:
    """The images in the folder of a class."""
    items = []
    for file in _visible(folder):
        if file.is_dir():
            raise UserError(
                f"{file} is a folder: expected only images in {folder}, the folder of a class. {_layouts(path)}\n"
                f"If {folder.parent} holds the splits, set data.path to it."
            )
        refuse_special_file(file)
        items.append(Item(folder.name, file, str(file)))
    return items


def _shuffled(items: list[Item[Path]]) -> list[Item[Path]]:
    order = np.random.default_rng(0).permutation(len(items))
    return [items[place] for place in order]
