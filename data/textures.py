"""Gratings under noise: the class is the direction of the stripes, which every part of the image shows alike."""

import numpy as np

from data.arrays import array_dataset
from data.dataset import Dataset

_SIZES = {"train": 4_000, "test": 1_000}


def textures(
    *, train: str = "train", evaluation: str = "test", side: int = 16, classes: int = 6, noise: float = 0.5
) -> Dataset:
    """Returns images (side, side, 1) of stripes 4 pixels wide, of any phase, in one of `classes` directions.

    `noise` is the standard deviation of what is added to stripes between -1 and 1. Made anew at each start, always
    the same; splits train (4,000) and test (1,000).
    """
    if side < 1 or classes < 2 or noise < 0:
        raise ValueError(f"side = {side}, classes = {classes}, noise = {noise}: expected at least 1, 2 and 0.")
    generator, count = np.random.default_rng(0), sum(_SIZES.values())
    labels = generator.integers(classes, size=count, dtype=np.int32)
    angle = np.pi * labels / classes
    rows, columns = np.indices((side, side))
    across = np.multiply.outer(np.cos(angle), columns) + np.multiply.outer(np.sin(angle), rows)
    phase = generator.uniform(0, 2 * np.pi, (count, 1, 1))
    images = np.sin(2 * np.pi * across / 4 + phase) + noise * generator.standard_normal(across.shape)
    made = {
        "inputs": {"images": images[..., None].astype(np.float32)},
        "targets": labels,
        "weights": np.ones(count, np.float32),
    }
    return array_dataset("textures", made, _SIZES, train, evaluation, image_shape=(side, side, 1), classes=classes)
