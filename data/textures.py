"""Gratings under noise: the class is the direction of the stripes, which every part of the image shows alike."""

from typing import Annotated

import numpy as np

from core.ranges import Range
from data.dataset import Dataset
from data.in_memory import array_dataset

_SIZES = {"train": 4_000, "test": 1_000}


def textures(
    *, train: str = "train", evaluation: str = "test", side: Annotated[int, Range(1, 64)] = 16,
    classes: Annotated[int, Range(2, 1024)] = 6, noise: Annotated[float, Range(0, 1000)] = 0.5,
) -> Dataset:  # fmt: skip
    """Returns images (side, side, 1) of stripes with a period of 4 pixels; the class is their direction.

    Stripes have values between -1 and 1 and a random phase. `noise` is the standard deviation of the noise added to
    them. The images are generated at each start, always the same ones; splits train (4,000) and test (1,000).
    """
    generator, count = np.random.default_rng(0), sum(_SIZES.values())
    labels = generator.integers(classes, size=count, dtype=np.int32)
    angle = np.pi * labels / classes
    rows, columns = np.indices((side, side))
    distance = np.multiply.outer(np.cos(angle), columns) + np.multiply.outer(np.sin(angle), rows)
    phase = generator.uniform(0, 2 * np.pi, (count, 1, 1))
    images = np.sin(2 * np.pi * distance / 4 + phase) + noise * generator.standard_normal(distance.shape)
    examples = {
        "inputs": {"images": images[..., None].astype(np.float32)},
        "targets": labels,
        "weights": np.ones(count, np.float32),
    }
    return array_dataset("textures", examples, _SIZES, train, evaluation, image_shape=(side, side, 1), classes=classes)
