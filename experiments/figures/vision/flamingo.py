"""A language model that never saw an image writes about images, and stays as it is.

A GPT has learned how sentences about coloured shapes are written, the encoder of a CLIP what is in images. Both are
frozen. Between them a Perceiver and gated attentions are trained, so that each sentence reads the image before it. The
gates start at 0: training begins with exactly the blind GPT, and when they are closed again, it is back to the bit.

Formula: y = x + tanh(g) attention(x, image before it), then z = y + tanh(h) MLP(y); g = h = 0 at first
Source: Lecture on transformers in computer vision, slides 52 to 54; Alayrac et al. 2022, figures 3 and 4.
Look at: how many sentences are right to the last word, with images and blind; how far the gates have opened.
"""

from flax import nnx
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from core.parameters import split
from data.interleaved import IMAGES
from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import bars, grid, tiles
from experiments.figures.trained import Trainer
from models.flamingo import Flamingo

TEXT, CLIP, FLAMINGO = "configs/shapes_text.py", "configs/clip_shapes.py", "configs/flamingo_shapes.py"
COUNT = 300


def run(seed: int, train: Trainer, *, right_images: bool = True) -> dict:
    text, clip = train(TEXT, {"text": {}})["text"], train(CLIP, {"clip": {}})["clip"]
    parts = {"init_parts.language": text.workdir, "init_parts.vision": f"{clip.workdir}#image_encoder"}
    part = train(FLAMINGO, {"flamingo": parts})["flamingo"]
    model: Flamingo = part.model
    batch = part.run.dataset.evaluation.examples(np.arange(COUNT))
    images, tokens = (jnp.asarray(batch["inputs"][name]) for name in ("images", "tokens"))
    images_seen = images if right_images else jnp.roll(images, COUNT // 2, axis=0)
    logits = nnx.jit(lambda model: model(images_seen, tokens))(model)
    vocabulary = part.run.dataset.vocabulary
    assert vocabulary is not None
    blind = nnx.jit(lambda model: model(tokens))(text.model)
    gates = np.tanh([[float(block.attention_gate[...]), float(block.mlp_gate[...])] for block in model.gated])
    before, after = split(text.model)[1], split(model.language)[1]
    for block in model.gated:
        block.attention_gate[...] = block.mlp_gate[...] = jnp.zeros(())
    closed = nnx.jit(lambda model: model(images_seen, tokens))(model)
    return {
        "right": {"with images": _right(logits, batch), "blind": _right(blind, batch)},
        "closed": float(jnp.abs(closed - blind).max()),
        "changed": sum(not np.array_equal(before[path], after[path]) for path in before),
        "gates": gates,
        "images": np.array(images[:3]),
        "sentences": [vocabulary.decode(row) for row in np.asarray(logits[:3].argmax(-1))],
    }


def check(results: dict) -> list[Criterion]:
    return [
        at_least("sentences without any error, with images", results["right"]["with images"], 0.9),
        at_most("sentences without any error, blind", results["right"]["blind"], 0.2),
        at_most("largest change of a logit of the GPT when the gates are closed", results["closed"], 1e-5),
        at_most("arrays of the GPT that training has changed", results["changed"], 0),
        at_least("largest gate, in absolute value", np.abs(results["gates"]).max(), 0.05),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, middle, right = figure.subplots(1, 3, width_ratios=[0.7, 1.2, 1])
    tiles(left, results["images"].mean(-1), cmap="gray")
    left.set(title="Images of three texts")
    bars(middle, list(results["right"]), [100 * share for share in results["right"].values()], ".0f")
    middle.set(xlabel="sentences without an error (%)", xlim=(0, 125), xticks=range(0, 101, 25))
    layers = range(1, len(results["gates"]) + 1)
    for number, name in enumerate(("attention", "MLP")):
        right.plot(layers, np.abs(results["gates"][:, number]), f"C{number}o-", label=name)
    right.set(xlabel="layer", ylabel="|tanh(gate)|", ylim=(0, None), xticks=layers, title="Gates: 0 at first")
    right.legend()
    grid(right, "y")


def _right(logits, batch) -> float:
    """The share of sentences of which each word is the most likely one, given the words before it."""
    right = (np.asarray(logits.argmax(-1)) == batch["targets"]) | (batch["weights"] == 0)
    return float(np.mean([half.all(1) for half in np.array_split(right, IMAGES, axis=1)]))
