"""The purpose of BERT's [CLS]: one vector that says whether two texts belong together.

Every text has one of seven topics with its own words, mixed with words of other topics. [CLS] attends to the words of
both texts, and only its vector is classified. Here the only clue is whether the words share a topic. Later work showed
that BERT mostly used this clue too (Lan et al. 2020; Liu et al. 2019 dropped the task).

Formula: p(second follows first) = softargmax(W tanh(V h_[CLS] + b) + c)
Source: Lecture on transformers in computer vision, slides 36 and 37; Devlin et al. 2019, section 3.1.
Look at: pairs that follow each other are separated from pairs that do not by a single number of the classifier.
"""

from flax import nnx
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from experiments.figures.engine import Criterion, at_least
from experiments.figures.style import ink
from experiments.figures.trained import Trainer

CONFIG = "experiments/figures/sequences/bert_nsp.py"


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 600, "batch_size": 64, "eval_every": 600, "checkpoint_every": 600, "best": "accuracy",
            "model": {"name": "bert", "width": 48, "depth": 2, "heads": 4, "norm_order": "pre", "head": "next"},
            "objective": {"name": "classification"},
            "data": {"name": "topics"},
            "optimizer": {"learning_rate": 2e-3, "warmup": 100, "clip": 1.0},
        }
    )  # fmt: skip


def run(seed: int, train: Trainer, *, share: float = 0.7) -> dict:
    part = train(CONFIG, {"topics": {"data.share": share}})["topics"]
    held_out = part.run.dataset.evaluation
    batch = held_out.examples(np.arange(len(held_out)))
    logits = np.array(nnx.jit(lambda model, inputs: model(**inputs))(part.model, batch["inputs"]))
    return {"follows": batch["targets"], "margin": logits[:, 1] - logits[:, 0]}


def check(results: dict) -> list[Criterion]:
    accuracy = ((results["margin"] > 0) == results["follows"]).mean()
    return [at_least("accuracy on held-out pairs", accuracy, 0.95)]


def plot(figure: Figure, results: dict) -> None:
    axes = figure.subplots()
    edges = np.linspace(results["margin"].min(), results["margin"].max(), 40)
    pairs = {1: "one topic: second follows first", 0: "two topics: it does not"}
    for number, (follows, name) in enumerate(pairs.items()):
        axes.hist(results["margin"][results["follows"] == follows], edges, color=f"C{number}", alpha=0.75, label=name)
    axes.axvline(0, ymax=0.75, color=ink(), linestyle=":")
    percent = 100 * ((results["margin"] > 0) == results["follows"]).mean()
    axes.set(xlabel="logit of following minus logit of not following", ylabel="held-out pairs")
    axes.set_title(f"2,000 pairs of texts, classified from [CLS]: {percent:.1f} % right")
    axes.legend(loc="upper center")
