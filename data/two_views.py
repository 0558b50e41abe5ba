"""Two views of one thing: x~, which a model sees, and x, of which its latents should tell as much as they can.

Halves or corruptions of one digit, where the answer has to be learned, and pairs of Gaussians, where it is known.
"""

from functools import partial
import math

import numpy as np

from data.dataset import Batch, Dataset, Source
from data.digits import digits
from data.storage import split_parts


def two_views(
    *, train: str = "train", evaluation: str = "test", views: str = "halves", masked: float = 0.5,
    targets: str = "view",
) -> Dataset:  # fmt: skip
    """Returns two views of each digit of `data.digits`: x~ goes in, and x, or the class, is the target.

    `views` are "halves" (x~ the left one, x the right one, both (8, 4, 1)), or "masks" (both (8, 8, 1), a share
    `masked` of all pixels set to 0, other ones in each view, and other ones each time in training). `targets` are
    "view" or "labels".
    """
    if views not in ("halves", "masks"):
        raise ValueError(f"views must be 'halves' or 'masks', got {views!r}.")
    if targets not in ("view", "labels"):
        raise ValueError(f"targets must be 'view' or 'labels', got {targets!r}.")
    if not 0 <= masked < 1:
        raise ValueError(f"masked is a share of the pixels, 0 or more and below 1, got {masked}.")
    whole = digits(train=train, evaluation=evaluation)
    rows, columns, channels = whole.facts["image_shape"]
    shape = (rows, columns // 2 if views == "halves" else columns, channels)
    cut = partial(Halves, targets=targets) if views == "halves" else partial(Masks, targets=targets, masked=masked)
    target = {"target_shape": shape} if targets == "view" else {"classes": whole.facts["classes"]}
    return Dataset(
        facts={"image_shape": shape} | target,
        train=cut(whole.train),
        evaluation=cut(whole.evaluation),
        evaluation_name=evaluation,
    )


def gaussian_pair(
    *, train: str = "train", evaluation: str = "test", correlations: tuple[float, ...] = (0.9, 0.5)
) -> Dataset:  # fmt: skip
    """Returns pairs of Gaussian vectors, splits train (50,000) and test (10,000): what `gaussian_bottleneck` answers.

    x~ and x have one component for each of the `correlations`. All have mean 0 and variance 1, and component i of x
    is correlated with component i of x~ alone. Both are images of one row, so that the same models read them.
    The entropy of x is a fact that objectives may use.
    """
    if not correlations or not all(-1 < rho < 1 for rho in correlations):
        raise ValueError(f"correlations must lie between -1 and 1, at least one of them, got {correlations}.")
    lengths = {"train": 50_000, "test": 10_000}
    draw = lambda split: _correlated(np.random.default_rng(list(lengths).index(split)), lengths[split], correlations)

    def source(spec: str) -> Pairs:
        parts = split_parts("gaussian_pair", lengths, spec)
        return Pairs(np.concatenate([draw(split)[part] for split, part in parts]))

    shape = (1, len(correlations), 1)
    entropy = len(correlations) * math.log(2 * math.pi * math.e) / 2
    return Dataset(
        facts={"image_shape": shape, "target_shape": shape, "target_entropy": entropy},
        train=source(train),
        evaluation=source(evaluation),
        evaluation_name=evaluation,
    )


def gaussian_bottleneck(correlations: tuple[float, ...], beta: float) -> tuple[float, float]:
    """Returns (I(x~; z), I(z; x)) in nats, of the z that minimises I(x~; z) - beta I(z; x) for a Gaussian pair.

    A component is in z only where beta is above 1 / rho^2.
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

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        batch = self._images.examples(indices)
        left, right = np.split(batch["inputs"]["images"], 2, axis=2)
        return batch | {"inputs": {"images": left}} | ({"targets": right} if self._targets == "view" else {})


class Masks:
    """A source of images with a share `masked` of their pixels at 0; the targets are masked otherwise, or labels."""

    def __init__(self, images: Source, *, targets: str, masked: float):
        self._images, self._targets, self._masked = images, targets, masked
        self._shape = images.examples(np.arange(1))["inputs"]["images"].shape[1:]
        self.draws = 2 * int(np.prod(self._shape))
        # Views without a mask would not be views: evaluation has masks too, the same ones each time.
        self._fixed = np.random.default_rng(0).random((len(images), self.draws))

    def __len__(self) -> int:
        return len(self._images)

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        batch = self._images.examples(indices)
        draws = self._fixed[indices] if draws is None else draws
        keep = draws.reshape(-1, 2, *self._shape) >= self._masked
        images = batch["inputs"]["images"]
        other = {"targets": images * keep[:, 1]} if self._targets == "view" else {}
        return batch | {"inputs": {"images": images * keep[:, 0]}} | other


class Pairs:
    """A source of given pairs, float32 (N, 2, D): x~ goes in, x is the target, both as (B, 1, D, 1)."""

    draws = 0

    def __init__(self, pairs: np.ndarray):
        self._pairs = pairs[:, :, None, :, None]

    def __len__(self) -> int:
        return len(self._pairs)

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        seen, target = self._pairs[indices].swapaxes(0, 1)
        return {"inputs": {"images": seen}, "targets": target, "weights": np.ones(len(indices), np.float32)}


def _correlated(generator: np.random.Generator, count: int, correlations) -> np.ndarray:
    """Returns float32 (count, 2, D)."""
    rho = np.asarray(correlations)
    seen, noise = generator.standard_normal((2, count, len(rho)))
    return np.stack([seen, rho * seen + np.sqrt(1 - rho**2) * noise], axis=1).astype(np.float32)
