"""Attention in windows costs little, and shifting the windows joins them again.

Inside windows of 4 x 4 patches, a patch sees 16 patches however large the image is. The next block shifts the windows
by half their size, so that each joins the corners of four. Rolling the image and masking computes just that, with as
many windows of one size as before.

Formula: cost = windows x (4 x 4)^2, so linear in the number of patches
Source: Lecture on transformers in computer vision, slide 64; Liu et al. 2021, figure 2 and section 3.2.
Look at: what the patch at (3, 3) depends on: its window of 16 patches, and with the shift all 64.
"""

from functools import partial

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_most, near
from models.swin import Stage, into_windows, out_of_windows, shifted_mask
from training.report import flops

SIDE, WINDOW, WIDTH, HEADS = 8, 4, 16, 2
SIDES = (8, 16, 32)  # of the images whose cost is counted
PATCH = (3, 3)


def run(seed: int, *, shift: bool = True) -> dict:
    stage = _stage(SIDE, seed)
    x = jax.random.normal(jax.random.key(seed), (1, SIDE * SIDE, WIDTH))
    place = PATCH[0] * SIDE + PATCH[1]
    one = lambda x: _block(stage, 0, x, shift=False)
    two = lambda x: _block(stage, 1, one(x), shift=shift)
    costs = []
    for side in SIDES:
        shape = jax.ShapeDtypeStruct((1, side * side, WIDTH), jnp.float32)
        larger = _stage(side, seed)
        costs.append(flops(jax.jit(partial(larger, key=None)).lower(shape).compile()))
    results = {
        "difference": _difference(stage, x),
        "sides": np.array(SIDES),
        "flops": np.array(costs),
        "slope": float(np.polyfit(np.log(np.square(SIDES)), np.log(costs), 1)[0]),
    }
    for name, function in (("seen_by_one_block", one), ("seen_by_two_blocks", two)):
        gradient = jax.jit(jax.grad(lambda x, function=function: function(x)[0, place].sum()))(x)
        results[name] = np.array(jnp.abs(gradient[0]).sum(-1) > 0).reshape(SIDE, SIDE)
    return results


def check(results: dict) -> list[Criterion]:
    return [
        at_most("largest difference between roll and mask, and explicit windows", results["difference"], 1e-5),
        near("patches that one block sees", results["seen_by_one_block"].sum(), WINDOW**2, 0),
        near("patches that two blocks see", results["seen_by_two_blocks"].sum(), SIDE**2, 0),
        near("slope of the cost over the number of patches", results["slope"], 1, 0.02),
    ]


def plot(figure: Figure, results: dict) -> None:
    first, second, third = figure.subplots(1, 3, width_ratios=[1, 1, 1.25])
    for axes, name, title in (
        (first, "seen_by_one_block", "One block"),
        (second, "seen_by_two_blocks", "Then shifted"),
    ):
        axes.imshow(results[name], cmap=ListedColormap(["0.92", "C0"]), vmin=0, vmax=1)
        edges = np.arange(0, SIDE + 1, WINDOW) if name == "seen_by_one_block" else np.arange(2, SIDE, WINDOW)
        for edge in edges - 0.5:
            axes.axhline(edge, color="C1", linewidth=2)
            axes.axvline(edge, color="C1", linewidth=2)
        axes.plot(PATCH[1], PATCH[0], "o", color="C3", markersize=9)
        axes.set(xticks=[], yticks=[], title=f"{title}: {int(results[name].sum())} patches")
    third.loglog(results["sides"] ** 2, results["flops"], "o-")
    third.set(xlabel="patches", ylabel="FLOPs of a stage", title=f"Cost: slope {results['slope']:.2f}")


def _stage(side: int, seed: int) -> Stage:
    return Stage(
        grid=(side, side), window=WINDOW, merge=False, depth=2, width=WIDTH, heads=HEADS, dropout=0.0, dtype="float32",
        rngs=nnx.Rngs(seed),
    )  # fmt: skip


def _block(stage: Stage, number: int, x: jax.Array, *, shift: bool) -> jax.Array:
    """One block of a stage, with its windows shifted or not."""
    grid, sides, shifts = (SIDE, SIDE), (WINDOW, WINDOW), stage.shift(1) if shift else (0, 0)
    mask = shifted_mask(grid, sides, shifts)
    windows = into_windows(x, grid, sides, shifts)
    mask = None if mask is None else jnp.asarray(mask)
    windows, _ = stage.blocks[number](windows, mask=mask, bias=stage.positions[number]())
    return out_of_windows(windows, grid, sides, shifts)


def _difference(stage: Stage, x: jax.Array) -> float:
    """The second block by rolling and masking, against its windows one by one, of which some are cut at the border."""
    block, bias = stage.blocks[1], np.array(stage.positions[1]())
    rolled = _block(stage, 1, x, shift=True)
    edges = [0, *range(WINDOW // 2, SIDE, WINDOW), SIDE]
    row, column = np.indices((WINDOW, WINDOW)).reshape(2, -1)
    differences = []
    for top, bottom in zip(edges, edges[1:]):
        for left, right in zip(edges, edges[1:]):
            patches = (np.arange(top, bottom)[:, None] * SIDE + np.arange(left, right)).ravel()
            inside = (row < bottom - top) & (column < right - left)  # the bias follows from offsets, not from places
            alone, _ = block(x[:, patches], bias=jnp.asarray(bias[:, :, inside][..., inside]))
            differences.append(float(jnp.abs(alone - rolled[:, patches]).max()))
    return max(differences)
