"""A query finds the key that matches it and gets the value stored there.

Attention is a soft dictionary lookup. It returns the value of the best key or, if several keys match equally well, the
mean of their values.

Formula: sum_s softargmax_s(<q, k_s> / 8) v_s
Source: A. Canziani, threads on attention: keys, queries, values.
Look at: the first query gets the second value; the second query gets the mean of the last two values.
"""

import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, near
from experiments.figures.style import matrix
from models.scores import dot_product, mix, softargmax

KEYS = [[10, 0, 0], [0, 10, 0], [0, 0, 10], [0, 0, 10]]
VALUES = [[1, 0, 0], [10, 0, 0], [100, 5, 0], [1000, 6, 0]]
QUERIES = [[0, 10, 0], [0, 0, 10]]
# Values with tolerances of half a unit in their last digit.
EXPECTED = [[(10.004, 5e-4), (4.1e-5, 5e-7), (0, 5e-7)], [(549.998, 5e-4), (5.49998, 5e-6), (0, 5e-7)]]


def run(seed: int, *, scale: float = 1 / 8) -> dict:
    heads = lambda rows: jnp.array(rows, jnp.float32)[None, :, None]
    weights_BHTS = softargmax(dot_product(heads(QUERIES), heads(KEYS), scale=scale))
    values_BTHK = mix(weights_BHTS, heads(VALUES))
    return {"weights": np.array(weights_BHTS[0, 0]), "values": np.array(values_BTHK[0, :, 0])}


def check(results: dict) -> list[Criterion]:
    return [
        near(f"query {query}, entry {entry + 1}", results["values"][row, entry], *expected)
        for row, query in enumerate(QUERIES)
        for entry, expected in enumerate(EXPECTED[row])
    ]


def plot(figure: Figure, results: dict) -> None:
    top, bottom = figure.subplots(2, 1)
    names = [f"[{', '.join(map(str, row))}]" for row in QUERIES]
    matrix(top, results["weights"], ".2f", vmin=0, vmax=1, size=19, aspect="auto")
    top.set_xticks(range(4), [f"key\n[{', '.join(map(str, key))}]" for key in KEYS])
    top.set_title("Weight of each key for each query")
    magnitudes = np.log10(np.maximum(results["values"], 1e-6))
    matrix(bottom, magnitudes, aspect="auto", alpha=0)
    for (row, column), value in np.ndenumerate(results["values"]):
        text = f"{value:.{6 if value > 0.01 else 2}g}"
        bottom.text(column, row, text, ha="center", va="center", fontsize=21, color=f"C{row}")
    bottom.set_xticks(range(3), [f"entry {i + 1} of the value" for i in range(3)])
    bottom.set_title("Value that each query gets")
    for axes in (top, bottom):
        axes.set_yticks(range(2), [f"query {name}" for name in names])
