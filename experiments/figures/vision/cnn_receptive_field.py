"""A convolutional network sees further with each layer, a transformer sees all at once.

What a feature depends on is measured by its gradient with respect to the image. For convolutions with kernels of k x k
pixels and strides s it is a square that grows layer by layer.

Formula: r_l = r_{l-1} + (k - 1) s_1 ... s_{l-1}, with r_0 = 1
Source: Lecture on transformers in computer vision; Luo et al. 2016, section 2.
Look at: squares whose sides are those of the formula, and the last picture, which has no border.
"""

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, near
from models.convolution import Convolution
from models.vit import VisionTransformer

SIDE, WIDTH, PATCH = 32, 8, 4
STRIDES = (1, 2, 1, 2)


def run(seed: int, *, kernel: int = 3) -> dict:
    rngs = nnx.Rngs(seed)
    inputs = (1, *[WIDTH] * (len(STRIDES) - 1))
    layers = [Convolution(a, WIDTH, side=kernel, stride=stride, rngs=rngs) for a, stride in zip(inputs, STRIDES)]
    image = jax.random.normal(jax.random.key(seed), (1, SIDE, SIDE, 1))
    seen, step = [], 1
    for depth, stride in enumerate(STRIDES, 1):
        step *= stride

        def feature(image, depth=depth, step=step):
            x = image
            for layer in layers[:depth]:
                x = nnx.gelu(layer(x))
            return x[0, SIDE // 2 // step, SIDE // 2 // step].sum()

        seen.append(_depends(feature, image))
    transformer = VisionTransformer(
        image_shape=(SIDE, SIDE, 1), patch=PATCH, head="none", width=WIDTH, depth=1, heads=2, rngs=rngs
    )
    middle = (SIDE // PATCH // 2) * (SIDE // PATCH + 1)
    return {
        "seen": np.stack(seen),
        "seen_by_transformer": _depends(lambda image: transformer(image)[0, middle, 0], image),
        "formula": np.array([1 + 2 * sum(np.cumprod((1, *STRIDES))[:depth]) for depth in range(1, len(STRIDES) + 1)]),
    }


def check(results: dict) -> list[Criterion]:
    sides = [(_side(seen.any(axis=1)), _side(seen.any(axis=0))) for seen in results["seen"]]
    criteria = [
        near(f"rows and columns that layer {layer} sees", float(np.mean(side)), expected, 0)
        for layer, (side, expected) in enumerate(zip(sides, results["formula"]), 1)
    ]
    full = [seen.sum() == np.prod(side) for seen, side in zip(results["seen"], sides)]
    return [
        *criteria,
        near("share of squares without a hole", float(np.mean(full)), 1, 0),
        near("share of the image that one block of a transformer sees", results["seen_by_transformer"].mean(), 1, 0),
    ]


def plot(figure: Figure, results: dict) -> None:
    pictures = [*results["seen"], results["seen_by_transformer"]]
    titles = [f"Layer {layer}: {side} x {side}" for layer, side in enumerate(results["formula"], 1)]
    *axes_of_pictures, last = figure.subplots(2, 3).flat
    for axes, picture, title in zip(axes_of_pictures, pictures, [*titles, "One block of a ViT"]):
        axes.imshow(picture, cmap="Blues", vmin=0, vmax=1.4)
        axes.set(xticks=[], yticks=[], title=title)
    layers = np.arange(1, len(STRIDES) + 1)
    last.plot(layers, results["formula"], "-", label="formula")
    last.plot(layers, [_side(seen.any(axis=1)) for seen in results["seen"]], "o", label="measured")
    last.set(xlabel="layer", ylabel="pixels to a side", xticks=layers, ylim=(0, None))
    last.legend()


def _depends(feature, image: jax.Array) -> np.ndarray:
    """Which pixels a feature depends on."""
    return np.array(jnp.abs(jax.jit(jax.grad(feature))(image))[0, :, :, 0] > 0)


def _side(line: np.ndarray) -> int:
    """From the first to the last pixel of a line."""
    return int(np.ptp(np.flatnonzero(line))) + 1
