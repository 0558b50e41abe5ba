"""Multi-head attention splits the width into heads, each with its own attention weights.

With the same parameters, our module computes the same as the one of Flax. With these parameters in one large head the
outputs differ, so splitting into heads is more than a reshape.

Formula: head_i = Attention(x Q_i, x K_i, x V_i); output = [head_1, ..., head_H] O
Source: Lecture on transformers in computer vision, slide 20; V. Roth, Neural Encoder-Decoder Models; Vaswani
  et al. 2017.
Look at: the points lie on the diagonal with four heads, and off it with one.
"""

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_most
from experiments.figures.style import grid, ink, matrix, split
from models.attention import Attention, AttentionWeights

T, D, H = 6, 32, 4


def run(seed: int, *, heads: int = H) -> dict:
    rngs = nnx.Rngs(seed)
    flax = nnx.MultiHeadAttention(
        num_heads=H, in_features=D, decode=False, bias_init=nnx.initializers.normal(), rngs=rngs
    )
    x_BTD = jax.random.normal(rngs.data(), (1, T, D)) * 2
    ours, single = (_with_weights_of(flax, number) for number in (heads, 1))
    (out, _), captured = nnx.capture(ours, AttentionWeights)(x_BTD)
    (weights_BHTS,) = jax.tree.leaves(captured)
    return {
        "flax": np.array(flax(x_BTD)[0]),
        "ours": np.array(out[0]),
        "single": np.array(single(x_BTD)[0][0]),
        "weights": np.array(weights_BHTS[0]),
    }


def _with_weights_of(flax, heads: int) -> Attention:
    ours = Attention(width=D, heads=heads, rngs=nnx.Rngs(0))
    for name in ("query", "key", "value", "out"):
        theirs, mine = getattr(flax, name), getattr(ours, name)
        mine.kernel[...], mine.bias[...] = theirs.kernel[...].reshape(D, D), theirs.bias[...].reshape(D)
    return ours


def check(results: dict) -> list[Criterion]:
    return [at_most("largest difference from Flax's module", np.abs(results["ours"] - results["flax"]).max(), 1e-5)]


def plot(figure: Figure, results: dict) -> None:
    left, right = split(figure, 1, 2)
    axes = left.subplots()
    limits = [jnp.min(results["flax"]) - 0.3, jnp.max(results["flax"]) + 0.3]
    axes.plot(limits, limits, color=ink(), linewidth=1, linestyle=":")
    axes.plot(results["flax"].ravel(), results["single"].ravel(), "C1x", markersize=6, label="our module, one head")
    axes.plot(results["flax"].ravel(), results["ours"].ravel(), "C0o", markersize=6, label="our module, four heads")
    axes.set(xlabel="output of Flax's module", ylabel="output of our module", title="The same parameters", xlim=limits)
    axes.legend(loc="upper left")
    grid(axes)
    for number, panel in enumerate(right.subplots(2, 2).flat):
        if number < len(results["weights"]):
            matrix(panel, results["weights"][number], vmin=0, vmax=1)
        panel.set_title(f"head {number + 1}", fontsize=14)
        panel.set(xticks=[], yticks=[], xlabel="key", ylabel="query")
    right.suptitle("Attention weights of each head", fontsize=16)
