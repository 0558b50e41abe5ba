"""Two views of one object: x~, the input of a model, and x, about which its latents should hold as much as they can.

The views are halves or masked copies of a digit, or pairs of Gaussian vectors, for which the optimum is known.
"""

from functools import partial
import math
from typing import Annotated, Any

import numpy as np

from core.errors import UserError, shown
from core.ranges import Range, ShareBelowAll
from data.dataset import Batch, Dataset, Source
from data.digits import digits
from data.identity import identity_of
from data.splits import split_parts

Correlation = Annotated[float, Range(-1, 1, open_low=True, open_high=True)]


def two_views(
    *, train: str = "train", evaluation: str = "test", views: str = "halves", masked: ShareBelowAll = 0.5,
    targets: str = "view",
) -> Dataset:  # fmt: skip
    """Returns two views of each digit of `data.digits`: x~ is the input, and x or the class is the target.

    Args:
      views: "halves": x~ is the left half and x the right one, both (8, 4, 1). "masks": both are the digit, (8, 8, 1),
        with random pixels set to 0, different ones in each view and, in training, at each time.
      masked: the share of pixels set to 0.
      targets: "view" for x, or "labels".
    """
    if views not in ("halves", "masks"):
        raise UserError(f"views = {shown(views)}: expected 'halves' or 'masks'.")
    if targets not in ("view", "labels"):
        raise UserError(f"targets = {shown(targets)}: expected 'view' or 'labels'.")
    images = digits(train=train, evaluation=evaluation)
    rows, columns, channels = images.facts["image_shape"]
    shape = (rows, columns // 2 if views == "halves" else columns, channels)
    make_source = Halves if views == "halves" else partial(Masks, masked=masked)
    target = {"target_shape": shape} if targets == "view" else {"classes": images.facts["classes"]}
    return Dataset(
        facts={"image_shape": shape} | target,
        train=make_source(images.train, targets=targets),
        evaluation=make_source(images.evaluation, targets=targets),
        evaluation_name=evaluation,
    )


def gaussian_pair(
    *, train: str = "train", evaluation: str = "test", correlations: tuple[Correlation, ...] = (0.9, 0.5)
) -> Dataset:  # fmt: skip
    """Returns pairs of Gaussian vectors, for which `gaussian_bottleneck` gives the optimum.

    x~ and x have one component for each of the `correlations`. All components have mean 0 and variance 1, and component
    i of x is correlated with component i of x~ only. Both are images of one row, so that the same models read them. The
    entropy of x is a fact that objectives may use. The pairs are generated at each start, always the same ones; splits
    train (50,000) and test (10,000).
    """
    if not correlations:
        raise UserError("correlations = (): expected at least one number between -1 and 1.")
    lengths = {"train": 50_000, "test": 10_000}
    draw = lambda split: _correlated(np.random.default_rng(list(lengths).index(split)), lengths[split], correlations)

    def source(spec: str) -> GaussianPairs:
        parts = split_parts("gaussian_pair", lengths, spec)
        return GaussianPairs(np.concatenate([draw(split)[part] for split, part in parts]))

    shape = (1, len(correlations), 1)
    entropy = len(correlations) * math.log(2 * math.pi * math.e) / 2
    return Dataset(
        facts={"image_shape": shape, "target_shape": shape, "target_entropy": entropy},
        train=source(train),
        evaluation=source(evaluation),
        evaluation_name=evaluation,
    )


def gaussian_bottleneck(correlations: tuple[float, ...], beta: float) -> tuple[float, float]:
    """Returns (I(x~; z), I(z; x)) in nats for the z that minimises I(x~; z) - beta I(z; x), for a Gaussian pair.

    A component is part of z only where beta is above 1 / rho^2.
    Source: G. Chechik et al., "Information Bottleneck for Gaussian Variables", JMLR 2005.
    """
    squares = np.square([rho for rho in correlations if beta * rho**2 > 1])
    about_input = np.log((beta - 1) * squares / (1 - squares)).sum() / 2
    return float(about_input), float(about_input - np.log(beta * squares).sum() / 2)


class Halves:
    """A source of left halves; the targets are right halves or labels."""

    draws = 0

    def __init__(self, images: Source, *, targets: str):
        self._images, self._targets = images, targets

    def __len__(self) -> int:
        return len(self._images)

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, see `data.dataset.Source`."""
        return self._images.identity()

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        batch = self._images.examples(indices)
        left, right = np.split(batch["inputs"]["images"], 2, axis=2)
        return batch | {"inputs": {"images": left}} | ({"targets": right} if self._targets == "view" else {})


class Masks:
    """A source of images with a share `masked` of their pixels set to 0; targets have another mask, or are labels."""

    def __init__(self, images: Source, *, targets: str, masked: float):
        self._images, self._targets, self._masked = images, targets, masked
        self._shape = images.examples(np.arange(1))["inputs"]["images"].shape[1:]
        self.draws = 2 * int(np.prod(self._shape))
        # Without masks both views would be the same, so evaluation has masks too, the same ones each time.
        self._fixed = np.random.default_rng(0).random((len(images), self.draws))

    def __len__(self) -> int:
        return len(self._images)

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, see `data.dataset.Source`."""
        return self._images.identity()

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        batch = self._images.examples(indices)
        draws = self._fixed[indices] if draws is None else draws
        keep = draws.reshape(-1, 2, *self._shape) >= self._masked
        images = batch["inputs"]["images"]
        other = {"targets": images * keep[:, 1]} if self._targets == "view" else {}
        return batch | {"inputs": {"images": images * keep[:, 0]}} | other


class GaussianPairs:
    """A source of pairs, float32 (N, 2, D): x~ is the input and x the target, both (B, 1, D, 1)."""

    draws = 0

    def __init__(self, pairs: np.ndarray):
        self._pairs = pairs[:, :, None, :, None]

    def __len__(self) -> int:
        return len(self._pairs)

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, see `data.dataset.Source`."""
        return identity_of(len(self), self._pairs)

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        inputs, target = self._pairs[indices].swapaxes(0, 1)
        return {"inputs": {"images": inputs}, "targets": target, "weights": np.ones(len(indices), np.float32)}


def _correlated(generator: np.random.Generator, count: int, correlations) -> np.ndarray:
    """Returns pairs of correlated vectors, float32 (count, 2, D)."""
    rho = np.asarray(correlations)
    inputs, noise = generator.standard_normal((2, count, len(rho)))
    return np.stack([inputs, rho * inputs + np.sqrt(1 - rho**2) * noise], axis=1).astype(np.float32)
