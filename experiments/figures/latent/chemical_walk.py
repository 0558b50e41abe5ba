"""A walk in the latent space of molecules, uphill on a Gaussian process, raises a property.

Latents of molecules with a known log P are what a Gaussian process is fitted to. From molecules of low log P, small
steps follow the gradient of its mean, and each place is written as a molecule. The model never sees the log P of
these; it is computed from what is written. As many steps straight on in a random direction change it much less.

Formula: z <- z + step * grad m(z) / |grad m(z)|, m(z) = k(z, Z) (k(Z, Z) + s^2 I)^-1 y
Source: Gomez-Bombarelli et al. 2018, "Automatic chemical design", section "Optimization of molecules".
Look at: log P of what is written rises along the walks uphill. A thin line has a gap where no molecule is written.
"""

from typing import Any

import jax
from matplotlib.figure import Figure
import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from data.log_p import log_p
from data.molecules import END
from data.smiles import is_valid, parse
from experiments.figures.engine import Criterion, at_least
from experiments.figures.style import grid, ink
from experiments.figures.trained import Trainer

CONFIG = "configs/chemical_vae.py"
POINTS = 600  # of the Gaussian process
WALKS, STEPS, LENGTH = 50, 24, 0.25


def run(seed: int, train: Trainer, *, uphill: bool = True) -> dict:
    part = train(CONFIG, {"joint": {"objective.property_weight": 20.0}})["joint"]  # a run of `chemical_vae`
    vocabulary: Any = part.run.dataset.vocabulary
    sources = (part.run.dataset.train, part.run.dataset.evaluation)
    known, others = (source.examples(np.arange(len(source)))["inputs"] for source in sources)
    encode = jax.jit(lambda inputs: part.model.encode(**inputs)[0])
    write = jax.jit(part.model.write)
    generator = np.random.default_rng(seed)
    chosen = generator.choice(len(known["tokens"]), POINTS, replace=False)
    places, values = np.array(encode(known))[chosen], known["properties"][chosen, 0]
    kernel = ConstantKernel(1.0) * RBF(5.0) + WhiteKernel(0.1)
    process = GaussianProcessRegressor(kernel, random_state=seed).fit(places, values)
    start = np.array(encode(others))[np.argsort(others["properties"][:, 0])[:WALKS]]
    straight = generator.normal(size=start.shape)  # a walk keeps its direction, so it comes as far as one uphill
    random = lambda z: straight
    results: dict = {}
    for name, direction in (("uphill", _gradient(process) if uphill else random), ("random", random)):
        z, rows = start, []
        for _ in range(STEPS + 1):
            texts = [vocabulary.decode(row).split(END)[0] for row in np.array(write(z))]
            rows.append([log_p(parse(text)) if is_valid(text) else np.nan for text in texts])
            towards = direction(z)
            z = z + LENGTH * towards / np.linalg.norm(towards, axis=1, keepdims=True)
        results[name] = np.array(rows)  # (steps + 1, walks), NaN where the text is no molecule
    return results


def check(results: dict) -> list[Criterion]:
    means = {name: np.nanmean(values, axis=1) for name, values in results.items()}
    rise = means["uphill"][-1] - means["uphill"][0]
    return [
        at_least("rise of log P along the walks", rise, 2.0),
        at_least("share of steps at which the mean rises", np.mean(np.diff(means["uphill"]) > 0), 0.7),
        at_least("what it is more than in random directions", rise - (means["random"][-1] - means["random"][0]), 2.0),
        at_least("share of molecules among what is written uphill", np.isfinite(results["uphill"]).mean(), 0.7),
    ]


def plot(figure: Figure, results: dict) -> None:
    axes = figure.subplots()
    steps = np.arange(STEPS + 1)
    axes.plot(steps, results["uphill"][:, ::4], color="C0", alpha=0.25, linewidth=1)
    for name, color, label in (("uphill", "C0", "uphill"), ("random", ink(), "random directions")):
        axes.plot(steps, np.nanmean(results[name], axis=1), color=color, linewidth=3, label=f"{label}, mean")
    axes.set(xlabel="steps", ylabel="log P of what is written", title="From 50 molecules of low log P")
    axes.legend()
    grid(axes)


def _gradient(process: Any):
    """The gradient of the mean of a Gaussian process with the kernel c exp(-|z - z'|^2 / (2 l^2)) and white noise."""
    signal = process.kernel_.k1
    constant, scale = signal.k1.constant_value, signal.k2.length_scale

    def gradient(z: np.ndarray) -> np.ndarray:
        apart = process.X_train_[None] - z[:, None]
        weights = process.alpha_ * constant * np.exp(-(apart**2).sum(-1) / (2 * scale**2))
        return (weights[..., None] * apart).sum(1) / scale**2

    return gradient
