"""Linear attention: the sum over keys first, at a cost that grows with the length, and with less room for what is read.

With weights phi(q) . phi(k) the sum over keys of phi(k) v^T does not depend on the query. It is computed once. Where
causal it is a state of constant size, to which each token adds: the model is a recurrent network. A softmax can give
nearly all weight to one key, whatever the others are; a sum of fixed size cannot, and of 12 pairs fewer are recalled.
With features up to the second power the state is nine times larger, and more are recalled.

Formula: o_t = phi(q_t) S_t / phi(q_t) z_t, with S_t = S_(t-1) + phi(k_t) v_t^T and z_t = z_(t-1) + phi(k_t)
Source: Lecture on transformers in computer vision, slide 32; Katharopoulos et al. 2020, equations 8 to 20.
Look at: the slopes 2 and 1, and what is recalled. FLOPs are those that XLA counts in the compiled programs.
"""

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from experiments.figures.engine import Criterion, at_least, at_most, near
from experiments.figures.style import bars, grid
from experiments.figures.trained import Trainer
from models.linear_attention import empty_state, linear_attention
from models.scores import dot_product, mix, softargmax

CONFIG = "experiments/figures/attention/linear_attention.py"
LENGTHS = (256, 512, 1024, 2048, 4096)
H, K, PAIRS = 4, 64, 12


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 1200, "batch_size": 64, "eval_every": 1200, "checkpoint_every": 1200,
            "model": {"name": "gpt", "width": 32, "depth": 2, "heads": 4},
            "objective": {"name": "language_modeling"},
            "data": {"name": "recall", "pairs": PAIRS, "distinct_keys": 24, "joined": True, "form": "next_token"},
            "optimizer": {"learning_rate": 3e-3, "warmup": 100, "weight_decay": 0.05, "clip": 1.0},
        }
    )  # fmt: skip


def run(seed: int, train: Trainer, *, attention: str = "linear") -> dict:
    models = {
        "softmax": {"model.attention": "softmax"},
        "linear, elu": {"model.attention": attention},
        "linear, taylor": {"model.attention": attention, "model.feature_map": "taylor"},
    }
    trained = train(CONFIG, models)
    dense = lambda q, k, v: mix(softargmax(dot_product(q, k)), v)
    linear = lambda q, k, v: linear_attention(q, k, v, feature_map="elu", causal=True)[0]
    return {
        "recall": {name: part.metrics["test/accuracy"] for name, part in trained.items()},
        "flops": {
            "softmax": _flops(dense),
            "linear": _flops(linear if attention == "linear" else dense),
        },
        "difference": _difference(seed),
    }


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


def _slope(flops: list[float]) -> float:
    return float(np.polyfit(np.log(LENGTHS), np.log(flops), 1)[0])


def check(results: dict) -> list[Criterion]:
    recall = results["recall"]
    return [
        near("slope of softmax attention", _slope(results["flops"]["softmax"]), 2.0, 0.02),
        near("slope of linear attention", _slope(results["flops"]["linear"]), 1.0, 0.02),
        at_most("difference between parallel and recurrent form", results["difference"], 1e-5),
        at_least("recall: softmax", recall["softmax"], 0.9),
        at_least("recall: softmax ahead of elu", recall["softmax"] - recall["linear, elu"], 0.1),
        at_least("recall: taylor ahead of elu", recall["linear, taylor"] - recall["linear, elu"], 0.1),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1.2, 1])
    for number, (name, flops) in enumerate(results["flops"].items()):
        text = f"{name}: slope {_slope(flops):.2f}"
        left.loglog(LENGTHS, flops, f"C{number}" + "os"[number] + "-", label=text)
    left.set_xticks(LENGTHS, map(str, LENGTHS))
    left.set_xticks([], minor=True)
    left.set(xlabel="length (tokens)", ylabel="FLOPs, forward pass", title=f"{H} heads of size {K}")
    left.legend(fontsize=15)
    grid(left)
    names = [name.replace(", ", "\n") for name in results["recall"]]
    bars(right, names, [100 * value for value in results["recall"].values()], ".0f")
    right.set(xlim=(0, 120), xticks=[0, 50, 100], xlabel="recalled (%)", title=f"One of {PAIRS} pairs")
