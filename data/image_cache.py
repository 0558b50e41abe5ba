"""Labelled images of a TFDS set as arrays: the first run on a machine decodes them and keeps them on disk."""

from functools import lru_cache
import hashlib
import os
from pathlib import Path
from typing import Any
import zipfile

import numpy as np
import tensorflow_datasets as tfds

from core.files import replacing
from core.notes import note
from data.resizing import STRETCHED, Resizing
from data.splits import split_parts
from data.storage import kept_root, records

_WORTH_KEEPING = 10_000  # images; fewer are decoded in less than a second
_UNREADABLE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile)  # absent or damaged: .npz has checksums


def row_type(shape: tuple[int, ...]) -> np.dtype:
    """Returns the type of a labelled image (height, width, channels): fields "label", int32, and "image", uint8."""
    return np.dtype([("label", np.int32), ("image", np.uint8, shape)])


def decoded_images(
    builder: tfds.core.DatasetBuilder, split: str, *, image: str = "image", label: str = "label", size: int = 0,
    resizing: Resizing = STRETCHED,
) -> np.ndarray:  # fmt: skip
    """Returns the rows (N,) of a split such as "train[:80%]+test", see `row_type`.

    `image` and `label` are features of the set, which fits into memory. Images are brought to `size` rows and
    columns, see `Resizing`; with 0, all have one size. Callers share the array and must not write to it. A
    large split is kept in the folder `data.storage.kept_root()`, under a digest of the files that it was decoded from,
    so that a changed set never meets an old file. If that folder cannot be written, a message says so and each run
    decodes the images again.

    Raises UserError for a split that does not exist, and for a damaged set.
    """
    lengths = {name: info.num_examples for name, info in builder.info.splits.items()}
    parts = [
        _read(builder.data_dir, name, _digest(builder, name), image, label, size, resizing)[part]
        for name, part in split_parts(builder.info.name, lengths, split)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


@lru_cache(maxsize=4)  # the members of a population, and training and evaluation on one split, share the arrays
def _read(
    folder: str, split: str, digest: str, image: str, label: str, size: int, resizing: Resizing
) -> np.ndarray:  # fmt: skip
    builder = tfds.builder_from_directory(folder)
    if builder.info.splits[split].num_examples < _WORTH_KEEPING:
        return _decode(builder, split, image, label, size, resizing)
    chosen = "" if (image, label, size) == ("image", "label", 0) else f"-{image}-{label}-{size}{resizing.name}"
    name = f"{builder.info.name}-{builder.info.version}-{split}{chosen}-{digest[:16]}.npz"
    file = kept_root() / "decoded" / name
    try:
        with np.load(file) as archive:
            return archive["rows"]
    except _UNREADABLE:
        pass
    note(f"decoding {split} of {builder.info.name} (once)")
    rows = _decode(builder, split, image, label, size, resizing)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary, temporary.open("wb") as stream:
            np.savez(stream, rows=rows)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        note(
            f"{file} cannot be written ({reason}), so each run decodes the images again. "
            "Set LECTERN_DATA to a writable folder with enough space to keep them."
        )
    return rows


def _decode(
    builder: tfds.core.DatasetBuilder, split: str, image: str, label: str, size: int, resizing: Resizing
) -> np.ndarray:  # fmt: skip
    features: Any = builder.info.features
    shape = features[image].shape
    if size:
        shape = (size, size, shape[2])
    rows = ((record[label], resizing.pixels(record[image], size)) for record in records(builder, split))
    return np.fromiter(rows, row_type(shape), builder.info.splits[split].num_examples)


def _digest(builder: tfds.core.DatasetBuilder, split: str) -> str:
    digest = hashlib.sha256()
    for path in builder.info.splits[split].filepaths:
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()
