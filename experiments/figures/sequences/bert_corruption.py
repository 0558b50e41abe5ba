"""How BERT hides words: 15 % of them, of which 80 % are masked, 10 % replaced and 10 % kept.

Because some hidden words are replaced or kept, the model cannot trust a word just because it is not [MASK]. The random
replacement may happen to be the word itself or [MASK]. With a vocabulary of 20, this moves half a percentage point from
"replaced" to each of "kept" and "[MASK]".

Formula: P(hidden) = 0.15; V = 20: P([MASK]) = 0.8 + 0.1 / V, P(kept) = 0.1 + 0.1 / V, P(replaced) = 0.1 - 0.2 / V
Source: Lecture on transformers in computer vision, slide 36; Devlin et al. 2019, section 3.1.
Look at: the shares on the left, and what happens to 16 sequences on the right.
"""

import jax
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
import matplotlib.pyplot as plt
import numpy as np

from experiments.figures.engine import Criterion, near
from experiments.figures.style import bars
from objectives.masked_language_modeling import corrupt

ROWS, T, V = 20_000, 8, 20
WAYS = ("[MASK]", "replaced", "kept")


def run(seed: int, *, rate: float = 0.15, vocab_size: int = V) -> dict:
    token_key, corrupt_key = jax.random.split(jax.random.key(seed))
    tokens = jax.random.randint(token_key, (ROWS, T), 1, V)  # 0 is [MASK]
    hide = lambda key, row: corrupt(key, row, mask_id=0, vocab_size=vocab_size, special_below=1, rate=rate)
    changed, hidden = jax.jit(jax.vmap(hide))(jax.random.split(corrupt_key, ROWS), tokens)
    tokens, changed, hidden = map(np.array, (tokens, changed, hidden))
    way = np.where(~hidden, 0, np.where(changed == 0, 1, np.where(changed != tokens, 2, 3)))
    shares = [float((way == number).sum() / hidden.sum()) for number in (1, 2, 3)]
    return {"hidden": float(hidden.mean()), "shares": shares, "example": way[:32].reshape(16, 16)}


def check(results: dict) -> list[Criterion]:
    expected = (0.8 + 0.1 / V, 0.1 - 0.2 / V, 0.1 + 0.1 / V)
    return [near("share of hidden words", results["hidden"], 0.15, 0.01)] + [
        near(f"share of these: {way}", share, value, 0.01)
        for way, share, value in zip(WAYS, results["shares"], expected)
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2)
    left.set_title(f"What happens to the hidden {100 * results['hidden']:.1f} %")
    bars(left, list(WAYS), [100 * share for share in results["shares"]], ".1f")
    left.set(xlim=(0, 100), xlabel="share of the hidden words (%)")
    colours = [plt.rcParams["grid.color"], *plt.rcParams["axes.prop_cycle"].by_key()["color"][:3]]
    right.imshow(results["example"], cmap=ListedColormap(colours), vmin=0, vmax=3)
    right.set_xticks(np.arange(17) - 0.5, [], minor=False)
    right.set_yticks(np.arange(17) - 0.5, [])
    right.grid(color=plt.rcParams["figure.facecolor"], linewidth=2)
    right.set_axisbelow(False)
    right.tick_params(length=0)
    right.spines[:].set_visible(False)
    right.set(title="16 sequences of 16 words", xlabel="word", ylabel="sequence")
