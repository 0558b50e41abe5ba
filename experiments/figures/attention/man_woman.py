"""Who drove whom? Without positions a transformer cannot tell.

Both sentences have the same words. Without positions the encoder sees a set, so the means of its outputs are the same
and nothing that reads them can tell the sentences apart.

Formula: mean f(X) = mean f(P X) without positions
Source: V. Roth, Neural Encoder-Decoder Models: order matters.
Look at: without positions the two differ by rounding error only.
"""

from flax import nnx
import jax.numpy as jnp
import numpy as np

from experiments.figures.engine import at_least, at_most
from experiments.figures.style import grid
from models.encoder_decoder import EncoderDecoder

SENTENCES = ("the man drove the woman to the store", "the woman drove the man to the store")


def run(seed: int, *, without: str = "none") -> dict:
    words = sorted(set(SENTENCES[0].split()))
    tokens_BT = jnp.array([[words.index(word) for word in sentence.split()] for sentence in SENTENCES])
    found = {}
    for name, kind in {"without": without, "with": "sinusoidal"}.items():
        model = EncoderDecoder(
            source_vocab_size=len(words), vocab_size=len(words), source_context=8, context=8, width=32, depth=2,
            heads=4, positions=kind, rngs=nnx.Rngs(seed),
        )  # fmt: skip
        found[name] = np.array(nnx.jit(lambda model: model.encode(tokens_BT))(model).mean(1))
    return found


def check(found: dict) -> list:
    change = lambda name: np.abs(found[name][0] - found[name][1]).max()
    return [
        at_most("without positions: largest difference of the means", change("without"), 1e-5),
        at_least("with positions: largest difference of the means", change("with"), 1e-2),
    ]


def plot(figure, found: dict) -> None:
    axes = figure.subplots()
    for number, name in enumerate(("with", "without")):
        change = np.maximum(np.abs(found[name][0] - found[name][1]), 1e-8)
        axes.semilogy(range(1, 33), change, f"C{1 - number}" + "so"[number] + "-", label=f"{name} positions")
    axes.set(xlabel="number of the encoder's output, mean over the words", ylabel="difference of the sentences")
    axes.set(title=f'"{SENTENCES[0]}"\n"{SENTENCES[1]}"', ylim=(1e-8, 10))
    axes.legend(loc="upper right", ncols=2)
    grid(axes, "y")
