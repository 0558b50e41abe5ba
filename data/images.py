"""MNIST, Fashion-MNIST and whatever else is labelled images; in training shifted, cropped and flipped at random."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from einops import reduce
import numpy as np
import tensorflow_datasets as tfds

from core.errors import UserError, shown
from core.ranges import Range, Side
from data.dataset import Batch, Dataset, Reading
from data.forms import in_form
from data.identity import identity_of
from data.image_cache import decoded_images
from data.image_rows import ImageRows
from data.resizing import RESIZING, STRETCHED, Resizing
from data.storage import open_official

Shift = Annotated[int, Range(0, 2**13)]
Crop = Annotated[float, Range(0, 1, open_low=True)]
Levels = Annotated[int, Range(2, 2**16, also=0)]
# A number for each channel, or one for all; none, or no tuple, stands for nothing to do.
Mean = tuple[Annotated[float, Range(-1000, 1000)], ...] | None
Std = tuple[Annotated[float, Range(1e-6, 1000)], ...] | None


def mnist(
    *, train: str = "train", evaluation: str = "test", targets: str = "labels", shift: Shift = 0, crop: Crop = 1.0,
    flip: bool = False, pool: Side = 1, levels: Levels = 0, form: str = "plain", mean: Mean = None, std: Std = None,
) -> Dataset:  # fmt: skip
    """Returns MNIST: 10 classes, images (28, 28, 1), splits train (60,000) and test (10,000).

    Source: Y. LeCun, C. Cortes and C. Burges, http://yann.lecun.com/exdb/mnist.
    `targets`, `shift`, `crop`, `flip`, `pool`, `levels`, `mean` and `std`: see `Images`; `form`: see `data.forms`.
    """
    builder = open_official("mnist")
    augmentation = {"shift": shift, "crop": crop, "flip": flip, "mean": mean, "std": std}
    return image_dataset(
        builder, train, evaluation, peak=255, targets=targets, pool=pool, levels=levels, form=form, **augmentation
    )


def fashion_mnist(
    *, train: str = "train", evaluation: str = "test", targets: str = "labels", shift: Shift = 0, crop: Crop = 1.0,
    flip: bool = False, pool: Side = 1, levels: Levels = 0, form: str = "plain", mean: Mean = None, std: Std = None,
) -> Dataset:  # fmt: skip
    """Returns Fashion-MNIST: 10 classes, images (28, 28, 1), splits train (60,000) and test (10,000).

    Source: H. Xiao, K. Rasul and R. Vollgraf, https://arxiv.org/abs/1708.07747.
    `targets`, `shift`, `crop`, `flip`, `pool`, `levels`, `mean` and `std`: see `Images`; `form`: see `data.forms`.
    """
    builder = open_official("fashion_mnist")
    augmentation = {"shift": shift, "crop": crop, "flip": flip, "mean": mean, "std": std}
    return image_dataset(
        builder, train, evaluation, peak=255, targets=targets, pool=pool, levels=levels, form=form, **augmentation
    )


def image_dataset(
    builder: tfds.core.DatasetBuilder, train: str, evaluation: str, *, peak: int, targets: str = "labels",
    pool: int = 1, levels: int = 0, form: str = "plain", **augmentation,
) -> Dataset:  # fmt: skip
    """Returns a TFDS set with features "image" and "label".

    Args:
      builder: the set. train, evaluation: the splits to use.
      peak: the pixel value that becomes 1.0.
      form: see `data.forms`. Where images become tokens, they have `levels` intensities, by default peak + 1.
      targets, pool, levels, augmentation: see `Images`.

    Raises UserError for a split that does not exist, and for targets or augmentation that do not fit the images.
    """
    if form not in ("plain", "pair") and not levels:
        levels = peak + 1
    features: Any = builder.info.features
    images = labelled_images(
        partial(decoded_images, builder), features["label"].names, train, evaluation, peak=peak,
        targets=targets, pool=pool, levels=levels, **augmentation,
    )  # fmt: skip
    return in_form(images, form, levels)


def labelled_images(
    rows: Callable, classes: Sequence[str], train: str, evaluation: str, *, peak: int, targets: str, pool: int = 1,
    levels: int = 0, mean: Mean = None, std: Std = None, resizing: Resizing = STRETCHED, **augmentation,
) -> Dataset:  # fmt: skip
    """Returns a set of images with labels, whose names by number are `classes`.

    `rows` is a function from a split to its labelled images, and `resizing` says how they got their size, so that other
    image files are read likewise. The other arguments are those of `Images`.
    """

    def source(split: str, **augmentation) -> Images:
        return Images(
            rows(split), peak=peak, targets=targets, pool=pool, levels=levels, mean=mean, std=std, **augmentation
        )

    training = source(train, **augmentation)
    settings: dict[str, Any] = {"targets": targets, "pool": pool, "levels": levels, "mean": mean, "std": std}
    reading = image_reading(training.file_shape, resizing=resizing, **settings)
    return Dataset(
        facts={"image_shape": training.shape}
        | ({"target_shape": training.shape} if targets == "images" else {"classes": len(classes)}),
        train=training,
        evaluation=source(evaluation),
        evaluation_name=evaluation,
        classes=tuple(classes),
        reading=reading,
    )


def image_reading(shape: tuple[int, int, int], *, resizing: Resizing = STRETCHED, **settings) -> Reading:
    """Returns how image files are read for a model: brought to `shape`, with the `settings` of `Images`."""

    def source(files: Sequence[Path]) -> Images:
        rows = ImageRows([(file, 0) for file in files], shape, resizing=resizing, memory_limit=0)
        return Images(rows, peak=255, **settings)

    return Reading("images", source)


def preparation(theirs: Mapping, ours: Mapping) -> dict[str, Any]:
    """Returns the fields of a section `data` that say how images are prepared, for another section.

    How they are resized is left out if that section leaves images as they are.
    """
    fields = {field: theirs.get(field) or () for field in ("mean", "std")}
    return fields | {field: theirs[field] for field in RESIZING if theirs.get(field) and ours.get("size")}


class Images:
    """A source of images, float32 (B, height, width, channels) in [0, 1].

    Args:
      rows: an array of labelled images, see `data.image_cache.row_type`, or an object that can be indexed like one.
      peak: the pixel value that becomes 1.0.
      targets: "labels", int32 (B,), or "images", the same as the inputs.
      shift: training images move by up to this many pixels vertically and horizontally; 0 fills the gap.
      crop: training images are cut to a random share of their sides, at least this one, at a random place, and
        stretched back. 1 leaves them as they are.
      flip: every second training image is mirrored left to right.
      pool: the image becomes smaller: each of its pixels is the mean of this many by this many. It divides both sides.
      levels: each pixel is rounded to the nearest of this many intensities, evenly spaced from 0 to 1; 0 leaves them as
        they are.
      mean, std: of each channel, or of all; last of all, the inputs become (image - mean) / std. A run with `init_from`
        takes both from there, unless they are set.

    Raises UserError for arguments that do not fit the images.
    """

    def __init__(
        self,
        rows,
        *,
        peak: int,
        targets: str = "labels",
        shift: int = 0,
        crop: float = 1.0,
        flip: bool = False,
        pool: int = 1,
        levels: int = 0,
        mean: Mean = None,
        std: Std = None,
    ):
        shape = rows.dtype["image"].shape
        if shift >= min(shape[:2]):
            raise UserError(f"shift = {shift}: expected 0 to {min(shape[:2]) - 1} pixels for images {shape}.")
        if shape[0] % pool or shape[1] % pool:
            raise UserError(f"pool = {pool}: expected a divisor of both sides of images {shape}.")
        if targets not in ("labels", "images"):
            raise UserError(f"targets = {shown(targets)}: expected 'labels' or 'images'.")
        self._normalisation = _normalisation(mean, std, shape[2], levels)
        self.draws = _DRAWS if shift or crop < 1 or flip else 0
        self._augmentation = {"shift": shift, "crop": crop, "flip": flip}
        self.file_shape, self.shape = shape, (shape[0] // pool, shape[1] // pool, shape[2])
        self._rows = rows
        self._targets = targets
        self._levels, self._pool = levels, pool
        self._peak = np.float32(peak)

    def __len__(self) -> int:
        return len(self._rows)

    def place(self, index: int) -> str:
        """Returns where an image is from: its file, or its number."""
        return self._rows.place(index) if isinstance(self._rows, ImageRows) else str(index)

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, see `data.dataset.Source`."""
        rows = self._rows
        return identity_of(len(self), rows) if isinstance(rows, np.ndarray) else rows.identity()

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        rows = self._rows[indices]
        images = rows["image"] / self._peak
        if draws is not None and self.draws:
            images = augment(images, draws, **self._augmentation)
        if self._pool > 1:
            images = reduce(images, "b (r i) (c j) d -> b r c d", "mean", i=self._pool, j=self._pool)
        if self._levels:
            images = np.rint(images * (self._levels - 1)) / np.float32(self._levels - 1)
        targets = np.ascontiguousarray(rows["label"]) if self._targets == "labels" else images
        if self._normalisation:
            images = (images - self._normalisation[0]) / self._normalisation[1]
        return {"inputs": {"images": images}, "targets": targets, "weights": np.ones(len(indices), np.float32)}


def augment(images: np.ndarray, draws: np.ndarray, *, shift: int, crop: float, flip: bool) -> np.ndarray:
    """Returns float32 `images` (B, height, width, channels), each cropped, mirrored and then shifted at random.

    `draws` (B, 6) are uniform in [0, 1): shift down, shift right, size, top and left of the crop, mirror.
    Crops are interpolated bilinearly; shifts and mirrored images are exact.
    """
    down, right, size, top, left, mirror = draws.T
    if crop == 1 and not flip:
        return _moved(images, _pixels(down, shift), _pixels(right, shift))
    share = 1 - size * (1 - crop)
    rows = _sampling(images.shape[1], _pixels(down, shift), share, top, np.zeros(len(images), bool))
    columns = _sampling(images.shape[2], _pixels(right, shift), share, left, (mirror < 0.5) & flip)
    channels_first = np.moveaxis(images, 3, 1)
    sampled = rows[:, None] @ channels_first @ columns[:, None].swapaxes(2, 3)
    return np.ascontiguousarray(np.moveaxis(sampled, 1, 3))


def _normalisation(mean: Mean, std: Std, channels: int, levels: int):
    """Returns both as float32 (channels or 1,), or None. Raises UserError where they do not fit the images."""
    if not mean and not std:
        return None
    m, s = np.array(mean or [0.0], np.float32), np.array(std or [1.0], np.float32)
    if not all(len(x) in (1, channels) and np.isfinite(x).all() for x in (m, s)) or not (s > 0).all():
        raise UserError(
            f"mean = {mean}, std = {std}: expected a number for each of the {channels} channels, or one; std above 0."
        )
    if levels:
        raise UserError(f"mean = {mean}, std = {std}: intensities in levels, or as tokens, are not normalised.")
    return m, s


_DRAWS = 6


def _pixels(draws: np.ndarray, most: int) -> np.ndarray:
    """Maps uniform draws (B,) to integers from -most to most."""
    return np.floor(draws * (2 * most + 1)) - most


def _moved(images: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns each image moved by whole pixels. Cutting it out of a frame of zeros is faster than interpolation."""
    count, height, width, channels = images.shape
    frame = int(max(np.abs(down).max(), np.abs(right).max()))
    framed = np.zeros((count, height + 2 * frame, width + 2 * frame, channels), images.dtype)
    framed[:, frame : frame + height, frame : frame + width] = images
    windows = np.lib.stride_tricks.sliding_window_view(framed, (height, width), axis=(1, 2))
    cut = windows[np.arange(count), frame - down.astype(int), frame - right.astype(int)]
    return np.ascontiguousarray(np.moveaxis(cut, 1, 3))


def _sampling(side: int, shift: np.ndarray, share: np.ndarray, start: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Returns the weight of each old pixel in each new one along one axis, float32 (B, new, old)."""
    at = np.arange(side) - shift[:, None]
    outside = (at < 0) | (at >= side)
    at = np.where(mirrored[:, None], side - 1 - at, at)
    # Pixel centres lie at halves: the crop [start, start + share * side] is stretched over [0, side].
    at = (start * (1 - share) * side)[:, None] + (at + 0.5) * share[:, None] - 0.5
    at = np.where(outside, -1, np.clip(at, 0, side - 1))
    return np.maximum(0, 1 - np.abs(at[:, :, None] - np.arange(side))).astype(np.float32)
