"""A latent space of molecules is ordered by a property that is learned with it.

A variational autoencoder reads molecules as texts and writes them again. What its two widest directions are is
then left to chance. If the latents have to predict log P as well, it becomes one of the widest, and the plane is a map
on which one can look for molecules that like oil or water. Random draws from the prior are molecules too.

Formula: loss = -log p(x | z) + beta KL(q(z | x) || p(z)) + weight |f(z) - log P|^2
Source: Gomez-Bombarelli et al. 2018, "Automatic chemical design", figure 3.
Look at: the colours, which are log P: mixed on the left, in order on the right. Log P follows from the
atoms of a molecule, so the left plane is not without any order.
"""

from typing import Any

import jax
from matplotlib.figure import Figure
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from data.molecules import END
from data.smiles import is_valid
from experiments.figures.engine import Criterion, at_least
from experiments.figures.style import grid
from experiments.figures.trained import Trainer

CONFIG = "configs/chemical_vae.py"
DRAWS = 1000
TITLES = {"alone": "Texts alone", "joint": "Texts and log P"}


def run(seed: int, train: Trainer, *, property_weight: float = 20.0) -> dict:
    weights = {"alone": 0.0, "joint": property_weight}
    runs = train(CONFIG, {name: {"objective.property_weight": weight} for name, weight in weights.items()})
    results: dict = {"exact": {}, "valid": {}, "explained": {}, "plane": {}}
    vocabulary: Any = runs["joint"].run.dataset.vocabulary
    for name, part in runs.items():
        sources = {"train": part.run.dataset.train, "test": part.run.dataset.evaluation}
        sets = {split: source.examples(np.arange(len(source))) for split, source in sources.items()}
        encode = jax.jit(lambda inputs, model=part.model: model.encode(**inputs)[0])
        write = jax.jit(lambda z, model=part.model: model.write(z))
        means = {split: np.array(encode(batch["inputs"])) for split, batch in sets.items()}
        values = {split: batch["inputs"]["properties"][:, 0] for split, batch in sets.items()}
        written = np.array(write(means["test"]))
        results["exact"][name] = float((written == sets["test"]["targets"]).all(1).mean())
        drawn = np.array(write(jax.random.normal(jax.random.key(seed), (DRAWS, means["test"].shape[1]))))
        texts = [vocabulary.decode(row).split(END)[0] for row in drawn]
        results["valid"][name] = float(np.mean([is_valid(text) for text in texts]))
        components = PCA(2).fit(means["train"])
        plane = {split: components.transform(z) for split, z in means.items()}
        fit = LinearRegression().fit(plane["train"], values["train"])
        results["explained"][name] = float(fit.score(plane["test"], values["test"]))
        results["plane"][name] = plane["test"] * np.where(fit.coef_ < 0, -1, 1)  # log P rises to the right
        results["log_p"] = values["test"]
    return results


def check(results: dict) -> list[Criterion]:
    alone, joint = (results["explained"][name] for name in ("alone", "joint"))
    return [
        at_least("held-out molecules that are restored exactly", min(results["exact"].values()), 0.85),
        at_least("share of draws from the prior that are molecules", min(results["valid"].values()), 0.9),
        at_least("R^2 of log P from two components, learned jointly", joint, 0.7),
        at_least("what it gains over that of texts alone", joint - alone, 0.3),
    ]


def plot(figure: Figure, results: dict) -> None:
    axes = figure.subplots(1, 2)
    for part, (name, title) in zip(axes, TITLES.items()):
        part.scatter(*results["plane"][name].T, c=results["log_p"], cmap="coolwarm", s=14, linewidths=0)
        share = results["explained"][name]
        part.set(title=f"{title}: R$^2$ {share:.2f}", xlabel="component 1", ylabel="component 2")
        grid(part)
    figure.colorbar(axes[-1].collections[0], ax=axes[-1], label="log P, standardised")
