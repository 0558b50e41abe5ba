"""Deep archetypal analysis of faces: every face is a mixture of six extreme ones.

400 pictures of 40 people are placed inside a simplex with six fixed corners. Each corner has to be a mixture of
pictures in turn, so the corners come to stand for extremes of the set: light and dark, bald and hairy. Between two
corners the decoder walks through faces that nobody has.

Formula: z = a V + noise, |V - B A V|^2 -> 0; a: softmax over archetypes, B: softmax over the examples of a batch
Source: Keller et al. 2020, section 4; the ORL faces instead of the paper's, which are not public.
Look at: the archetypes are unlike each other; on the way from one to the next there are faces, not two at once.
"""

from itertools import combinations

from einops import rearrange
import jax
from matplotlib.figure import Figure
import numpy as np

from core.files import ROOT
from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import split, tiles
from experiments.figures.trained import Trainer

CONFIG = "configs/archetypes_faces.py"
NEEDS = ("faces.npz",)
STEPS = 7  # of the walk
SHOWN = 4


def run(seed: int, train: Trainer, *, archetype_weight: float = 3000.0) -> dict:
    fields = {"data.path": str(ROOT / NEEDS[0]), "objective.archetype_weight": archetype_weight}
    trained = train(CONFIG, {"faces": fields})["faces"]
    model, data = trained.model, trained.run.dataset
    pictures = {name: _pictures(source) for name, source in (("train", data.train), ("held out", data.evaluation))}
    corners = np.asarray(model.corners())
    decode = jax.jit(lambda latents: model.decode(latents)["mean"])
    weights = {name: np.asarray(model.mixtures(images)[0]) for name, images in pictures.items()}
    decoded = {name: np.asarray(decode(weight @ corners)) for name, weight in weights.items()}
    archetypes, mean = np.asarray(decode(corners)), pictures["train"].mean(0)
    errors = ((decoded["held out"] - pictures["held out"]) ** 2).sum()
    away = lambda images: np.sqrt(((images - mean) ** 2).mean((1, 2, 3)))
    middles = decode(np.array([(one + other) / 2 for one, other in combinations(corners, 2)]))
    share = np.linspace(0, 1, STEPS)[:, None]
    return {
        "archetype": trained.metrics["validation/archetype"],
        "explained": float(1 - errors / ((pictures["held out"] - mean) ** 2).sum()),
        "extreme": float(np.mean([(away(decoded["train"]) < distance).mean() for distance in away(archetypes)])),
        "nearest": {
            name: float(np.median(nearest(images, pictures["train"])))
            for name, images in {"held out": pictures["held out"], "halfway": np.asarray(middles)}.items()
        },
        "archetypes": archetypes[..., 0],
        "walks": np.stack([decode((1 - share) * corners[i] + share * corners[i + 1])[..., 0] for i in (0, 2)]),
        "pictures": pictures["held out"][:SHOWN, ..., 0],
        "decoded": decoded["held out"][:SHOWN, ..., 0],
        "weights": weights["held out"][:SHOWN],
    }


def nearest(images: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Returns the root mean squared difference of each image (N, ...) from the nearest of the pictures, (N,)."""
    return np.array([np.sqrt(((image - pictures) ** 2).mean((1, 2, 3)).min()) for image in images])


def check(results: dict) -> list[Criterion]:
    near = results["nearest"]
    return [
        at_most("squared distance of the archetypes from mixtures of pictures", results["archetype"], 1e-3),
        at_least("share of the variance of held-out pictures that the mixtures explain", results["explained"], 0.2),
        at_least("share of faces nearer to the mean face than an archetype", results["extreme"], 0.5),
        at_most("distance from the nearest picture: halfway, by held-out", near["halfway"] / near["held out"], 1.6),
    ]


def plot(figure: Figure, results: dict) -> None:
    above, below = split(figure, 2, 1, height_ratios=[1.3, 1])
    first, second = above.subplots(2, 1, height_ratios=[1, 2])
    gray = {"cmap": "gray", "vmin": 0, "vmax": 1}
    tiles(first, results["archetypes"][None], **gray)
    first.set(title="The six archetypes")
    tiles(second, results["walks"], **gray)
    second.set(title="From the first to the second, and from the third to the fourth")
    left, right = below.subplots(1, 2)
    tiles(left, np.stack([results["pictures"], results["decoded"]]), **gray)
    left.set_yticks(left.get_yticks(), ["picture", "mixture"])
    left.set(title="Held-out faces")
    places, bottom = np.arange(SHOWN), np.zeros(SHOWN)
    for number, weights in enumerate(rearrange(results["weights"], "n k -> k n")):
        right.bar(places, weights, bottom=bottom, color=f"C{number}" if number < 5 else "0.5", width=0.7)
        bottom += weights
    right.set(xticks=places, xticklabels=places + 1, yticks=[0, 1], title="Weights of the archetypes")


def _pictures(source) -> np.ndarray:
    return np.asarray(source.examples(np.arange(len(source)))["inputs"]["images"])
