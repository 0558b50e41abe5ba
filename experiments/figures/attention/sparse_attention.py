"""Attention to a window, with or without every l-th key, costs less and still reaches far.

A layer with a window of w looks w - 1 tokens back, so L layers look L (w - 1) back. With every l-th key besides, two
layers connect every pair of tokens: one step of the window, then strides. Derivatives through layers with random
weights are 0 exactly where the product of the masks of its layers says so.

Formula: FLOPs = c T^2 for all keys, c' T w for a window, c'' T sqrt(T) for a window and a stride of sqrt(T)
Source: Lecture on transformers in computer vision, slide 32; Child et al. 2019, section 4.2.
Look at: how far back each depth reaches, and the slopes. FLOPs are those of the products, loops counted in full.
"""

from functools import partial

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib import colormaps
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_most, near
from experiments.figures.style import grid, matrix
from experiments.measure.exponents import slope
from models.attention import Attention
from models.masks import sees
from models.scores import dot_product, mix, softargmax
from models.sparse_attention import sparse_attention
from training.flops import count

T, WINDOW, STRIDE, DEPTHS = 96, 6, 12, (1, 2, 3)
LENGTHS = (1024, 4096, 16_384)  # with whole square roots
PATTERNS = {"window": (WINDOW, None), "window and stride": (STRIDE, STRIDE)}


def run(seed: int, *, window_of_model: int | None = None, all_keys: bool = False) -> dict:
    results: dict = {"field": {}, "predicted": {}, "flops": {}}
    for name, (window, stride) in PATTERNS.items():
        mask_TS = sees(jnp.arange(T)[:, None] - jnp.arange(T), causal=True, window=window, stride=stride)
        results["field"][name] = _fields(seed, window_of_model or window, stride)
        results["predicted"][name] = [
            np.linalg.matrix_power(np.array(mask_TS, float), depth) > 0 for depth in DEPTHS
        ]  # fmt: skip
    dense = lambda q, k, v: mix(softargmax(dot_product(q, k)), v)
    window = lambda q, k, v: sparse_attention(q, k, v, causal=True, window=65)  # blocks of 64
    strided = lambda q, k, v: sparse_attention(
        q, k, v, causal=True, window=round(q.shape[1] ** 0.5), stride=round(q.shape[1] ** 0.5)
    )
    functions = {"all keys": dense, "window": dense if all_keys else window, "window and stride": strided}
    for name, function in functions.items():
        arrays = lambda length: [jax.ShapeDtypeStruct((1, length, 1, 64), jnp.float32)] * 3
        results["flops"][name] = [count(function, *arrays(n)).products for n in LENGTHS]
    return results


def _fields(seed: int, window: int, stride: int | None) -> list[np.ndarray]:
    """For each depth, which hidden states depend on which inputs `TT`: where their derivative is not 0."""
    rngs = nnx.Rngs(seed)
    make = partial(Attention, width=8, heads=1, causal=True, window=window, stride=stride, rngs=rngs)
    x_BTD, change_D = jax.random.normal(rngs.params(), (1, T, 8)), jax.random.normal(rngs.params(), (8,))

    @jax.jit
    def derivatives(layer, x_BTD, changes_STD):
        """The output of a layer with its residual, and its derivatives in many directions."""
        each = lambda change_TD: jax.jvp(lambda x: x + layer(x)[0], (x_BTD,), (change_TD[None],))[1][0]
        return x_BTD + layer(x_BTD)[0], jax.vmap(each)(changes_STD)

    changes_STD, fields = jnp.eye(T)[:, :, None] * change_D, []  # of one token each
    for _ in DEPTHS:
        x_BTD, changes_STD = derivatives(make(), x_BTD, changes_STD)
        fields.append(np.asarray(jnp.abs(changes_STD).max(axis=-1) > 0).T)
    return fields


def _reach(field_TT: np.ndarray) -> int:
    """How many tokens back the last token's field begins."""
    return T - 1 - int(np.flatnonzero(field_TT[-1])[0])


def check(results: dict) -> list[Criterion]:
    differ = sum(
        (np.array(results["field"][name]) != np.array(results["predicted"][name])).sum() for name in PATTERNS
    )
    connected = np.array(results["field"]["window and stride"][1])[np.tri(T, dtype=bool)].mean()
    return [
        at_most("pairs of tokens where derivatives and masks disagree", float(differ), 0),
        *(near(f"window: reach of {depth} layers", _reach(field), depth * (WINDOW - 1), 0)
          for depth, field in zip(DEPTHS, results["field"]["window"])),
        near("window and stride: pairs connected by two layers", float(connected), 1.0, 0),
        near("slope with all keys", slope(LENGTHS, results["flops"]["all keys"]), 2.0, 0.02),
        near("slope with a window", slope(LENGTHS, results["flops"]["window"]), 1.0, 0.005),
        near("slope with a window and a stride", slope(LENGTHS, results["flops"]["window and stride"]), 1.5, 0.05),
    ]  # fmt: skip


def plot(figure: Figure, results: dict) -> None:
    panels = figure.subplots(1, 3, width_ratios=[1, 1, 1.25])
    for axes, (name, fields) in zip(panels, results["field"].items()):
        layers = sum(np.array(field, int) for field in fields)  # all where one layer suffices, 0 where none does
        needed = np.where(layers > 0, len(DEPTHS) + 1 - layers, np.nan)
        matrix(axes, needed, cmap="cividis_r", vmin=1, vmax=len(DEPTHS))
        axes.set(title=name.capitalize(), xlabel="input token", ylabel="output token")
        axes.set_xticks([0, T // 2, T - 1], [1, T // 2 + 1, T])
        axes.set_yticks([0, T // 2, T - 1], [1, T // 2 + 1, T])
    colours = [_colour(depth) for depth in DEPTHS]
    handles = [panels[0].plot([], [], "s", color=colour, markersize=12)[0] for colour in colours]
    panels[0].legend(handles, [f"{depth} layer{'s' * (depth > 1)}" for depth in DEPTHS], fontsize=13, loc="upper right")
    right = panels[2]
    for number, (name, flops) in enumerate(results["flops"].items()):
        right.loglog(LENGTHS, flops, f"C{number}" + "os^"[number] + "-", label=f"{name}: {slope(LENGTHS, flops):.2f}")
    right.set_xticks(LENGTHS, [f"{n // 1024}k" for n in LENGTHS])
    right.set_xticks([], minor=True)
    right.set(xlabel="length (tokens)", ylabel="FLOPs", ylim=(1e7, 2e13), title="Cost, and its slope")
    right.legend(fontsize=12, loc="upper left")
    grid(right)


def _colour(depth: int):
    """The colour that the panels give to a depth."""
    return colormaps["cividis_r"]((depth - 1) / (len(DEPTHS) - 1))
