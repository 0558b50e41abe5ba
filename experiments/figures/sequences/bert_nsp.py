"""What BERT's [CLS] is for: one vector that says whether two texts belong together.

Every text is about one of seven topics, each with words of its own, mixed with words of others. The two texts are never
read apart: [CLS] looks at the words of both, and its vector alone is classified. Words of the same topic is what there
is to see here, and, it was found later, most of what BERT saw too (Lan et al. 2020; Liu et al. 2019 left the task out).

Formula: p(second follows first) = softargmax(W tanh(V h_[CLS] + b) + c)
Source: Lecture on transformers in computer vision, slides 36 and 37; Devlin et al. 2019, section 3.1.
Look at: pairs that follow and pairs that do not, apart along the one number that the classifier computes.
"""

from flax import nnx
from ml_collections import ConfigDict
import numpy as np

from experiments.figures.engine import at_least
from experiments.figures.style import ink

CONFIG = "experiments/figures/sequences/bert_nsp.py"


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 600, "batch_size": 64, "eval_every": 600, "checkpoint_every": 600, "best": "accuracy",
            "model": {"name": "bert", "width": 48, "depth": 2, "heads": 4, "norm_order": "pre", "head": "next"},
            "objective": {"name": "classification"},
            "data": {"name": "topics", "share": 0.7},
            "optimizer": {"learning_rate": 2e-3, "warmup": 100, "clip": 1.0},
        }
    )  # fmt: skip


def run(seed: int, train, *, share: float = 0.7) -> dict:
    part = train(CONFIG, {"topics": {"data.share": share}})["topics"]
    held_out = part.run.dataset.evaluation
    batch = held_out.examples(np.arange(len(held_out)))
    logits = np.array(nnx.jit(lambda model, inputs: model(**inputs))(part.model, batch["inputs"]))
    return {"follows": batch["targets"], "margin": logits[:, 1] - logits[:, 0]}


def check(found: dict) -> list:
    right = ((found["margin"] > 0) == found["follows"]).mean()
    return [at_least("pairs right, held out", right, 0.95)]


def plot(figure, found: dict) -> None:
    axes = figure.subplots()
    edges = np.linspace(found["margin"].min(), found["margin"].max(), 40)
    for number, (follows, name) in enumerate({1: "one topic: follows", 0: "two topics: does not"}.items()):
        axes.hist(found["margin"][found["follows"] == follows], edges, color=f"C{number}", alpha=0.75, label=name)
    axes.axvline(0, ymax=0.75, color=ink(), linestyle=":")
    right = 100 * ((found["margin"] > 0) == found["follows"]).mean()
    axes.set(xlabel="logit of following, less that of not following", ylabel="held-out pairs")
    axes.set_title(f"What [CLS] says of 2,000 pairs of texts: {right:.1f} % right")
    axes.legend(loc="upper center")
