"""MNIST with binary pixels, each sampled with its grey value as the probability, so that likelihoods are comparable."""

from typing import Any

import numpy as np

from data.dataset import Batch, Dataset, Reading, Source
from data.images import image_reading, mnist


def binary_mnist(*, train: str = "train", evaluation: str = "test", targets: str = "images") -> Dataset:
    """Returns `data.images.mnist` with every pixel 0 or 1.

    A pixel is 1 with its grey value as the probability. It is sampled anew each time in training, and once and for all
    in evaluation (Salakhutdinov & Murray 2008; Burda et al. 2016). A Bernoulli likelihood in nats compares with those
    of papers on binary pixels only, not on grey ones. `targets` are "images", the same as the inputs, or "labels".
    """
    grey = mnist(train=train, evaluation=evaluation, targets=targets)
    binary = lambda source: BinaryImages(source, grey.facts["image_shape"], targets=targets)
    reading = Reading("images", lambda files: binary(image_reading(grey.facts["image_shape"]).source(files)))
    return Dataset(
        facts=grey.facts,
        train=binary(grey.train),
        evaluation=binary(grey.evaluation),
        evaluation_name=evaluation,
        classes=grey.classes,
        reading=reading,
    )


class BinaryImages:
    """A source of binary images sampled from a source of grey ones; without draws the samples are always the same."""

    def __init__(self, images: Source, shape: tuple[int, int, int], *, targets: str):
        self._images, self._targets = images, targets
        self.draws = int(np.prod(shape))

    def __len__(self) -> int:
        return len(self._images)

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, see `data.dataset.Source`."""
        return self._images.identity()

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        if draws is None:
            draws = np.stack([np.random.default_rng(index).random(self.draws) for index in indices.tolist()])
        batch = self._images.examples(indices)
        grey = batch["inputs"]["images"]
        images = (draws.reshape(grey.shape) < grey).astype(np.float32)
        return batch | {"inputs": {"images": images}} | ({"targets": images} if self._targets == "images" else {})
