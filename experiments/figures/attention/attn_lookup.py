"""A query finds the key that it matches and gets the value stored there.

Attention is a dictionary whose lookup is soft: the value of the best key, or the mean of values where several keys
match equally well.

Formula: sum_s softargmax_s(<q, k_s> / 8) v_s
Source: A. Canziani, threads on attention: keys, queries, values.
Look at: the first query gets the second value; the last one gets half of the last two.
"""

import jax.numpy as jnp
import numpy as np

from experiments.figures.engine import near
from experiments.figures.style import matrix
from models.attention import dot_product, mix, softargmax

KEYS = [[10, 0, 0], [0, 10, 0], [0, 0, 10], [0, 0, 10]]
VALUES = [[1, 0, 0], [10, 0, 0], [100, 5, 0], [1000, 6, 0]]
QUERIES = [[0, 10, 0], [0, 0, 10]]
# To half of the last digit.
EXPECTED = [[(10.004, 5e-4), (4.1e-5, 5e-7), (0, 5e-7)], [(549.998, 5e-4), (5.49998, 5e-6), (0, 5e-7)]]


def run(seed: int, *, scale: float = 1 / 8) -> dict:
    heads = lambda rows: jnp.array(rows, jnp.float32)[None, :, None]
    weights_BHTS = softargmax(dot_product(heads(QUERIES), heads(KEYS), scale=scale))
    values_BTHK = mix(weights_BHTS, heads(VALUES))
    return {"weights": np.array(weights_BHTS[0, 0]), "values": np.array(values_BTHK[0, :, 0])}


def check(found: dict) -> list:
    return [
        near(f"query {query}, entry {entry + 1}", found["values"][row, entry], *expected)
        for row, query in enumerate(QUERIES)
        for entry, expected in enumerate(EXPECTED[row])
    ]


def plot(figure, found: dict) -> None:
    top, bottom = figure.subplots(2, 1)
    names = [f"[{', '.join(map(str, row))}]" for row in QUERIES]
    matrix(top, found["weights"], ".2f", vmin=0, vmax=1, size=19, aspect="auto")
    top.set_xticks(range(4), [f"key\n[{', '.join(map(str, key))}]" for key in KEYS])
    top.set_title("How much each query takes from each key")
    shown = np.log10(np.maximum(found["values"], 1e-6))
    matrix(bottom, shown, aspect="auto", alpha=0)
    for (row, column), value in np.ndenumerate(found["values"]):
        text = f"{value:.{6 if value > 0.01 else 2}g}"
        bottom.text(column, row, text, ha="center", va="center", fontsize=21, color=f"C{row}")
    bottom.set_xticks(range(3), [f"entry {i + 1} of the value" for i in range(3)])
    bottom.set_title("What it gets")
    for axes in (top, bottom):
        axes.set_yticks(range(2), [f"query {name}" for name in names])
