"""Reading both sides or only the past: what BERT and GPT can know.

In an arithmetic progression modulo 17, any two terms determine all others. BERT sees both sides and can fill in a
missing term anywhere. GPT sees only what came before: it has to guess the first two terms, and knows all later ones. In
return, GPT defines a distribution that one can sample from.

Formula: BERT p(x_t | all other x), GPT p(x_t | x_1 ... x_t-1); x_t = x_1 + (t - 1) step modulo 17
Source: Lecture on transformers in computer vision, slides 40 and 44; Devlin et al. 2019; Radford et al. 2018.
Look at: the first two terms. (Both models have seen all 289 progressions: the point is visibility, not arithmetic.)
"""

from flax import nnx
import jax.numpy as jnp
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from experiments.figures.engine import Criterion, at_least, near
from experiments.figures.style import grid, ink
from experiments.figures.trained import Trainer

CONFIG = "experiments/figures/sequences/bert_vs_gpt.py"
MODULUS, LENGTH = 17, 6
BERT = {
    "model.name": "bert", "model.head": "masked", "model.norm_order": "pre", "data.shifted": False,
    "objective.name": "masked_language_modeling", "objective.rate": 0.3,
}  # fmt: skip


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 1500, "batch_size": 128, "eval_every": 1500, "checkpoint_every": 1500,
            "model": {"name": "gpt", "width": 64, "depth": 2, "heads": 4},
            "objective": {"name": "language_modeling"},
            "data": {"name": "progressions", "modulus": MODULUS, "length": LENGTH},
            "optimizer": {"learning_rate": 3e-3, "warmup": 100, "clip": 1.0},
        }
    )  # fmt: skip


def run(seed: int, train: Trainer, *, two_sided: bool = True) -> dict:
    trained = train(CONFIG, {"GPT": {}} | ({"BERT": BERT} if two_sided else {}))
    terms = trained["GPT"].run.dataset.evaluation.examples(np.arange(1000))["targets"]
    read = jnp.asarray(trained["GPT"].run.dataset.evaluation.examples(np.arange(1000))["inputs"]["tokens"])
    logits = nnx.jit(lambda model, tokens: model(tokens))
    right = (logits(trained["GPT"].model, read).argmax(-1) == terms).mean(0)
    results = {"GPT": np.array(right)}
    if not two_sided:
        return results | {"BERT": results["GPT"]}
    one_missing = np.where(np.eye(LENGTH, dtype=bool)[:, None], 0, terms)  # (T, B, T): term t is hidden in copy t
    filled = logits(trained["BERT"].model, one_missing.reshape(-1, LENGTH)).argmax(-1).reshape(one_missing.shape)
    return results | {"BERT": np.array([(filled[t, :, t] == terms[:, t]).mean() for t in range(LENGTH)])}


def check(results: dict) -> list[Criterion]:
    return [
        at_least("BERT: smallest accuracy of a term", results["BERT"].min(), 1.0),
        near("GPT: accuracy of the first term", results["GPT"][0], 1 / MODULUS, 0.05),
        near("GPT: accuracy of the second term", results["GPT"][1], 1 / MODULUS, 0.05),
        at_least("GPT: smallest accuracy of a later term", results["GPT"][2:].min(), 1.0),
    ]


def plot(figure: Figure, results: dict) -> None:
    axes = figure.subplots()
    places = np.arange(1, LENGTH + 1)
    for number, (name, sees) in enumerate({"BERT": "all other terms", "GPT": "earlier terms"}.items()):
        bars = axes.bar(places + 0.4 * number - 0.2, 100 * results[name], 0.36, color=f"C{number}",
                        label=f"{name}: sees {sees}")  # fmt: skip
        axes.bar_label(bars, fmt="%.0f", fontsize=13, color=ink())
    axes.hlines(100 / MODULUS, 0.5, LENGTH + 0.5, color=ink(), linestyle=":", linewidth=1.5)
    axes.text(LENGTH + 0.55, 100 / MODULUS, "guessing", va="center", fontsize=13)
    axes.set_xticks(places)
    axes.set_yticks(range(0, 101, 20))
    axes.set(xlabel="term to predict", ylabel="accuracy (%)", ylim=(0, 125), xlim=(0.5, LENGTH + 1.2))
    axes.set_title(f"Progressions modulo {MODULUS}, such as 15 1 4 7 10 13", pad=14)
    axes.legend(loc="upper left", ncols=2)
    grid(axes, "y")
