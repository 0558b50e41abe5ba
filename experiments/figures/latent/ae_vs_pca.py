"""A linear autoencoder finds the plane of the principal components; hidden layers do better.

An autoencoder squeezes an image through a code that is smaller than the image. If both halves are linear, nothing is
better than the leading principal components, and training reaches them. Hidden layers bend the plane, and the same
number of code units keeps more. The advantage shrinks when the code has room for most of the image anyway.

Formula: min E |x - decode(encode(x))|^2, whose linear optimum leaves the sum of the smaller eigenvalues of Cov(x)
Source: A. Canziani, autoencoders; Baldi & Hornik 1989; Hinton & Salakhutdinov 2006.
Look at: the linear autoencoder lies on the principal components, and the one with hidden layers below.
"""

from matplotlib.figure import Figure
import numpy as np
from sklearn.decomposition import PCA

from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import grid, tiles
from experiments.figures.trained import Trainer

CONFIG = "configs/autoencoder.py"
CODES = (2, 8, 30)
SHOWN = 2
LINEAR = {"model.depth": 0, "steps": 4000, "optimizer.learning_rate": 0.03}  # the last components are learned slowly


def run(seed: int, train: Trainer, *, hidden_layers: int = 2) -> dict:
    kinds = {"linear": LINEAR, "hidden layers": {"model.depth": hidden_layers}}
    runs = {(kind, code): fields | {"model.code": code} for kind, fields in kinds.items() for code in CODES}
    named = {f"{kind} {code}": fields for (kind, code), fields in runs.items()}
    trained = dict(zip(runs, train(CONFIG, named).values()))
    data = next(iter(trained.values())).run.dataset
    splits = {"train": data.train, "test": data.evaluation}
    images = {name: source.examples(np.arange(len(source)))["targets"] for name, source in splits.items()}
    flat = {name: x.reshape(len(x), -1) for name, x in images.items()}
    error = {}
    for code in CODES:
        components = PCA(code).fit(flat["train"])
        for name, x in flat.items():
            back = components.inverse_transform(components.transform(x))
            error["PCA", code, name] = float(((back - x) ** 2).mean())
            for kind in kinds:
                output = np.array(trained[kind, code].model(images[name])).reshape(x.shape)
                error[kind, code, name] = float(((output - x) ** 2).mean())
    components, examples = PCA(SHOWN).fit(flat["train"]), images["test"][:6]
    rows = {"image": examples, "PCA": components.inverse_transform(components.transform(flat["test"][:6]))}
    rows |= {kind: np.array(trained[kind, SHOWN].model(examples)) for kind in kinds}
    return {"error": error, "rows": {name: np.reshape(x, (6, 8, 8)) for name, x in rows.items()}}


def check(results: dict) -> list[Criterion]:
    ratio = lambda kind, code, split: results["error"][kind, code, split] / results["error"]["PCA", code, split]
    linear = {split: [ratio("linear", code, split) for code in CODES] for split in ("train", "test")}
    return [
        at_least("linear: smallest error on training images, of that of PCA", min(linear["train"]), 0.9999),
        at_most("linear: largest error on held-out images, of that of PCA", max(linear["test"]), 1.03),
        *(
            at_most(f"hidden layers, code {code}: error on held-out images, of that of PCA",
                    ratio("hidden layers", code, "test"), 0.8)
            for code in CODES if code <= 8
        ),
    ]  # fmt: skip


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1.1, 1])
    for kind, line in (("PCA", "C0o-"), ("linear", "C1x--"), ("hidden layers", "C2s-")):
        label = kind if kind == "PCA" else f"autoencoder, {kind}"
        left.loglog(CODES, [results["error"][kind, code, "test"] for code in CODES], line, label=label, markersize=9)
    left.set(xlabel="size of the code", ylabel="mean squared error of a pixel", title="Held-out digits")
    left.set_xticks(CODES, [str(code) for code in CODES])
    left.minorticks_off()
    left.legend()
    grid(left)
    tiles(right, np.stack(list(results["rows"].values())), cmap="gray", vmin=0, vmax=1)
    right.set_yticks(right.get_yticks(), list(results["rows"]))
    right.set_title(f"Through {SHOWN} numbers")
