"""Without the causal mask a model reads the answer, and learns nothing for writing.

Text from a Markov chain has a loss that no honest model can beat: its entropy rate. A masked model that is trained to
predict the next word reaches it. An unmasked model just reads the next word. Its loss is nearly 0 while that word is
visible; when it is not visible, as in writing, the model does worse than guessing.

Formula: loss >= H = -sum_i pi_i sum_j P_ij log P_ij, unless position t sees word t + 1
Source: Lecture on transformers in computer vision, slide 24; V. Roth; Vaswani et al. 2017.
Look at: the unmasked model's loss with the next word visible and hidden; on the right, what each prediction depends on.
"""

from functools import partial

from flax import nnx
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np
import optax

from data.markov import entropy_rate
from experiments.figures.engine import Criterion, at_least, at_most, near
from experiments.figures.style import grid, ink, matrix, split
from experiments.figures.trained import Trainer

CONFIG = "experiments/figures/sequences/cheating_mask.py"
SYMBOLS, T = 12, 16


def get_config() -> ConfigDict:
    sizes = {"width": 32, "depth": 2, "heads": 4}
    return ConfigDict(
        {
            "seed": 0, "steps": 600, "batch_size": 64, "eval_every": 600, "checkpoint_every": 600,
            "model": {"name": "gpt"} | sizes,
            "objective": {"name": "language_modeling"},
            "data": {"name": "markov", "symbols": SYMBOLS, "context": T},
            "optimizer": {"learning_rate": 3e-3, "warmup": 50, "clip": 1.0},
        }
    )  # fmt: skip


def run(seed: int, train: Trainer, *, masked: str = "gpt") -> dict:
    # BERT is the same stack of blocks without the causal mask. Its head "masked" is unrelated: it predicts tokens.
    unmasked = {"model.name": "bert", "model.head": "masked"}
    models = {"masked": {} if masked == "gpt" else unmasked, "unmasked": unmasked}
    trained = train(CONFIG, models)
    batch = trained["masked"].run.dataset.evaluation.examples(np.arange(200))
    results: dict = {"entropy": entropy_rate(SYMBOLS)}
    for name, part in trained.items():
        logits = partial(nnx.jit(lambda model, tokens, mask=None: model(tokens, mask=mask)), part.model)
        results[name] = _losses(logits, batch)
        results[name]["influence"] = _influence(logits, batch["inputs"]["tokens"][seed % 200])
    return results


def _losses(logits, batch) -> dict:
    """The mean loss at each position, with the complete text visible and at the end of a prefix."""
    tokens_BT, targets_BT = batch["inputs"]["tokens"], batch["targets"]
    losses = lambda logits, targets: np.array(optax.softmax_cross_entropy_with_integer_labels(logits, targets)).mean(0)
    prefix_TBT = np.broadcast_to(np.tri(T, dtype=bool)[:, None], (T, *tokens_BT.shape))
    ends = logits(np.tile(tokens_BT, (T, 1)), prefix_TBT.reshape(-1, T)).reshape(T, *tokens_BT.shape, -1)
    prefix = np.stack([ends[t, :, t] for t in range(T)], axis=1)
    return {"seen": losses(logits(tokens_BT), targets_BT), "prefix": losses(prefix, targets_BT)}


def _influence(logits, tokens_T) -> np.ndarray:
    """The largest change of a logit of prediction t when word s is replaced by another word, (t, s)."""
    changed_SCT = np.tile(tokens_T, (T, SYMBOLS, 1))
    for s in range(T):
        changed_SCT[s, :, s] = np.arange(SYMBOLS)
    out_SCTV = np.array(logits(changed_SCT.reshape(-1, T))).reshape(T, SYMBOLS, T, SYMBOLS)
    return np.abs(out_SCTV - out_SCTV[:, :1]).max((1, 3)).T


def check(results: dict) -> list[Criterion]:
    masked, unmasked = results["masked"], results["unmasked"]
    return [
        near("masked: loss, nats per word", masked["seen"].mean(), results["entropy"], 0.05),
        at_most("masked: influence of later words", np.triu(masked["influence"], 1).max(), 0.0),
        at_most("unmasked: loss with the next word visible", unmasked["seen"][:-1].mean(), 0.01),
        at_least("unmasked: loss with the next word hidden", unmasked["prefix"].mean(), float(np.log(SYMBOLS))),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = split(figure, 1, 2, width_ratios=[1.5, 1])
    axes = left.subplots()
    places = np.arange(1, T + 1)
    axes.plot(places, results["unmasked"]["prefix"], "C1^-", label="unmasked, next word hidden")
    axes.hlines(np.log(SYMBOLS), 1, T + 0.2, color=ink(), linestyle="--", linewidth=1.5)
    axes.hlines(results["entropy"], 1, T + 0.2, color=ink(), linestyle=":", linewidth=1.5)
    axes.plot(places, results["masked"]["seen"], "C0o-", label="masked")
    axes.plot(places, results["unmasked"]["seen"], "C2s-", label="unmasked, next word visible")
    top = 1.35 * max(results["unmasked"]["prefix"].max(), np.log(SYMBOLS))
    axes.text(T + 0.5, np.log(SYMBOLS), "guessing", fontsize=12)
    axes.text(T + 0.5, results["entropy"], "entropy\nrate", va="top", fontsize=12)
    axes.set(xlabel="position in the text", ylabel="loss of the next word (nats)", ylim=(-0.2, top), xlim=(0, 20))
    axes.set_xticks(range(2, T + 1, 2))
    axes.legend(loc="upper left")
    grid(axes, "y")
    for axes, name in zip(right.subplots(2, 1), ("masked", "unmasked")):
        matrix(axes, results[name]["influence"], cmap="cividis")
        axes.set(title=name, xticks=[], yticks=[], xlabel="word", ylabel="prediction")
    right.suptitle("What each prediction depends on", fontsize=16)
