"""What a latent may know of what it sees, and what that tells about what it does not see.

Two views of one thing: the posterior sees x~ only, and the decoder is to say x. Each beta gives one exchange of nats
about x~ for nats about x; together they are the information curve. For two Gaussian views the best exchange is known.

Formula: minimise I(x~; z) - beta I(z; x), where I(x~; z) <= KL(q || p) and I(z; x) >= H(x) - reconstruction
Source: V. Roth, Neural Encoder-Decoder Models; Chechik et al. 2005 (the known answer); Alemi et al. 2017 (the bounds).
Look at: the trained points lie on the known curve. With a small beta only the stronger of two correlations is kept.
"""

import numpy as np

from data.two_views import gaussian_bottleneck
from experiments.figures.engine import near
from experiments.figures.style import grid

CONFIG = "configs/dib_gaussian.py"
BETAS = (1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
CORRELATIONS = (0.9, 0.5)
SHORT = {"eval_every": 2000, "checkpoint_every": 2000, "batch_size": 256}


def run(seed: int, train, *, beta_weighs: str = "likelihood") -> dict:
    runs = {f"{beta:g}": SHORT | {"objective.beta": beta, "objective.beta_weighs": beta_weighs} for beta in BETAS}
    trained = train(CONFIG, runs)
    about = lambda part: (part.metrics["test/kl"], part.metrics["test/information"])
    return {"points": np.array([about(part) for part in trained.values()])}


def check(found: dict) -> list:
    criteria = []
    for beta, point in zip(BETAS, found["points"]):
        for name, measured, known in zip(("x~", "x"), point, gaussian_bottleneck(CORRELATIONS, beta)):
            criteria.append(near(f"beta {beta:g}: nats about {name}", measured, known, 0.1))
    return criteria


def plot(figure, found: dict) -> None:
    axes = figure.subplots()
    strengths = 1 + np.logspace(-2, 2, 400)
    curve = np.array([gaussian_bottleneck(CORRELATIONS, strength) for strength in strengths])
    axes.plot(*curve.T, "C0", label="the best there is (Chechik et al. 2005)")
    axes.plot(*found["points"].T, "C1o", markersize=11, label="trained, held-out data")
    for beta, (x, y) in zip(BETAS, found["points"]):
        axes.annotate(f"beta {beta:g}", (x, y), (8, -18), textcoords="offset points", fontsize=13)
    axes.set(xlabel="nats about x~, which it sees (KL)", ylabel="nats about x, which it is to say", xlim=(0, 4))
    axes.set(title="The information curve of two Gaussian views", ylim=(0, 1.1))
    axes.legend(loc="lower right")
    grid(axes)
