"""A Perceiver knows no grid: it reads a set of pixels, each with its position attached.

If the pixels are shuffled together with their positions, the answer does not change. If only the pixels are shuffled,
they form another image. This holds for one fixed model; it does not mean that training on shuffled images reaches the
same accuracy.

Formula: f({(x_s, p_s)}) depends on the set of pairs only
Source: Lecture on transformers in computer vision, slide 67; Jaegle et al. 2021.
Look at: when the positions move along, the change is rounding error.
"""

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from data.digits import digits
from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import grid, split
from models.perceiver import Perceiver


def run(seed: int, *, positions_too: bool = True) -> dict:
    images = jnp.asarray(digits().evaluation.examples(np.array([seed % 360]))["inputs"]["images"])
    model = Perceiver(image_shape=(8, 8, 1), classes=10, latents=8, width=32, depth=2, heads=4, rngs=nnx.Rngs(seed))
    order = jax.random.permutation(jax.random.key(seed), 64)
    shuffled = images.reshape(1, 64, 1)[:, order].reshape(images.shape)

    @nnx.jit
    def answers(model):
        array_BSD = model.array(images)
        pairs = array_BSD[:, order] if positions_too else model.array(shuffled)
        return [model.answer(model.read(x), 64)[0] for x in (array_BSD, pairs, model.array(shuffled))]

    names = ("image", "pixels and positions shuffled", "pixels shuffled")
    logits = dict(zip(names, map(np.array, answers(model))))
    return {"logits": logits, "image": np.array(images[0, :, :, 0]), "shuffled": np.array(shuffled[0, :, :, 0])}


def check(results: dict) -> list[Criterion]:
    image, both, pixels = results["logits"].values()
    return [
        at_most("change of the logits, pixels and positions shuffled", np.abs(both - image).max(), 1e-5),
        at_least("change of the logits, only pixels shuffled", np.abs(pixels - image).max(), 1e-3),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = split(figure, 1, 2, width_ratios=[1, 2.4])
    for axes, name, title in zip(left.subplots(2, 1), ("image", "shuffled"), ("Image", "Pixels shuffled")):
        axes.imshow(results[name], cmap="gray")
        axes.set(xticks=[], yticks=[], title=title)
    axes = right.subplots()
    plain, *shuffled = results["logits"].values()
    for number, (name, logits) in enumerate(zip(("pixels and positions shuffled", "only pixels shuffled"), shuffled)):
        change = np.maximum(np.abs(logits - plain), 1e-8)
        axes.semilogy(range(10), change, f"C{number}" + "os"[number] + "-", label=name)
    axes.set_xticks(range(10))
    axes.set(xlabel="class", ylabel="change of its logit", ylim=(1e-8, 100), title="Change of the answer")
    axes.legend(loc="upper left")
    grid(axes, "y")
