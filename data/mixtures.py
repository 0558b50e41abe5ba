"""Examples that are mixtures of a few archetypes, bent into a space of more dimensions."""

from typing import Annotated

import numpy as np

from core.ranges import Range
from data.dataset import Dataset
from data.in_memory import array_dataset

_SIZES = {"train": 4_000, "test": 1_000}
_COLUMNS = 8


def mixtures(
    *, train: str = "train", evaluation: str = "test", archetypes: Annotated[int, Range(2, 64)] = 3,
    noise: Annotated[float, Range(0, 100)] = 0.02, side: bool = False,
) -> Dataset:  # fmt: skip
    """Returns images of 8 x 1 x 1 numbers, each a bent mixture of the same few archetypes; targets are the images.

    The weights of a mixture are drawn from a Dirichlet distribution with all parameters 0.5, see `planted_weights`. The
    mixture of random archetypes is bent by x + tanh(x) / 2 after a random rotation, and noise of this standard
    deviation is added. With `side`, the input "side" has the weight of the first archetype (B, 1). The examples are
    generated at each start, always the same ones; splits train (4,000) and test (1,000).
    """
    generator, weights = np.random.default_rng(1), planted_weights(archetypes)
    corners = generator.normal(size=(archetypes, _COLUMNS))
    rotation = np.linalg.qr(generator.normal(size=(_COLUMNS, _COLUMNS)))[0]
    x = weights @ corners @ rotation
    x = x + np.tanh(x) / 2 + noise * generator.normal(size=x.shape)
    images = x.astype(np.float32).reshape(-1, _COLUMNS, 1, 1)
    inputs = {"images": images} | ({"side": weights[:, :1].astype(np.float32)} if side else {})
    examples = {"inputs": inputs, "targets": images, "weights": np.ones(len(images), np.float32)}
    facts = {"image_shape": (_COLUMNS, 1, 1)} | ({"side": 1} if side else {})
    return array_dataset("mixtures", examples, _SIZES, train, evaluation, **facts)


def planted_weights(archetypes: int) -> np.ndarray:
    """Returns the weights (N, K) of the archetypes in all examples, those of the split train first."""
    return np.random.default_rng(0).dirichlet(np.full(archetypes, 0.5), size=sum(_SIZES.values()))
