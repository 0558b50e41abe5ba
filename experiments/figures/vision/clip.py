"""CLIP names what it has never seen: an image has the class of the most similar sentence.

An encoder of images and one of texts learn from pairs of coloured shapes and sentences, of which each belongs to its
image and to no other of the batch. No image has shown one shape of each colour, such as a red triangle; but sentences
name its colour and its shape, and both are known from other images.

Formula: class(x) = argmax_c cos(image(x), mean over prompts of text("a c", "a picture of a c", ...))
Source: Lecture on transformers in computer vision, slides 45 to 48; Radford et al. 2021, figure 1 and section 3.1.
Look at: the diagonal, where sentences meet their own images; the bars, for combinations that no training image had.
"""

from flax import nnx
import jax
from matplotlib.figure import Figure
import numpy as np

from data.shapes import SHAPES
from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import bars, matrix
from experiments.figures.trained import Trainer
from experiments.use.zero_shot import class_vectors, image_vectors, open_run
from objectives.contrastive import contrastive
from train import Run
from training.state import merge

CONFIG = "configs/clip_shapes.py"
BATCH = 64
SEEN, UNSEEN = "test", "combinations"


def run(seed: int, train: Trainer, *, right_sentences: bool = True) -> dict:
    part = train(CONFIG, {"clip": {}})["clip"]
    sums, counts, right = np.zeros(()), np.zeros(()), {}
    for split in (SEEN, UNSEEN):
        model, dataset, vocabulary = open_run(part.workdir, split)
        assert dataset.classes
        sentences = class_vectors(model, vocabulary, dataset.classes)
        if not right_sentences:
            sentences = np.roll(sentences, 7, axis=0)
        vectors, labels = image_vectors(model, dataset.evaluation)
        cosines, is_label = vectors @ sentences.T, np.eye(len(sentences))[labels]
        right[split] = float((cosines.argmax(1) == labels).mean())
        sums, counts = sums + is_label.T @ cosines, counts + is_label.sum(0)
    return {
        "cosines": sums / counts[:, None],
        "right": right,
        "loss at first": _first_loss(part.run, seed),
    }


def check(results: dict) -> list[Criterion]:
    cosines, right = results["cosines"], results["right"]
    own = np.eye(len(cosines), dtype=bool)
    colours, shapes = np.divmod(np.arange(len(cosines)), len(SHAPES))
    unrelated = (colours[:, None] != colours) & (shapes[:, None] != shapes)
    return [
        at_least("mean cosine of an image and its own sentence", cosines[own].mean(), 0.8),
        at_most("mean cosine of an image and a sentence of another colour and shape", cosines[unrelated].mean(), 0.2),
        at_least("images of combinations that were seen, named right", right[SEEN], 0.95),
        at_least("images of combinations that were never seen, named right", right[UNSEEN], 0.6),
        at_most("difference of the first loss from log B", abs(results["loss at first"] - np.log(BATCH)), 2.0),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1.2, 1])
    drawn = matrix(left, results["cosines"], vmin=-1, vmax=1)
    left.set(xticks=[], yticks=[], xlabel="sentences", ylabel="images of each class", title="Cosines")
    figure.colorbar(drawn, ax=left, shrink=0.7)
    names = {"seen in training": results["right"][SEEN], "never seen": results["right"][UNSEEN]}
    names["chance"] = 1 / len(results["cosines"])
    bars(right, list(names), [100 * share for share in names.values()], ".0f")
    right.set(xlabel="images named right (%)", xlim=(0, 125), xticks=range(0, 101, 25))


def _first_loss(run: Run, seed: int) -> float:
    """The loss of the untrained model on a batch."""
    structure, create = run.initialise()
    model = merge(structure, create(jax.random.key(seed)).parameters)
    batch = run.dataset.evaluation.examples(np.arange(BATCH))
    return float(nnx.jit(lambda model: contrastive(model, batch, None)[0])(model))
