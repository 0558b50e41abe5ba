"""Draws what a variational model encodes in its latents.

python -m experiments.latent pictures --workdir=runs/vae [--seed=1]
python -m experiments.latent curve --workdir=runs/dib_gaussian [--betas 2 5 20]

`pictures` draws reconstructions, samples, the effect of each latent, and the latent plane if there are two latents,
into `latents/` of the run. `curve` trains the run's config once for each beta, in `betas/` of the run. It draws how
many nats the latents know about the target x against how many they know about the input x~, and the best possible curve
where it is known.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from einops import rearrange
import jax
import jax.numpy as jnp
import matplotlib
from matplotlib.figure import Figure
import numpy as np
from scipy.stats import norm

from core.command import command
from core.errors import UserError
from core.next_commands import next_commands, next_text
from core.ranges import Seed, refuse_outside
from data import DATASETS
from data.two_views import gaussian_bottleneck
from experiments.figures.style import SIZE, draw, drawn
from models import Variational
from objectives.variational import kl_to_standard_normal
import train
from training.loop import NonFinite
from training.settings import accepted
from training.workdir import read_config

BETAS = (1.5, 2.0, 3.0, 5.0, 10.0, 20.0)  # weights of the likelihood; their inverses are weights of the KL
Picture = tuple[Callable[[Figure, None], None], tuple[float, float]]
"""What draws a picture, and its size in inches."""


@dataclass(frozen=True)
class Point:
    """A point of the information curve, in nats.

    Attributes:
      beta: as the run's objective counts it.
      about_input: the KL, an upper bound on I(x~; z).
      about_target: a lower bound on I(z; x).
      best: the best possible values of both, where they are known.
    """

    beta: float
    about_input: float
    about_target: float
    best: tuple[float, float] | None = None


def pictures(workdir: str, *, seed: Seed = 0, folder: str | Path | None = None) -> list[Path]:
    """Draws the latents of a run, and returns the paths of the pictures.

    Args:
      workdir: the folder of the run.
      seed: of the samples; it also chooses the example whose latents are changed one by one.
      folder: where the pictures go; by default `latents/` of the run.

    Raises:
      UserError: the model has no latents, or nothing that could be drawn of them.
    """
    refuse_outside(pictures, {"seed": seed})
    model, run = train.load(workdir)
    if not isinstance(model, Variational):
        raise UserError(f"{workdir} holds the model {run.fields.model['name']!r}, not a 'variational' one")
    source = run.dataset.evaluation
    batch = source.examples(np.arange(min(len(source), 2000)))
    mean_BZ, log_variance_BZ = jax.device_get(model.encode(**batch["inputs"]))
    kl_Z = np.asarray(kl_to_standard_normal(mean_BZ, log_variance_BZ).mean(0))
    classes = model.likelihood == "categorical"
    if classes and model.latents != 2:
        raise UserError(
            f"{workdir} decodes {model.latents} latents to classes: expected images or 2 latents, as there is no image "
            "and no plane to draw"
        )
    figures: dict[str, Picture] = {}
    if not classes:
        z_BZ = jax.random.normal(jax.random.key(seed), (100, model.latents))
        figures["reconstructions"] = _reconstructions(model, batch, mean_BZ)
        figures["samples"] = _grid(
            rearrange(_decode(model, z_BZ), "(r c) ... -> r c ...", c=10), "decoded draws from the prior"
        )
        figures["traversals"] = _traversals(model, mean_BZ[seed % len(mean_BZ)], kl_Z)
    if model.latents == 2:
        figures["plane"] = _plane(model, mean_BZ, _labels(run, len(mean_BZ)), decoded=not classes)
    folder = Path(workdir) / "latents" if folder is None else Path(folder)
    folder.mkdir(exist_ok=True)
    paths = []
    for name, (plot, size) in figures.items():
        paths += draw(plot, None, folder / name, size)
    return paths


def curve(workdir: str, *, betas: Sequence[float] | None = None) -> tuple[list[Point], list[Path]]:
    """Trains a run's config once for each beta, and draws the information curve.

    A beta that was trained before is not trained again.

    Args:
      workdir: the folder of the run.
      betas: as the run's objective counts them; by default `BETAS`.

    Returns:
      The points of the curve, and the paths of the pictures.

    Raises:
      UserError: the run's objective gives no bounds, or the training of a beta failed. Others as `train.run`.
    """
    config = read_config(workdir)
    objective, data = config["objective"], config["data"]
    if objective["name"] != "variational" or objective.get("target_entropy") is None:
        raise UserError(f"{workdir}: a curve needs the objective 'variational' with target_entropy set")
    weighs_likelihood = objective.get("beta_weighs") == "likelihood"
    default = accepted(DATASETS["gaussian_pair"])["correlations"].default
    correlations = tuple(data.get("correlations", default)) if data["name"] == "gaussian_pair" else None
    points = []
    for beta in betas or (BETAS if weighs_likelihood else [1 / beta for beta in BETAS]):
        run_config = config | {"objective": objective | {"beta": float(beta)}}
        try:
            metrics = train.run(run_config, Path(workdir) / "betas" / f"{beta:g}")["metrics"]
        except NonFinite as error:
            raise UserError(f"beta {beta:g}: {error}") from error
        held_out = {name.rpartition("/")[2]: value for name, value in metrics.items() if not name.startswith("train/")}
        strength = beta if weighs_likelihood else 1 / beta
        best = None if correlations is None else gaussian_bottleneck(correlations, strength)
        points.append(Point(beta, held_out["kl"], held_out["information"], best))
    plot, size = _information(points, correlations)
    return points, draw(plot, None, Path(workdir) / "information", size)


@command
def main(arguments: list[str]) -> None:
    """Runs the command; prints the paths of the pictures, or the points of the curve and its path."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.latent", description=(__doc__ or "").partition("\n")[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    pictures_parser = commands.add_parser("pictures", help="reconstructions, samples, traversals, plane")
    pictures_parser.add_argument("--workdir", required=True, help="folder of the run")
    pictures_parser.add_argument("--seed", type=int, default=0, help="of the samples, and the example for traversals")
    curve_parser = commands.add_parser("curve", help="the information curve over beta")
    curve_parser.add_argument(
        "--workdir", required=True, help="folder of a run that gives the config; runs for each beta go into it"
    )
    curve_parser.add_argument("--betas", type=float, nargs="+", help="as the run's objective counts them")
    options = vars(parser.parse_args(arguments))
    if options.pop("command") == "pictures":
        paths = pictures(**options)
        print(drawn(paths[0].parent, paths))
        print(next_text(_next(options["workdir"])))
        return
    points, paths = curve(**options)
    for point in points:
        best = "   best possible {:.3f} {:.3f}".format(*point.best) if point.best else ""
        bounds = f"I(x~;z) <= {point.about_input:.3f}   I(z;x) >= {point.about_target:.3f}"
        print(f"beta {point.beta:<8g} {bounds}{best}")
    print(drawn(options["workdir"], paths))
    print(next_text(_next(options["workdir"])))


def _next(workdir: str) -> list[str]:
    config = read_config(workdir)
    return next_commands(config["model"]["name"], config["objective"]["name"], workdir, done="latent")


# ---- figures --------------------------------------------------------------------------------------------------------


def _reconstructions(model: Variational, batch: dict, mean_BZ, count: int = 12) -> Picture:
    images, target = batch["inputs"]["images"][:count], batch["targets"][:count]
    rows = {"input": images} | ({} if np.array_equal(images, target) else {"target": target})
    rows |= {"decoded": _decode(model, mean_BZ[:count])}
    if len({images.shape for images in rows.values()}) > 1:
        del rows["input"]  # views of different shapes do not fit into one grid
    return _grid(np.stack(list(rows.values())), "decoded at the posterior mean", list(rows))


def _traversals(model: Variational, start_Z, kl_Z, steps: int = 11, most: int = 12) -> Picture:
    """What each latent changes in the decoded image, those with the largest KL first."""
    largest = np.argsort(-kl_Z)[:most]
    z = np.tile(start_Z, (len(largest), steps, 1))
    for row, latent in enumerate(largest):
        z[row, :, latent] = np.linspace(-3, 3, steps)
    images = rearrange(_decode(model, z.reshape(-1, len(start_Z))), "(r c) ... -> r c ...", c=steps)
    names = [f"z{latent}: {kl_Z[latent]:.2f} nats" for latent in largest]
    return _grid(images, "one latent from -3 to 3, the others as in one example; mean KL", names)


def _plane(model: Variational, mean_BZ, labels_B, *, decoded: bool, side: int = 15) -> Picture:
    """The posterior means in the plane, and beside them, if `decoded`, the images of a grid of latents."""
    tiled = None
    if decoded:
        # At the quantiles of the prior every cell of the picture has the same probability (Kingma & Welling 2014).
        across = norm.ppf((np.arange(side) + 0.5) / side)
        z = np.stack(np.meshgrid(across, across[::-1]), axis=-1).reshape(-1, 2)
        tiled = _tiled(rearrange(_decode(model, z), "(r c) ... -> r c ...", c=side))

    def plot(figure: Figure, _: None) -> None:
        axes = figure.subplots(1, 1 if tiled is None else 2, squeeze=False)[0]
        for number, label in enumerate(np.unique(labels_B)):
            points = mean_BZ[labels_B == label]
            marker = f"${label}$" if label >= 0 else "o"
            axes[0].scatter(*points.T, s=64, marker=marker, linewidths=0.3, color=f"C{number % 5}")
        axes[0].set_title("posterior means" + (", by class" if labels_B.max() >= 0 else ""))
        axes[0].set(xlabel="z0", ylabel="z1")
        axes[0].set_aspect("equal", adjustable="datalim")
        if tiled is not None:
            axes[1].imshow(tiled, cmap=_grey())
            axes[1].set_title("decoded at the quantiles of the prior")
            axes[1].set_axis_off()

    return plot, (15.0 if decoded else 7.5, 7.5)


def _information(points: list[Point], correlations: tuple[float, ...] | None) -> Picture:
    def plot(figure: Figure, _: None) -> None:
        axes = figure.add_subplot()
        if correlations is not None:
            strengths = [1 + 10**x for x in np.linspace(-2, 2.5, 400)]
            line = np.array([gaussian_bottleneck(correlations, strength) for strength in strengths])
            line = line[line[:, 0] <= 1.1 * max(point.about_input for point in points)]
            axes.plot(*line.T, "C0", label="best possible")
        places = [(point.about_input, point.about_target) for point in points]
        axes.plot(*np.transpose(places), "C1o", label="trained, held-out data")
        for point, place in zip(points, places):
            axes.annotate(f"{point.beta:g}", place, (6, -16), textcoords="offset points", fontsize=12)
        axes.set(xlabel="KL, upper bound on I(x~; z) (nats)", ylabel="lower bound on I(z; x) (nats)")
        axes.set_title("the numbers are beta")
        axes.set_xlim(left=0)
        axes.legend(loc="lower right")

    return plot, SIZE


def _grid(images: np.ndarray, title: str, names: list[str] | None = None) -> Picture:
    """Images (rows, columns, height, width, channels), with a name for each row."""
    tiled = _tiled(images)
    height, width = tiled.shape[:2]

    def plot(figure: Figure, _: None) -> None:
        axes = figure.add_subplot()
        axes.imshow(tiled, cmap=_grey(), vmin=0, vmax=max(1.0, float(np.nanmax(tiled))))
        axes.set_title(title)
        cell = height / len(images)
        axes.set_xticks([])
        axes.set_yticks([(row + 0.5) * cell for row in range(len(names or []))], names or [])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    return plot, (10.0 + (2.0 if names else 0.0), max(2.0, 10.0 * height / width + 0.6))


def _grey() -> str:
    """The colours of grey images: ink on paper, in each theme."""
    return "gray_r" if matplotlib.rcParams["figure.facecolor"] == "#FFFFFF" else "gray"


def _tiled(images: np.ndarray) -> np.ndarray:
    """One image of all, grey or with three channels, with a white pixel between the tiles."""
    white = np.nan if images.shape[-1] == 1 else 1.0  # grey may be drawn inverted, but NaN always stays white
    padded = np.pad(images, ((0, 0), (0, 0), (0, 1), (0, 1), (0, 0)), constant_values=white)
    tiled = rearrange(padded, "rows columns height width c -> (rows height) (columns width) c")[:-1, :-1]
    return tiled[..., 0] if tiled.shape[-1] == 1 else tiled


def _decode(model: Variational, z_BZ) -> np.ndarray:
    """The mean of p(x | z), (B, *target_shape)."""
    decoded = model.decode(jnp.asarray(z_BZ, jnp.float32))
    return np.asarray(jax.nn.sigmoid(decoded["logits"]) if "logits" in decoded else decoded["mean"])


def _labels(run: train.Run, count: int) -> np.ndarray:
    """The classes of the first evaluation examples, whatever the targets of the run; -1 if the data has no classes."""
    data: dict[str, Any] = {name: value for name, value in run.fields.data.items() if name != "name"}
    make = DATASETS[run.fields.data["name"]]
    if "targets" not in accepted(make):
        return np.full(count, -1)
    return make(**data | {"targets": "labels"}).evaluation.examples(np.arange(count))["targets"]


if __name__ == "__main__":
    main()
