"""The geometry of sinusoidal positions.

Each position is a point on circles that turn at different speeds. The inner product of two positions depends only on
their distance, all positions have the same length, and a step by k is the same rotation everywhere.

Formula: <p_t, p_s> = sum_f cos((t - s) w_f), |p_t|^2 = d / 2, p_(t+k) = R_k p_t
Source: Lecture on transformers in computer vision, slide 30; V. Roth; Vaswani et al. 2017, section 3.5. Interleaved or
  in two halves, sines and cosines are the same set of columns.
Look at: the inner products follow one curve, whichever position is compared.
"""

from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_most
from experiments.figures.style import grid, matrix
from models.positions import sinusoids

T, D, SHIFT = 200, 128, 17


def run(seed: int, *, table: str = "sinusoidal") -> dict:
    random = lambda: np.random.default_rng(seed).normal(0, 0.7, (T, D))
    table_TD = sinusoids((T,), D, dtype=np.float64) if table == "sinusoidal" else random()
    products_TT = table_TD @ table_TD.T
    offsets = [np.diagonal(products_TT, k) for k in range(T)]
    return {"table": table_TD, "products": products_TT, "spread": max(np.ptp(values) for values in offsets)}


def check(results: dict) -> list[Criterion]:
    table_TD = results["table"]
    angle_F = SHIFT * 10_000.0 ** (-np.arange(D // 2) / (D // 2))
    sin, cos = np.split(table_TD, 2, axis=1)
    moved = np.concatenate([sin * np.cos(angle_F) + cos * np.sin(angle_F),
                            cos * np.cos(angle_F) - sin * np.sin(angle_F)], axis=1)  # fmt: skip
    return [
        at_most("largest spread of the inner products at one offset", results["spread"], 1e-12),
        at_most("largest error of |p|^2 = d / 2", np.abs((table_TD**2).sum(1) - D / 2).max(), 1e-12),
        at_most(f"largest error of the rotation by {SHIFT}", np.abs(moved[:-SHIFT] - table_TD[SHIFT:]).max(), 1e-12),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2)
    image = matrix(left, results["table"], aspect="auto", vmin=-1, vmax=1)
    left.set(xlabel="column (sines, then cosines)", ylabel="position", title="The table")
    figure.colorbar(image, ax=left, location="bottom", shrink=0.7)
    for number, position in enumerate((30, 100, 170)):
        style = dict(color=f"C{number}", linewidth=7 - 2.5 * number, label=f"position {position}")
        right.plot(np.arange(T) - position, results["products"][position], **style)
    right.set(xlabel="offset of the other position", ylabel="inner product", title="Inner products")
    right.legend(loc="upper right", fontsize=12)
    grid(right)
