"""What a latent may know about one view of a thing, and what that tells about another.

There are two views, x~ and x, of the same thing: the encoder sees x~, and the decoder predicts x. Each beta exchanges
nats about x~ for nats about x, and together these trades form the information curve. For two Gaussian views the best
trade is known in closed form.

Formula: minimise I(x~; z) - beta I(z; x), where I(x~; z) <= KL(q || p) and I(z; x) >= H(x) - reconstruction
Source: V. Roth, Neural Encoder-Decoder Models; Chechik et al. 2005 (closed form); Alemi et al. 2017 (the bounds).
Look at: the trained points lie on the known curve. With a small beta only the stronger of two correlations is kept.
"""

from matplotlib.figure import Figure
import numpy as np

from data.two_views import gaussian_bottleneck
from experiments.figures.engine import Criterion, near
from experiments.figures.style import grid
from experiments.figures.trained import Trainer

CONFIG = "configs/dib_gaussian.py"
BETAS = (1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
CORRELATIONS = (0.9, 0.5)
SHORT = {"eval_every": 2000, "checkpoint_every": 2000, "batch_size": 256}


def run(seed: int, train: Trainer, *, beta_weighs: str = "likelihood") -> dict:
    runs = {f"{beta:g}": SHORT | {"objective.beta": beta, "objective.beta_weighs": beta_weighs} for beta in BETAS}
    trained = train(CONFIG, runs)
    nats = lambda run: (run.metrics["test/kl"], run.metrics["test/information"])
    return {"points": np.array([nats(run) for run in trained.values()])}


def check(results: dict) -> list[Criterion]:
    criteria = []
    for beta, point in zip(BETAS, results["points"]):
        for name, measured, best in zip(("x~", "x"), point, gaussian_bottleneck(CORRELATIONS, beta)):
            criteria.append(near(f"beta {beta:g}: nats about {name}", measured, best, 0.1))
    return criteria


def plot(figure: Figure, results: dict) -> None:
    axes = figure.subplots()
    strengths = 1 + np.logspace(-2, 2, 400)
    curve = np.array([gaussian_bottleneck(CORRELATIONS, strength) for strength in strengths])
    axes.plot(*curve.T, "C0", label="best possible (Chechik et al. 2005)")
    axes.plot(*results["points"].T, "C1o", markersize=11, label="trained, held-out data")
    for beta, (x, y) in zip(BETAS, results["points"]):
        axes.annotate(f"beta {beta:g}", (x, y), (8, -18), textcoords="offset points", fontsize=13)
    axes.set(xlabel="nats about x~, the input (KL)", ylabel="nats about x, the target", xlim=(0, 4))
    axes.set(title="The information curve of two Gaussian views", ylim=(0, 1.1))
    axes.legend(loc="lower right")
    grid(axes)
