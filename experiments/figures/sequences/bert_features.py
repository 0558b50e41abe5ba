"""BERT's frozen layers are better features for tagging words than its embeddings.

A small BERT is trained on masked words only. Each of its artificial texts has one of seven topics, and three words in
ten may come from any topic. Then BERT is frozen, and a linear classifier predicts the topic of the text from the vector
of a single word. The embedding knows only the word itself; the layers also know the words around it.

Formula: p(tag of t) = softargmax(W [h_t of the last four layers]), W learned, BERT frozen
Source: Lecture on transformers in computer vision, slide 38; Devlin et al. 2019, table 7 (CoNLL: F1 96.1 against 91.0).
Look at: the F1 score from layer to layer, and of the last four layers together.
"""

from flax import nnx
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

from experiments.figures.engine import Criterion, at_least
from experiments.figures.style import bars
from experiments.figures.trained import Trainer

CONFIG = "experiments/figures/sequences/bert_features.py"
LAYERS = 4


def get_config() -> ConfigDict:
    sizes = {"width": 48, "depth": LAYERS, "heads": 4, "norm_order": "pre"}
    return ConfigDict(
        {
            "seed": 0, "steps": 800, "batch_size": 64, "eval_every": 800, "checkpoint_every": 800,
            "model": {"name": "bert", "head": "masked"} | sizes,
            "objective": {"name": "masked_language_modeling"},
            "data": {"name": "topics", "targets": "topics"},
            "optimizer": {"learning_rate": 2e-3, "warmup": 100, "clip": 1.0},
        }
    )  # fmt: skip


def run(seed: int, train: Trainer, *, last: int = 4) -> dict:
    part = train(CONFIG, {"bert": {}})["bert"]
    vectors = nnx.jit(lambda model, inputs: model.features(**inputs))
    rows, tags = {}, {}
    for split in ("train", "evaluation"):
        batch = getattr(part.run.dataset, split).examples(np.arange(200))
        word = batch["weights"] > 0
        rows[split] = [np.array(x)[word] for x in vectors(part.model, batch["inputs"])]
        tags[split] = batch["targets"][word]
    chosen = {"embeddings": [0]} | {f"layer {n}": [n] for n in range(1, LAYERS + 1)}
    chosen |= {"last four": list(range(LAYERS + 1))[-last:] if last else [0]}
    return {name: _f1(rows, tags, layers) for name, layers in chosen.items()}


def _f1(rows: dict, tags: dict, layers: list[int]) -> float:
    """The mean F1 score over the tags, on held-out texts, of a linear tagger that reads these layers."""
    joined = {split: np.concatenate([xs[n] for n in layers], axis=1) for split, xs in rows.items()}
    scale = StandardScaler().fit(joined["train"])
    tagger = LogisticRegression(C=0.1, max_iter=200).fit(scale.transform(joined["train"]), tags["train"])
    return float(f1_score(tags["evaluation"], tagger.predict(scale.transform(joined["evaluation"])), average="macro"))


def check(results: dict) -> list[Criterion]:
    gain = results["last four"] - results["embeddings"]
    return [at_least("F1 of the last four layers minus that of the embeddings", gain, 0.02)]


def plot(figure: Figure, results: dict) -> None:
    axes = figure.subplots()
    bars(axes, list(results), [100 * score for score in results.values()], ".1f", color=["C1", *["C0"] * LAYERS, "C2"])
    axes.set(xlabel="F1 score of the topic, held-out texts (%)", xlim=(0, 110), xticks=range(0, 101, 20))
    axes.set_title("A linear tagger on frozen BERT vectors")
