"""An image as a sentence: it is cut into patches, and each patch becomes a vector.

Multiplying every patch by one matrix is the same as a convolution whose stride equals the size of its kernel.

Formula: W vec(patch) = conv(image; kernel p x p, stride p), with the kernel W reshaped
Source: Lecture on transformers in computer vision, slide 56; Dosovitskiy et al. 2021.
Look at: 16 patches of 2x2 pixels, read row by row, make up a digit of 8x8 pixels.
"""

from flax import nnx
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from data.digits import digits
from experiments.figures.engine import Criterion, at_most
from experiments.figures.style import split
from models.layers import linear
from models.vit import patches

SIDE, WIDTH = 2, 24


def run(seed: int, *, swap_axes: bool = False) -> dict:
    batch = digits().evaluation.examples(np.arange(seed % 300, seed % 300 + 8))
    images = jnp.asarray(batch["inputs"]["images"])
    embedding = linear(SIDE * SIDE, WIDTH, rngs=nnx.Rngs(seed))
    convolution = nnx.Conv(1, WIDTH, (SIDE, SIDE), strides=SIDE, padding="VALID", rngs=nnx.Rngs(seed))
    kernel = embedding.kernel[...].reshape(SIDE, SIDE, 1, WIDTH)
    convolution.kernel[...] = kernel.swapaxes(0, 1) if swap_axes else kernel
    words = embedding(patches(images, SIDE))
    return {
        "image": np.array(images[0, :, :, 0]),
        "patches": np.array(patches(images, SIDE)[0]).reshape(-1, SIDE, SIDE),
        "words": np.array(words[0]),
        "difference": float(jnp.abs(words - convolution(images).reshape(words.shape)).max()),
    }


def check(results: dict) -> list[Criterion]:
    return [at_most("largest difference from the strided convolution", results["difference"], 1e-5)]


def plot(figure: Figure, results: dict) -> None:
    left, right = split(figure, 1, 2, width_ratios=[1, 1.25])
    axes = left.subplots()
    axes.imshow(results["image"], cmap="gray")
    for edge in range(SIDE, 8, SIDE):
        axes.axhline(edge - 0.5, color="C4", linewidth=2)
        axes.axvline(edge - 0.5, color="C4", linewidth=2)
    axes.set(xticks=[], yticks=[], title="An image")
    top, bottom = split(right, 2, 1, height_ratios=[1, 1.3])
    for number, axes in enumerate(top.subplots(2, 8).flat):
        axes.imshow(results["patches"][number], cmap="gray", vmin=results["image"].min(), vmax=results["image"].max())
        axes.set(xticks=[], yticks=[])
        axes.set_title(str(number + 1), fontsize=12, loc="center", pad=4)
    top.suptitle("Its 16 patches, row by row", fontsize=16)
    axes = bottom.subplots()
    axes.imshow(results["words"].T, aspect="auto")
    axes.set_xticks(range(16), map(str, range(1, 17)))
    axes.set(xlabel="patch", ylabel=f"its {WIDTH} numbers", yticks=[], title="The sentence that the transformer reads")
