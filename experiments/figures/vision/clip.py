"""CLIP compares images with texts, so it can name what was in no training image.

A convolutional network reads pictures of one or two coloured shapes, a causal transformer sentences about them; both
learn only which belongs to which. Five of the 25 combinations, such as a red triangle, are in no training image. A
classifier has no output for them; a text can name them. The class is that of the sentences, five for each, whose mean
vector is most similar to that of the image.

Formula: loss = -1/2B sum_i [log softmax(s_i.)_i + log softmax(s_.i)_i], with s_ij = cos(image i, text j) / temperature
Source: Lecture on transformers in computer vision, slides 45 to 48; Radford et al. 2021, figures 1 and 3.
Look at: the diagonal of the similarity matrix; where a combination was held out (marked), seen ones compete with it.
"""

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from data import DATASETS
from data.shapes import HELD_OUT
from experiments.figures.engine import Criterion, at_least, at_most, near
from experiments.figures.style import bars, matrix
from experiments.figures.trained import Trainer
from experiments.use.zero_shot import ENSEMBLE, PROBE, accuracies, class_vectors, image_vectors
from objectives.contrastive import contrastive

CONFIG = "configs/clip_shapes.py"
BATCH = 64


def run(seed: int, train: Trainer, *, freeze: tuple[str, ...] = ()) -> dict:
    part = train(CONFIG, {"clip": {"freeze": freeze} if freeze else {}})["clip"]
    dataset = part.run.dataset
    fields = part.run.config["data"] | {"evaluation": "combinations"}
    unseen = DATASETS[fields.pop("name")](**fields)
    of_classes = class_vectors(part.model, dataset.vocabulary, dataset.classes)
    vectors, labels = (
        np.concatenate(x)
        for x in zip(*(image_vectors(part.model, source) for source in (dataset.evaluation, unseen.evaluation)))
    )
    # Which of the combinations that no training image has is it?
    candidates = np.flatnonzero(HELD_OUT.ravel())
    among = np.isin(labels, candidates)
    chosen = candidates[(vectors[among] @ of_classes[candidates].T).argmax(1)]
    # One image of each combination, the first one.
    first = [int(np.flatnonzero(labels == label)[0]) for label in range(len(dataset.classes))]
    return {
        "cosines": vectors[first] @ of_classes.T,
        "classes": dataset.classes,
        "seen": accuracies(part.model, dataset, dataset.vocabulary, probe=True),
        "held out": accuracies(part.model, unseen, dataset.vocabulary, probe=True),
        "among held out": float((chosen == labels[among]).mean()),
        "first loss": _first_loss(part.run, seed),
    }


def check(results: dict) -> list[Criterion]:
    cosines = results["cosines"]
    own = np.eye(len(cosines), dtype=bool)
    return [
        at_least("mean cosine of an image with its own sentences", cosines[own].mean(), 0.7),
        at_most("mean cosine of an image with those of another class", cosines[~own].mean(), 0.5),
        at_least("zero-shot accuracy on held-out combinations, among all 25", results["held out"][ENSEMBLE], 0.2),
        at_least("the same, among the five that are held out", results["among held out"], 0.8),
        near("loss before training, minus log B", results["first loss"] - np.log(BATCH), 0, 0.8),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    drawn = matrix(left, results["cosines"], vmin=-1, vmax=1)
    held_out = np.flatnonzero(HELD_OUT.ravel())
    left.plot(held_out, held_out, "s", color="C1", fillstyle="none", markersize=9, markeredgewidth=2)
    left.set(xticks=[], xlabel="sentences, colour by colour", title="Cosines (marked: held out)")
    left.set_yticks(range(len(results["classes"])), results["classes"], fontsize=8)
    figure.colorbar(drawn, ax=left, shrink=0.8)
    rows = {
        "seen: zero-shot": results["seen"][ENSEMBLE],
        "seen: linear probe": results["seen"][PROBE],
        "held out: zero-shot": results["held out"][ENSEMBLE],
        "... among these five": results["among held out"],
        "held out: linear probe": results["held out"][PROBE],
    }
    values = [100 * accuracy for accuracy in rows.values()]
    bars(right, list(rows), values, ".1f", color=["C0", "C2", "C0", "C0", "C2"])
    right.set(xlabel="right among 25 classes (%)", xlim=(0, 125), xticks=range(0, 101, 25))


def _first_loss(run, seed: int) -> float:
    """The loss of a model with random parameters on one batch."""
    batch = jax.tree.map(jnp.asarray, run.dataset.evaluation.examples(np.arange(BATCH)))
    loss = nnx.jit(lambda model: contrastive(model, batch, None)[0])
    return float(loss(run.make_model(nnx.Rngs(seed))))
