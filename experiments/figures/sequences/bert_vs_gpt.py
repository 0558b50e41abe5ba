"""Reading both sides against reading the past only: what each model can know.

Of an arithmetic progression on a circle of 17 numbers any two terms give all others. BERT, which sees both sides, can
fill in a term that is missing anywhere. GPT, which sees what came before, can only guess the first two, and knows all
after them. In return, GPT is a distribution that can be written from.

Formula: BERT p(x_t | all other x), GPT p(x_t | x_1 ... x_t-1); x_t = x_1 + (t - 1) step modulo 17
Source: Lecture on transformers in computer vision, slides 40 and 44; Devlin et al. 2019; Radford et al. 2018.
Look at: the first two terms. (Both have seen all 289 progressions: it is about what is visible, not about arithmetic.)
"""

from flax import nnx
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from experiments.figures.engine import at_least, near
from experiments.figures.style import grid, ink

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


def run(seed: int, train, *, two_sided: bool = True) -> dict:
    trained = train(CONFIG, {"GPT": {}} | ({"BERT": BERT} if two_sided else {}))
    terms = trained["GPT"].run.dataset.evaluation.examples(np.arange(1000))["targets"]
    read = jnp.asarray(trained["GPT"].run.dataset.evaluation.examples(np.arange(1000))["inputs"]["tokens"])
    logits = nnx.jit(lambda model, tokens: model(tokens))
    right = (logits(trained["GPT"].model, read).argmax(-1) == terms).mean(0)
    found = {"GPT": np.array(right)}
    if not two_sided:
        return found | {"BERT": found["GPT"]}
    one_missing = np.where(np.eye(LENGTH, dtype=bool)[:, None], 0, terms)  # (place, B, T)
    filled = logits(trained["BERT"].model, one_missing.reshape(-1, LENGTH)).argmax(-1).reshape(one_missing.shape)
    return found | {"BERT": np.array([(filled[t, :, t] == terms[:, t]).mean() for t in range(LENGTH)])}


def check(found: dict) -> list:
    return [
        at_least("BERT: least accuracy of a term", found["BERT"].min(), 1.0),
        near("GPT: accuracy of the first term", found["GPT"][0], 1 / MODULUS, 0.05),
        near("GPT: accuracy of the second term", found["GPT"][1], 1 / MODULUS, 0.05),
        at_least("GPT: least accuracy of a later term", found["GPT"][2:].min(), 1.0),
    ]


def plot(figure, found: dict) -> None:
    axes = figure.subplots()
    places = np.arange(1, LENGTH + 1)
    for number, (name, sees) in enumerate({"BERT": "all other terms", "GPT": "the terms before"}.items()):
        bars = axes.bar(places + 0.4 * number - 0.2, 100 * found[name], 0.36, color=f"C{number}",
                        label=f"{name}: sees {sees}")  # fmt: skip
        axes.bar_label(bars, fmt="%.0f", fontsize=13, color=ink())
    axes.hlines(100 / MODULUS, 0.5, LENGTH + 0.5, color=ink(), linestyle=":", linewidth=1.5)
    axes.text(LENGTH + 0.55, 100 / MODULUS, "guessing", va="center", fontsize=13)
    axes.set_xticks(places)
    axes.set_yticks(range(0, 101, 20))
    axes.set(xlabel="term that is asked for", ylabel="right (%)", ylim=(0, 125), xlim=(0.5, LENGTH + 1.2))
    axes.set_title(f"Progressions modulo {MODULUS}, such as 15 1 4 7 10 13", pad=14)
    axes.legend(loc="upper left", ncols=2)
    grid(axes, "y")
