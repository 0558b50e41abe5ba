"""A product A x is a sum of scaled columns, and a list of inner products with rows.

A linear layer computes one thing that can be read in two ways. By columns: each input scales one column of A, and the
scaled columns are added. By rows: each output measures how well the input matches one row. A recurrent step W h + U x
is the same product once more, with the matrices side by side and the vectors stacked.

Formula: A x = sum_j x_j a_j, (A x)_i = <a_i, x>, W h + U x = [W U] [h; x]
Source: A. Canziani, threads on attention: linear layers.
Look at: the scaled columns, laid end to end, lead to the output of the layer.
"""

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_most
from experiments.figures.style import grid, ink
from models.layers import linear


def run(seed: int, *, right_order: bool = True) -> dict:
    layer = linear(3, 2, bias=False, rngs=nnx.Rngs(seed))
    layer.kernel[...] = jnp.array([[2.0, 0.5], [0.3, 1.4], [-1.8, 0.8]])  # each row is a column of A
    A = layer.kernel[...].T
    x = jnp.array([1.5, 1.0, 0.5]) + 0.2 * jax.random.uniform(jax.random.key(seed), (3,))
    order = jnp.arange(3) if right_order else jnp.array([1, 2, 0])
    scaled = A * x[order]
    W, U, h, u = A[:, :2], A[:, 2:], x[:2], x[2:]
    return {
        "layer": np.array(layer(x)),
        "columns": np.array(scaled.sum(1)),
        "rows": np.array([jnp.vdot(row, x) for row in A]),
        "stacked": np.array(W @ h + U @ u),
        "scaled": np.array(scaled),
    }


def check(results: dict) -> list[Criterion]:
    difference = lambda view: np.abs(results[view] - results["layer"]).max()
    return [at_most(f"largest difference of {view} from the layer", difference(view), 1e-6)
            for view in ("columns", "rows", "stacked")]  # fmt: skip


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    tip = np.zeros(2)
    for number, column in enumerate(results["scaled"].T):
        arrow = dict(arrowstyle="-|>", color=f"C{number}", linewidth=3, mutation_scale=22, shrinkA=0, shrinkB=0)
        left.annotate("", tip + column, tip, arrowprops=arrow)
        side = np.array([column[1], -column[0]]) / np.linalg.norm(column)
        left.text(*(tip + column / 2 + 0.42 * side), f"$x_{number + 1} a_{number + 1}$", color=f"C{number}",
                  ha="center", va="center", fontsize=19)  # fmt: skip
        tip = tip + column
    left.plot(*results["layer"], "o", color=ink(), markersize=12)
    left.text(results["layer"][0] - 0.2, results["layer"][1], "$A x$", va="center", ha="right", fontsize=19)
    left.plot(0, 0, "o", color=ink(), markersize=6)
    left.set(xlim=(-0.5, 4.5), ylim=(-0.7, 3.3), aspect="equal", xlabel="first output", ylabel="second output")
    left.set_title("Scaled columns, laid end to end")
    grid(left)
    for number, view in enumerate(("layer", "columns", "rows", "stacked")):
        right.bar(np.arange(2) + 0.2 * (number - 1.5), results[view], 0.18, label=view, color=f"C{number}")
    right.set_xticks([0, 1], ["first output", "second output"])
    right.set(ylabel="value", title="Four ways to compute it", ylim=(0, 1.35 * results["layer"].max()))
    right.legend(ncols=2, loc="upper right")
