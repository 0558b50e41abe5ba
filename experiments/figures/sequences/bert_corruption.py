"""How BERT hides words: 15 %, of which 80 % masked, 10 % swapped, 10 % left.

The words that are left or swapped keep the model from trusting whatever is not [MASK]. A random word can be the one
that stood there, or [MASK]: with 20 of them that moves half a point each from swapped to left and to [MASK].

Formula: P(hidden) = 0.15; with V = 20: P([MASK]) = 0.8 + 0.1 / V, P(left) = 0.1 + 0.1 / V, P(swapped) = 0.1 - 0.2 / V
Source: Lecture on transformers in computer vision, slide 36; Devlin et al. 2019, section 3.1.
Look at: the shares, and what it does to sequences of 16 words.
"""

import jax
from matplotlib.colors import ListedColormap
import matplotlib.pyplot as plt
import numpy as np

from experiments.figures.engine import near
from experiments.figures.style import bars
from objectives.masked_language_modeling import corrupt

ROWS, T, V = 20_000, 8, 20
WAYS = ("[MASK]", "swapped", "left")


def run(seed: int, *, rate: float = 0.15, vocab_size: int = V) -> dict:
    token_key, corrupt_key = jax.random.split(jax.random.key(seed))
    tokens = jax.random.randint(token_key, (ROWS, T), 1, V)  # 0 is [MASK]
    hide = lambda key, row: corrupt(key, row, mask_id=0, vocab_size=vocab_size, special_below=1, rate=rate)
    changed, hidden = jax.jit(jax.vmap(hide))(jax.random.split(corrupt_key, ROWS), tokens)
    tokens, changed, hidden = map(np.array, (tokens, changed, hidden))
    way = np.where(~hidden, 0, np.where(changed == 0, 1, np.where(changed != tokens, 2, 3)))
    shares = [float((way == number).sum() / hidden.sum()) for number in (1, 2, 3)]
    return {"hidden": float(hidden.mean()), "shares": shares, "example": way[:32].reshape(16, 16)}


def check(found: dict) -> list:
    expected = (0.8 + 0.1 / V, 0.1 - 0.2 / V, 0.1 + 0.1 / V)
    return [near("share of hidden words", found["hidden"], 0.15, 0.01)] + [
        near(f"of these: {way}", share, value, 0.01) for way, share, value in zip(WAYS, found["shares"], expected)
    ]


def plot(figure, found: dict) -> None:
    left, right = figure.subplots(1, 2)
    left.set_title(f"What becomes of the hidden {100 * found['hidden']:.1f} %")
    bars(left, list(WAYS), [100 * share for share in found["shares"]], ".1f")
    left.set(xlim=(0, 100), xlabel="of the hidden words (%)")
    colours = [plt.rcParams["grid.color"], *plt.rcParams["axes.prop_cycle"].by_key()["color"][:3]]
    right.imshow(found["example"], cmap=ListedColormap(colours), vmin=0, vmax=3)
    right.set_xticks(np.arange(17) - 0.5, [], minor=False)
    right.set_yticks(np.arange(17) - 0.5, [])
    right.grid(color=plt.rcParams["figure.facecolor"], linewidth=2)
    right.set_axisbelow(False)
    right.tick_params(length=0)
    right.spines[:].set_visible(False)
    right.set(title="16 sequences of 16 words", xlabel="word", ylabel="sequence")
