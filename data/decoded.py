"""Labelled images of a prepared set as arrays: decoded by the first run on a machine, then read from disk."""

from functools import lru_cache
import hashlib
import os
from pathlib import Path
import zipfile

import numpy as np
import tensorflow_datasets as tfds

from data.storage import kept_root, records, split_parts

_WORTH_KEEPING = 10_000  # images; fewer are decoded in less than a second
_UNREADABLE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile)  # not there, or damaged: it has checksums


def row_type(shape: tuple[int, int, int]) -> np.dtype:
    """Returns what a labelled image of (height, width, channels) is: fields "label", int32, and "image", uint8."""
    return np.dtype([("label", np.int32), ("image", np.uint8, shape)])


def decoded(builder: tfds.core.DatasetBuilder, split: str) -> np.ndarray:
    """Returns the rows of a split such as "train[:80%]+test", see `row_type`. They are shared: not to be written to.

    The set has features "image" and "label" and fits into memory. A large split is kept in the folder of
    `data.storage.kept_root`, under a digest of the files that it was decoded from, so another set of the same name is
    another file. Where that cannot be written, which is said, each run decodes.

    Raises ValueError where there is no such split, or the set is damaged.
    """
    lengths = {name: info.num_examples for name, info in builder.info.splits.items()}
    found = split_parts(builder.info.name, lengths, split)
    parts = [_read(builder.data_dir, name, _digest(builder, name))[part] for name, part in found]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


@lru_cache(maxsize=4)  # the members of a population, and training and evaluation on one split, share the arrays
def _read(folder: str, split: str, digest: str) -> np.ndarray:
    builder = tfds.builder_from_directory(folder)
    if builder.info.splits[split].num_examples < _WORTH_KEEPING:
        return _decode(builder, split)
    file = kept_root() / "decoded" / f"{builder.info.name}-{builder.info.version}-{split}-{digest[:16]}.npz"
    try:
        with np.load(file) as kept:
            return kept["rows"]
    except _UNREADABLE:
        pass
    print(f"decoding {split} of {builder.info.name} (once)", flush=True)
    rows = _decode(builder, split)
    try:
        _write(file, rows)
    except OSError as error:
        print(f"{file} cannot be written: {error}. Set LECTERN_DATA to a folder with room, or each run decodes.")
    return rows


def _decode(builder: tfds.core.DatasetBuilder, split: str) -> np.ndarray:
    found = ((record["label"], record["image"]) for record in records(builder, split))
    return np.fromiter(found, row_type(builder.info.features["image"].shape), builder.info.splits[split].num_examples)


def _digest(builder: tfds.core.DatasetBuilder, split: str) -> str:
    digest = hashlib.sha256()
    for path in builder.info.splits[split].filepaths:
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def _write(file: Path, rows: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        with open(part, "wb") as stream:
            np.savez(stream, rows=rows)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
