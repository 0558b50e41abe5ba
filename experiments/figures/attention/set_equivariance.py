"""Without positions a transformer reads a set: shuffled words give shuffled outputs.

Attention is equivariant to permutations, f(P X) = P f(X), not invariant. Only the mean over the tokens does not change
at all. When positions are added to the embeddings, the order matters.

Formula: f(P X) = P f(X) for every permutation P
Source: A. Canziani, threads on attention: sets; "invariant" there is corrected to "equivariant" here.
Look at: without positions the change is rounding error; with positions it is as large as the outputs.
"""

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import grid
from models.bert import Bert

T, V = 12, 30


def run(seed: int, *, without: str = "none") -> dict:
    tokens_BT = jax.random.randint(jax.random.key(seed), (1, T), 0, V)
    order = jax.random.permutation(jax.random.key(seed + 1), T)
    results = {}
    for name, kind in {"no positions": without, "learned": "learned", "sinusoidal": "sinusoidal"}.items():
        model = Bert(vocab_size=V, context=T, width=32, depth=2, heads=4, positions=kind, head="masked",
                     rngs=nnx.Rngs(seed))  # fmt: skip
        both = jnp.concatenate([tokens_BT, tokens_BT[:, order]])
        plain_TD, shuffled_TD = nnx.jit(lambda model, tokens: model.features(tokens)[-1])(model, both)
        results[name] = {
            "tokens": np.array(jnp.linalg.norm(shuffled_TD - plain_TD[order], axis=-1)),
            "pooled": float(jnp.linalg.norm(shuffled_TD.mean(0) - plain_TD.mean(0))),
        }
    return results


def check(results: dict) -> list[Criterion]:
    return [
        at_most("no positions: largest change of an output", results["no positions"]["tokens"].max(), 1e-5),
        at_most("no positions: change of the mean output", results["no positions"]["pooled"], 1e-5),
        at_least("sinusoidal positions: largest change of an output", results["sinusoidal"]["tokens"].max(), 1.0),
    ]


def plot(figure: Figure, results: dict) -> None:
    axes = figure.subplots()
    for number, (name, change) in enumerate(results.items()):
        label = name if name.endswith("positions") else f"{name} positions"
        floored = np.maximum(change["tokens"], 1e-8)
        axes.semilogy(range(1, T + 1), floored, f"C{number}" + "os^"[number] + "-", label=label)
    axes.set(xlabel="token, in the shuffled order", ylabel="change of its output (norm)", ylim=(1e-8, 1e3))
    axes.set_title("Change of the outputs when the words are shuffled")
    axes.set_xticks(range(1, T + 1))
    axes.legend(ncols=3, loc="upper left", fontsize=12)
    grid(axes, "y")
