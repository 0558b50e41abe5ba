"""The latent plane of the digits, and what the decoder draws at every point of it.

The model is never told the classes, and still images of one class lie together: the plane is a map of the digits. If
beta is so small that the latents say nothing, all images lie in one place.

Formula: z = mean of q(z | x); the grid is decoded at the quantiles of p(z) = N(0, I)
Source: V. Roth, Neural Encoder-Decoder Models; Kingma & Welling 2014, figure 4.
Look at: digits change smoothly from point to point, and neighbours in the plane mostly have the same class.
"""

from matplotlib.figure import Figure
import numpy as np
from scipy.stats import norm
from sklearn.neighbors import KNeighborsClassifier

from data.digits import digits
from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.latent.vae_beta import BETAS, CONFIG, PLANE
from experiments.figures.style import ink, tiles
from experiments.figures.trained import Trainer

SIDE = 13
SHOWN = "1"
# Twice as wide as in `vae_beta`. From beta 0.1 on, the accuracy is then at least 0.66 for seeds 0, 1 and 2; with the
# width of `vae_beta` it is at least 0.66, 0.58 and 0.67.
WIDE = PLANE | {"model.width": 256, "optimizer.learning_rate": 2e-3}


def run(seed: int, train: Trainer, *, beta_weighs: str = "likelihood") -> dict:
    runs = {f"{beta:g}": WIDE | {"objective.beta_weighs": beta_weighs, "objective.beta": beta} for beta in BETAS}
    trained, labelled = train(CONFIG, runs), digits()
    rows = {split: getattr(labelled, split).examples(np.arange(len(getattr(labelled, split))))
            for split in ("train", "evaluation")}  # fmt: skip
    means = {
        name: {split: np.array(part.model.encode(**batch["inputs"])[0]) for split, batch in rows.items()}
        for name, part in trained.items()
    }
    neighbours = {}
    for name, z in means.items():
        classifier = KNeighborsClassifier(10).fit(z["train"], rows["train"]["targets"])
        neighbours[name] = float(classifier.score(z["evaluation"], rows["evaluation"]["targets"]))
    across = norm.ppf((np.arange(SIDE) + 0.5) / SIDE)
    z = np.stack(np.meshgrid(across, across[::-1]), axis=-1).reshape(-1, 2).astype(np.float32)
    return {
        "neighbours": neighbours,
        "plane": means[SHOWN]["train"],
        "labels": rows["train"]["targets"],
        "decoded": np.array(trained[SHOWN].model.decode(z)["mean"])[..., 0],
    }


def check(results: dict) -> list[Criterion]:
    collapsed, *others = results["neighbours"].items()
    return [
        at_most(f"beta {collapsed[0]}: accuracy of a nearest-neighbour classifier", collapsed[1], 0.2),
        at_least(f"smallest accuracy from beta {others[0][0]} on", min(accuracy for _, accuracy in others), 0.65),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2)
    for label in range(10):
        points = results["plane"][results["labels"] == label]
        left.scatter(*points.T, s=10, color=f"C{label % 5}", alpha=0.5, linewidths=0)
        left.text(*np.median(points, axis=0), str(label), fontsize=22, weight="bold", color=ink(), ha="center",
                  va="center")  # fmt: skip
    accuracy = results["neighbours"][SHOWN]
    left.set(title=f"{100 * accuracy:.0f} % classified by neighbours", xlabel="latent 1", ylabel="latent 2")
    left.set_aspect("equal", adjustable="datalim")
    tiles(right, results["decoded"].reshape(SIDE, SIDE, 8, 8), cmap="gray", vmin=0, vmax=1)
    right.set_title("Decoded quantiles of the prior")
