"""MNIST with pixels that are 0 or 1, drawn with the grey value as the probability: a set that has a likelihood."""

import numpy as np

from data.dataset import Batch, Dataset, Source
from data.images import mnist


def binary_mnist(*, train: str = "train", evaluation: str = "test", targets: str = "images") -> Dataset:
    """Returns `data.images.mnist` with every pixel 0 or 1; `targets` are "images", those that go in, or "labels".

    A pixel is 1 with the grey value as its probability, drawn anew each time in training and once and for all in
    evaluation (Salakhutdinov & Murray 2008; Burda et al. 2016). Bernoullis are a likelihood of such pixels only: their
    nats compare with those of papers, those of grey ones do not.
    """
    grey = mnist(train=train, evaluation=evaluation, targets=targets)
    return Dataset(
        facts=grey.facts,
        train=Drawn(grey.train, grey.facts["image_shape"], targets=targets),
        evaluation=Drawn(grey.evaluation, grey.facts["image_shape"], targets=targets),
        evaluation_name=evaluation,
    )


class Drawn:
    """A source of binary images from one of grey ones; without draws the same ones each time."""

    def __init__(self, images: Source, shape: tuple[int, int, int], *, targets: str):
        self._images, self._targets = images, targets
        self.draws = int(np.prod(shape))

    def __len__(self) -> int:
        return len(self._images)

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`."""
        if draws is None:
            draws = np.stack([np.random.default_rng(index).random(self.draws) for index in indices.tolist()])
        batch = self._images.examples(indices)
        grey = batch["inputs"]["images"]
        images = (draws.reshape(grey.shape) < grey).astype(np.float32)
        return batch | {"inputs": {"images": images}} | ({"targets": images} if self._targets == "images" else {})
