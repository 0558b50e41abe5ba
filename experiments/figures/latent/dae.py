"""A denoising autoencoder fills in what is hidden; a plain one returns the holes.

The code has more units than the image has pixels, so a plain autoencoder may copy, and copies the holes as well. One
that is trained to restore clean images from damaged ones has to know what digits look like: it pulls a damaged image
back towards the images.

Formula: min E |x - decode(encode(x~))|^2 with x~ = x * m and m in {0, 1}: the corruption is on the input only
Source: A. Canziani, denoising autoencoders; Vincent et al. 2008.
Look at: the last row. Half of the pixels are missing above it.
"""

import jax
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_most
from experiments.figures.style import bars, tiles
from experiments.figures.trained import Trainer
from objectives.reconstruction import corrupted

CONFIG = "configs/denoising.py"
MASKED = 0.5


def run(seed: int, train: Trainer, *, corrupt: bool = True) -> dict:
    plain = {"objective.masked": 0.0}
    trained = train(CONFIG, {"plain": plain, "denoising": {} if corrupt else plain})
    data = trained["plain"].run.dataset
    clean = data.evaluation.examples(np.arange(len(data.evaluation)))["targets"]
    mean = data.train.examples(np.arange(len(data.train)))["targets"].mean(0)
    damaged = np.array(corrupted(clean, jax.random.split(jax.random.key(seed), len(clean)), masked=MASKED))
    restored = {name: np.array(part.model(damaged)) for name, part in trained.items()}
    error = {name: float(((x - clean) ** 2).mean()) for name, x in {"mean image": mean, **restored}.items()}
    rows = {"image": clean, "half hidden": damaged} | restored
    return {"error": error, "rows": {name: x[:8, ..., 0] for name, x in rows.items()}}


def check(results: dict) -> list[Criterion]:
    error = results["error"]
    return [
        at_most("denoising: error, of that of the mean image", error["denoising"] / error["mean image"], 0.5),
        at_most("denoising: error, of that of the plain autoencoder", error["denoising"] / error["plain"], 0.25),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.5])
    names = ["plain", "mean image", "denoising"]
    bars(left, names, [results["error"][name] for name in names], color=["C1", "C3", "C0"])
    left.set(xlabel="mean squared error of a pixel", title="Restoring held-out digits")
    left.set_xlim(right=1.25 * max(results["error"].values()))
    tiles(right, np.stack(list(results["rows"].values())), cmap="gray", vmin=0, vmax=1)
    right.set_yticks(right.get_yticks(), list(results["rows"]))
    right.set_title("What is made of damaged images")
