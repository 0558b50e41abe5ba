"""A network says what it sees, word by word, and looks at what it is about to name.

A convolutional network reads the image, and a recurrent network writes the caption; for each word its attention weighs
the places of the image anew. Every image here has a combination of colour and shape that is in no image of the training
split, such as a red triangle: the network has learned colours and shapes, and not a list of captions.

Formula: a_ti = softargmax_i(v . tanh(W s_(t-1) + U h_i)); h_i: place i of the last map
Source: Vinyals et al. 2015; Xu et al. 2015, figure 3.
Look at: the places that are left bright, which have most weight. They move from one shape to the other.
"""

import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from data.shapes import vocabulary
from data.subwords import BOS, EOS
from experiments.figures.engine import Criterion, at_least
from experiments.figures.trained import Trainer
from experiments.inside.attention_maps import attention_maps
from models.beam_search import beam_search

CONFIG = "configs/captions.py"
COUNT, SHOWN = 1000, 2


def run(seed: int, train: Trainer, *, own_image: bool = True) -> dict:
    """Without `own_image`, the network is shown the next image, and has to guess the caption."""
    (trained,) = train(CONFIG, {"": {}}).values()
    source = trained.run.dataset.evaluation
    batch = source.examples(np.arange(COUNT))
    images = batch["inputs"]["images"] if own_image else np.roll(batch["inputs"]["images"], 1, axis=0)
    length = batch["targets"].shape[1]
    written_BKT, _ = beam_search(trained.model, jnp.asarray(images), bos=BOS, eos=EOS, length=length)
    counted = batch["weights"] > 0
    right = (np.asarray(written_BKT)[:, 0] == batch["targets"]) | ~counted
    weights_BTS = attention_maps(trained.model, batch["inputs"] | {"images": images})["decoder.cross"][:, 0]
    two = np.flatnonzero(counted.all(1))[:SHOWN]  # captions of the largest length name two shapes
    words = [[vocabulary().decode([token]) for token in batch["targets"][row]] for row in two]
    return {"exact": right.all(1), "images": images[two], "weights": weights_BTS[two], "words": words}


def check(results: dict) -> list[Criterion]:
    return [at_least("captions without any error, of new combinations", results["exact"].mean(), 0.95)]


def plot(figure: Figure, results: dict) -> None:
    length = results["weights"].shape[1]
    panels = figure.subplots(SHOWN, length, squeeze=False)
    for row, (image, weights, words) in enumerate(zip(results["images"], results["weights"], results["words"])):
        panels[row, 0].imshow(image)
        for axes, word, weight in zip(panels[row, 1:], words, weights):
            cells = weight.reshape(2 * [round(len(weight) ** 0.5)])
            scale = len(image) // len(cells)
            bright = np.kron(cells / cells.max(), np.ones((scale, scale)))[..., None]
            axes.imshow(image * (0.15 + 0.85 * bright))
            axes.set_title(word, loc="center")
    for axes in panels.flat:
        axes.set_axis_off()
    figure.suptitle(f"{100 * results['exact'].mean():.1f} % of {COUNT:,} captions without any error")
