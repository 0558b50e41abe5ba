"""Who drove whom? Without positions a transformer cannot tell.

Both sentences contain the same words. Without positions the encoder sees a set of words, so the mean of its outputs is
the same for both, and nothing that reads this mean can tell the sentences apart.

Formula: mean f(X) = mean f(P X) without positions, for every permutation P
Source: V. Roth, Neural Encoder-Decoder Models: order matters.
Look at: without positions the two sentences differ by rounding error only.
"""

from flax import nnx
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import grid
from models.encoder_decoder import EncoderDecoder

SENTENCES = ("the man drove the woman to the store", "the woman drove the man to the store")


def run(seed: int, *, without: str = "none") -> dict:
    words = sorted(set(SENTENCES[0].split()))
    tokens_BT = jnp.array([[words.index(word) for word in sentence.split()] for sentence in SENTENCES])
    results = {}
    for name, kind in {"without": without, "with": "sinusoidal"}.items():
        model = EncoderDecoder(
            source_vocab_size=len(words), vocab_size=len(words), source_context=8, context=8, width=32, depth=2,
            heads=4, positions=kind, rngs=nnx.Rngs(seed),
        )  # fmt: skip
        results[name] = np.array(nnx.jit(lambda model: model.encode(tokens_BT))(model).mean(1))
    return results


def check(results: dict) -> list[Criterion]:
    change = lambda name: np.abs(results[name][0] - results[name][1]).max()
    return [
        at_most("without positions: largest difference between the sentences", change("without"), 1e-5),
        at_least("with positions: largest difference between the sentences", change("with"), 1e-2),
    ]


def plot(figure: Figure, results: dict) -> None:
    axes = figure.subplots()
    for number, name in enumerate(("with", "without")):
        change = np.maximum(np.abs(results[name][0] - results[name][1]), 1e-8)
        axes.semilogy(range(1, 33), change, f"C{1 - number}" + "so"[number] + "-", label=f"{name} positions")
    axes.set(xlabel="dimension of the mean encoder output", ylabel="difference between the sentences")
    axes.set(title=f'"{SENTENCES[0]}"\n"{SENTENCES[1]}"', ylim=(1e-8, 10))
    axes.legend(loc="upper right", ncols=2)
    grid(axes, "y")
