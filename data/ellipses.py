"""Points on ellipses: many right answers y for one x, or for none."""

from typing import Annotated

import numpy as np

from core.ranges import Range
from data.dataset import Dataset
from data.in_memory import array_dataset

Samples = Annotated[int, Range(1, 10**6)]
Noise = Annotated[float, Range(0, 100)]
RADII = (2.0, 1.5)
_SEED = 0


def ellipse(*, train: str = "train", evaluation: str = "test", samples: Samples = 24, noise: Noise = 0.0) -> Dataset:
    """Returns points y = (2 cos a, 1.5 sin a) at random angles a: `samples` for training, and 240 for the test.

    `noise` is the standard deviation of what is added to each coordinate. Source: A. Canziani's lectures, with 24
    samples. The points are generated at each start, always the same ones.
    """
    sizes = {"train": samples, "test": 240}
    y = _points(np.random.default_rng(_SEED), np.ones((sum(sizes.values()), 1)) * RADII, noise)
    return _dataset("ellipse", {"y": y}, sizes, train, evaluation, inputs=0)


def horn(*, train: str = "train", evaluation: str = "test", samples: Samples = 1000, noise: Noise = 0.0) -> Dataset:
    """Returns x from 0 to 1 and y on an ellipse that grows with x: `samples` for training, and 1,000 for the test.

    The radii are those of `horn_radii`. `noise` and source: see `ellipse`.
    """
    sizes = {"train": samples, "test": 1000}
    generator = np.random.default_rng(_SEED)
    x = generator.random((sum(sizes.values()), 1)).astype(np.float32)
    y = _points(generator, horn_radii(x[:, 0]), noise)
    return _dataset("horn", {"x": x, "y": y}, sizes, train, evaluation, inputs=1)


def horn_radii(x: np.ndarray) -> np.ndarray:
    """Returns the radii (N, 2) of the horn at x (N,): 2 (1 - x) + e^x x, and the same with 1.5 and a third of e^x."""
    return np.stack([(2 - 2 * x + np.exp(x) * x), (1.5 - 1.5 * x + np.exp(x) * x / 3)], axis=-1)


def _points(generator: np.random.Generator, radii: np.ndarray, noise: float) -> np.ndarray:
    angle = generator.uniform(0, 2 * np.pi, len(radii))
    y = radii * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (y + noise * generator.standard_normal(y.shape)).astype(np.float32)


def _dataset(
    name: str, points: dict[str, np.ndarray], sizes: dict[str, int], train: str, evaluation: str, **facts
) -> Dataset:
    examples = {"inputs": points, "targets": points["y"], "weights": np.ones(len(points["y"]), np.float32)}
    return array_dataset(name, examples, sizes, train, evaluation, **facts)
