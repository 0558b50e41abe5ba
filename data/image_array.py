"""Images in one file of NumPy arrays (.npz), as many published sets are: no folders, no image files."""

import math
from pathlib import Path
import zipfile
import zlib

import numpy as np

from core.errors import UserError, shown
from core.ranges import Seed
from core.reading import refuse_special_file
from data.dataset import Dataset
from data.image_cache import row_type
from data.images import Crop, Mean, Shift, Std, labelled_images
from data.resizing import Centre, NewSide, Resample, Resizing
from data.splits import split_rows
from data.user_files import HeldOut, split_by_class

_LARGEST = 4 * 1024**3  # bytes of an array: all images are in memory
_DAMAGED = (OSError, EOFError, ValueError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error, NotImplementedError)


def image_array(
    *, path: str, train: str = "train", evaluation: str = "validation", images: str = "images", label: str = "labels",
    size: NewSide = 0, resample: Resample = "bilinear", centre: Centre = 1.0, proportions: bool = False,
    held_out: HeldOut = 0.2, split_seed: Seed = 0, targets: str = "labels",
    shift: Shift = 0, crop: Crop = 1.0, flip: bool = False, mean: Mean = None, std: Std = None,
) -> Dataset:  # fmt: skip
    """Returns labelled images from a .npz file with an array for the images and one for their labels.

    Images are uint8 (N, rows, columns) or (N, rows, columns, channels) with 1 or 3 channels; labels are integers or
    texts (N,). The classes are the labels in their order. A share of the images of each class is held out as
    validation, and the rest is train; both are shuffled once, so that a slice such as "train[:90%]" has all classes.

    Args:
      path: the file.
      images, label: the names of the two arrays.
      size: rows and columns, to which each image is stretched; 0 leaves them as they are.
      resample, centre, proportions: how, see `data.resizing.Resizing`.
      held_out: the share of the images of each class that are validation.
      split_seed: decides which ones these are.
      targets, shift, crop, flip, mean, std: see `data.images.Images`.
      train, evaluation: splits, and slices of them counted in images.

    Raises UserError where there is no such file or array, and for arrays of other types or shapes.
    """
    pixels, labels = _read(path, images), _read(path, label)
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] not in (1, 3) or 0 in pixels.shape:
        raise UserError(
            f"{path}: {images} is {pixels.dtype} {pixels.shape}: expected uint8 (N, rows, columns), or with 1 or 3 "
            "channels as the last axis."
        )
    if labels.shape != (len(pixels),) or labels.dtype.kind not in "iuU":
        raise UserError(
            f"{path}: {label} is {labels.dtype} {labels.shape}: expected integers or texts, one for each of the "
            f"{len(pixels):,} images."
        )
    classes, numbers = np.unique(labels, return_inverse=True)
    rows = np.empty(len(pixels), row_type((size, size, pixels.shape[-1]) if size else pixels.shape[1:]))
    rows["label"] = numbers
    resizing = Resizing.of(size, resample, centre, proportions)
    for row, image in zip(rows, pixels):
        row["image"] = resizing.pixels(image, size)
    splits = split_by_class([np.flatnonzero(numbers == c).tolist() for c in range(len(classes))], held_out, split_seed)
    order = np.concatenate([np.random.default_rng(0).permutation(np.array(part, int)) for part in splits.values()])
    sizes = {split: len(part) for split, part in splits.items()}
    return labelled_images(
        lambda spec: rows[order[split_rows(path, sizes, spec)]], [str(name) for name in classes], train, evaluation,
        peak=255, resizing=resizing, targets=targets, shift=shift, crop=crop, flip=flip, mean=mean, std=std,
    )  # fmt: skip


def _read(path: str, name: str) -> np.ndarray:
    """Returns one array of a .npz file. Its size is compared with what the file holds before memory is taken for it."""
    refuse_special_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [Path(member).stem for member in archive.namelist() if member.endswith(".npy")]
            if name not in names:
                raise UserError(f"{path} has no array {shown(name)}: it has {', '.join(map(shown, names)) or 'none'}.")
            size = archive.getinfo(f"{name}.npy").file_size
            with archive.open(f"{name}.npy") as file:
                version = np.lib.format.read_magic(file)
                read_header = {(1, 0): "read_array_header_1_0", (2, 0): "read_array_header_2_0"}[version]
                shape, _, dtype = getattr(np.lib.format, read_header)(file)
            expected = math.prod(shape) * dtype.itemsize
            if max(size, expected) > _LARGEST:
                raise UserError(
                    f"{path}: {shown(name)} takes {max(size, expected):,} bytes, expected up to {_LARGEST:,}."
                )
            if expected > size:
                raise UserError(f"{path} is damaged: {shown(name)} has fewer bytes than its shape {shape} needs.")
        with np.load(path, allow_pickle=False) as arrays:
            return arrays[name]
    except UserError:
        raise
    except _DAMAGED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} cannot be read as a .npz file of plain arrays: {reason}") from error
