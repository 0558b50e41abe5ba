"""Move the image, and the features of a convolution move along; those of a ViT do not.

Convolutions treat all places alike. A Vision Transformer treats its patches alike too, but only as long as nobody tells
it where they are: with learned positions, a digit one patch further to the right is something new.

Formula: f(shift(x)) = shift(f(x)), away from the borders
Source: Lecture on transformers in computer vision, slide 60; LeCun et al. 1998.
Look at: the features of the moved digit minus the moved features, in the colours of one scale.
"""

from flax import nnx
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from data.digits import digits
from experiments.figures.engine import Criterion, at_least, at_most
from models.convolution import Convolution
from models.vit import VisionTransformer

MARGIN, MOVE, PATCH, WIDTH = 8, 4, 2, 12


def run(seed: int, *, positions: str = "learned") -> dict:
    rngs = nnx.Rngs(seed)
    digit = digits().evaluation.examples(np.array([seed % 300]))["inputs"]["images"]
    image = np.pad(digit, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)))
    moved = np.roll(image, MOVE, axis=2)
    layers = [Convolution(a, WIDTH, rngs=rngs) for a in (1, WIDTH)]
    side = image.shape[1] // PATCH
    transformer = VisionTransformer(
        image_shape=image.shape[1:], patch=PATCH, head="none", width=WIDTH, depth=2, heads=3, positions=positions,
        rngs=rngs,
    )  # fmt: skip
    table = transformer.positions.table
    if table is not None:
        table[...] = table[...] * 25  # of the size that training gives them: 0.5, like the embeddings
    convolve = lambda x: layers[1](nnx.relu(layers[0](jnp.asarray(x))))
    attend = lambda x: transformer(jnp.asarray(x)).reshape(1, side, side, WIDTH)
    inside = slice(MOVE, -MOVE)
    results: dict = {"image": image[0, :, :, 0], "moved": moved[0, :, :, 0]}
    for name, function, step in (("convolution", convolve, MOVE), ("transformer", attend, MOVE // PATCH)):
        expected, features = np.roll(np.array(function(image)), step, axis=2), np.array(function(moved))
        results[name] = np.abs(features - expected).mean(-1)[0] / np.abs(expected).mean()
        results[f"{name}_difference"] = float(results[name][:, inside if step == MOVE else slice(step, -step)].max())
    return results


def check(results: dict) -> list[Criterion]:
    return [
        at_most("largest relative difference, convolution", results["convolution_difference"], 1e-5),
        at_least("largest relative difference, transformer", results["transformer_difference"], 0.1),
    ]


def plot(figure: Figure, results: dict) -> None:
    pictures = (
        ("image", "An image", {"cmap": "gray"}),
        ("moved", f"The same, {MOVE} pixels on", {"cmap": "gray"}),
        ("convolution", "Two convolutions", {"vmin": 0, "vmax": 1}),
        ("transformer", "ViT, learned positions", {"vmin": 0, "vmax": 1}),
    )
    axes_of_all = figure.subplots(2, 2)
    drawn = []
    for axes, (name, title, options) in zip(axes_of_all.flat, pictures):
        drawn.append(axes.imshow(results[name], **options))
        axes.set(xticks=[], yticks=[], title=title)
    figure.colorbar(drawn[-1], ax=axes_of_all[1], label="relative difference")
