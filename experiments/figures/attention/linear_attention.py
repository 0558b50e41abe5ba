"""Linear attention: the sum over keys first. It costs less, and holds fewer pairs apart.

With weights phi(q) . phi(k) the sum over keys of phi(k) v^T does not depend on the query. It is computed once. Where
causal it is a state of constant size, to which each token adds: a recurrent network. A softmax gives nearly all weight
to one key, whatever the others are; in a sum of fixed size they mix. Here random keys have random values, each key is
asked for, and its value counts as recalled if it is the nearest one to the answer. With features up to the second power
("taylor") the state is 65 times larger, and recall comes back.

Formula: o_t = phi(q_t) S_t / phi(q_t) z_t, with S_t = S_(t-1) + phi(k_t) v_t^T and z_t = z_(t-1) + phi(k_t)
Source: Lecture on transformers in computer vision, slide 32; Katharopoulos et al. 2020, equations 8 to 20.
Look at: the slopes 2 and 1, and what is recalled. FLOPs are those that XLA counts in the compiled programs.
"""

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_least, at_most, near
from experiments.figures.style import grid
from experiments.measure.exponents import slope
from models.linear_attention import empty_state, linear_attention
from models.scores import dot_product, mix, softargmax

LENGTHS = (256, 512, 1024, 2048, 4096)
PAIRS = (4, 8, 16, 32, 64, 128, 256)
H, K = 4, 64


def run(seed: int, *, attention: str = "linear") -> dict:
    softmax = lambda q, k, v: mix(softargmax(dot_product(q, k)), v)
    linear = lambda name: lambda q, k, v: linear_attention(q, k, v, feature_map=name, causal=False)[0]
    functions = {"softmax": softmax, "elu": linear("elu"), "taylor": linear("taylor")}
    if attention == "softmax":
        functions = dict.fromkeys(functions, softmax)
    return {
        "flops": {"softmax": _flops(softmax), "linear": _flops(functions["elu"])},
        "recall": {name: [_recall(function, seed, pairs) for pairs in PAIRS] for name, function in functions.items()},
        "difference": _difference(seed),
    }


def _recall(attention, seed: int, pairs: int) -> float:
    """The share of keys whose value is recalled; each of the heads is a memory of its own."""
    key, value = np.random.default_rng([seed, pairs]).standard_normal((2, 512 // pairs, pairs, H, K), np.float32)
    value /= np.linalg.norm(value, axis=-1, keepdims=True)
    answer = np.asarray(jax.jit(attention)(key, key, value))
    closeness = answer.swapaxes(1, 2) @ value.transpose(0, 2, 3, 1)  # B H T S
    return float((closeness.argmax(-1) == np.arange(pairs)).mean())


def _flops(attention) -> list[float]:
    counts = []
    for length in LENGTHS:
        array = jax.ShapeDtypeStruct((1, length, H, K), jnp.float32)
        analysis = jax.jit(attention).lower(array, array, array).compile().cost_analysis()
        assert analysis is not None
        counts.append(analysis["flops"])
    return counts


def _difference(seed: int) -> float:
    """The largest difference between the parallel form and the recurrent one, for values of order 1."""
    query, key, value = jax.random.normal(jax.random.key(seed), (3, 1, 512, H, K))

    def step(state, token):
        arrays = (x[:, None] for x in token)
        out, state = linear_attention(*arrays, feature_map="elu", causal=True, state=state)
        return state, out[:, 0]

    tokens = tuple(x.swapaxes(0, 1) for x in (query, key, value))
    _, outs = jax.lax.scan(step, empty_state(1, H, K, K, "elu"), tokens)
    parallel, _ = linear_attention(query, key, value, feature_map="elu", causal=True)
    return float(jnp.abs(outs.swapaxes(0, 1) - parallel).max())


def check(results: dict) -> list[Criterion]:
    recall = {name: dict(zip(PAIRS, shares)) for name, shares in results["recall"].items()}
    return [
        near("slope of softmax attention", slope(LENGTHS, results["flops"]["softmax"]), 2.0, 0.02),
        near("slope of linear attention", slope(LENGTHS, results["flops"]["linear"]), 1.0, 0.02),
        at_most("difference between parallel and recurrent form", results["difference"], 1e-5),
        at_least("recall of softmax attention, 256 pairs", recall["softmax"][256], 0.99),
        at_least("recall with elu, 4 pairs", recall["elu"][4], 0.75),
        at_most("recall with elu, 256 pairs", recall["elu"][256], 0.05),
        at_least("recall with taylor, 256 pairs", recall["taylor"][256], 0.98),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2)
    for number, (name, flops) in enumerate(results["flops"].items()):
        label = f"{name}: slope {slope(LENGTHS, flops):.2f}"
        left.loglog(LENGTHS, flops, f"C{number}" + "os"[number] + "-", label=label)
    left.set_xticks(LENGTHS, map(str, LENGTHS))
    left.set_xticks([], minor=True)
    left.set(xlabel="length (tokens)", ylabel="FLOPs, forward pass", title=f"Cost, {H} heads of size {K}")
    left.legend(fontsize=15)
    grid(left)
    names = {"softmax": "softmax", "elu": "linear, elu(x) + 1", "taylor": "linear, second power"}
    for number, (name, label) in enumerate(names.items()):
        shares = [100 * share for share in results["recall"][name]]
        right.semilogx(PAIRS, shares, f"C{number}" + "os^"[number] + ("--" if name == "taylor" else "-"), label=label)
    right.set_xticks(PAIRS, map(str, PAIRS))
    right.set_xticks([], minor=True)
    right.set(xlabel="pairs of key and value", ylabel="recalled (%)", ylim=(0, 105), title="Recall, random keys")
    right.legend(fontsize=14, loc="center right")
    grid(right)
