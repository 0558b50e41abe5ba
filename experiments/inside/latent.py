"""What a variational model has put into its latents.

python -m experiments.latent pictures runs/vae [--seed=1]
python -m experiments.latent curve runs/dib_gaussian [--betas 2 5 20]

`pictures` draws reconstructions, samples, what each latent changes, and the plane where there are two latents, into
`latents/` of the run. `curve` trains the run's config once for each beta, in `betas/` of the run, and draws what the
latents know of x against what they know of x~; where the data has a known answer, against that.
"""

import argparse
from pathlib import Path
import sys

from einops import rearrange
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
from scipy.stats import norm

from data import DATASETS
from data.two_views import gaussian_bottleneck
from models.bottleneck import Variational
from objectives.variational import kl_to_standard_normal
import train
from training.loop import NonFinite
from training.settings import accepted
from training.workdir import read_config

BETAS = (1.5, 2.0, 3.0, 5.0, 10.0, 20.0)  # that weigh the likelihood; their inverses weigh the KL
GREY = "#5A5A5A"


def pictures(workdir: str, *, seed: int = 0, folder: str | Path | None = None) -> list[Path]:
    """Draws the latents of a run into a folder (default: its `latents`); gives the paths.

    Raises ValueError where the run's model has no latents, or nothing that can be drawn of them.
    """
    model, run = train.load(workdir)
    if not isinstance(model, Variational):
        raise ValueError(f"{workdir} holds the model {run.fields.model['name']!r}, not a 'variational' one")
    source = run.dataset.evaluation
    batch = source.examples(np.arange(min(len(source), 2000)))
    mean_BZ, log_variance_BZ = jax.device_get(model.encode(**batch["inputs"]))
    kl_Z = np.asarray(kl_to_standard_normal(mean_BZ, log_variance_BZ).mean(0))
    classes = model.likelihood == "categorical"
    if classes and model.latents != 2:
        raise ValueError(
            f"{workdir} decodes {model.latents} latents to classes: there is no image and no plane to draw"
        )
    figures = {}
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
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", bbox_inches="tight")
    return [folder / f"{name}.png" for name in figures]


def curve(workdir: str, *, betas: list[float] | None = None) -> tuple[list[dict], Path]:
    """Trains a run's config once for each beta, and draws the information curve; gives its points and the picture.

    A beta that is trained already is not trained again. A point is {"beta", "about_input", "about_target"}, in nats:
    the bounds on I(x~; z) and I(z; x). Where the data is `gaussian_pair`, "known" holds the right answer for both.
    Raises ValueError where the run has no such bounds, and as `train.run` does.
    """
    config = read_config(workdir)
    objective, data = config["objective"], config["data"]
    if objective["name"] != "variational" or objective.get("target_entropy") is None:
        raise ValueError(f"{workdir}: a curve needs the objective 'variational' with target_entropy set")
    likelihood = objective.get("beta_weighs") == "likelihood"
    known = data["name"] == "gaussian_pair"
    default = accepted(DATASETS["gaussian_pair"])["correlations"].default
    correlations = data.get("correlations", default)
    points = []
    for beta in betas or (BETAS if likelihood else [1 / beta for beta in BETAS]):
        run_config = config | {"objective": objective | {"beta": float(beta)}}
        metrics = train.run(run_config, Path(workdir) / "betas" / f"{beta:g}")["metrics"]
        found = {name.rpartition("/")[2]: value for name, value in metrics.items() if not name.startswith("train/")}
        point = {"beta": beta, "about_input": found["kl"], "about_target": found["information"]}
        if known:
            point["known"] = gaussian_bottleneck(correlations, beta if likelihood else 1 / beta)
        points.append(point)
    path = Path(workdir) / "information.png"
    _information(points, correlations if known else None).savefig(path)
    return points, path


def main(arguments: list[str] | None = None) -> None:
    """The command line: the paths, or the points and a path; an error as one line and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m experiments.latent", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    drawing = commands.add_parser("pictures", help="reconstructions, samples, traversals, plane")
    drawing.add_argument("workdir", help="folder of the run")
    drawing.add_argument("--seed", type=int, default=0, help="of the samples, and the example that is traversed")
    bending = commands.add_parser("curve", help="the information curve over beta")
    bending.add_argument("workdir", help="folder of a run that gives the config; runs for each beta go into it")
    bending.add_argument("--betas", type=float, nargs="+", help="in the run's own convention")
    given = vars(parser.parse_args(arguments))
    try:
        if given.pop("command") == "pictures":
            print(*pictures(**given), sep="\n")
            return
        points, path = curve(**given)
    except (ValueError, TypeError, OSError, NonFinite) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    for point in points:
        known = "   known {:.3f} {:.3f}".format(*point["known"]) if "known" in point else ""
        found = f"I(x~;z) <= {point['about_input']:.3f}   I(z;x) >= {point['about_target']:.3f}"
        print(f"beta {point['beta']:<8g} {found}{known}")
    print(path)


# ---- figures --------------------------------------------------------------------------------------------------------


def _reconstructions(model, batch, mean_BZ, count: int = 12) -> Figure:
    seen, target = batch["inputs"]["images"][:count], batch["targets"][:count]
    rows = {"seen": seen} | ({} if np.array_equal(seen, target) else {"target": target})
    rows |= {"decoded": _decode(model, mean_BZ[:count])}
    if len({images.shape for images in rows.values()}) > 1:
        del rows["seen"]  # views of different shapes do not share a grid
    return _grid(np.stack(list(rows.values())), "decoded at the posterior mean", list(rows))


def _traversals(model, start_Z, kl_Z, steps: int = 11, most: int = 12) -> Figure:
    best = np.argsort(-kl_Z)[:most]
    z = np.tile(start_Z, (len(best), steps, 1))
    for row, latent in enumerate(best):
        z[row, :, latent] = np.linspace(-3, 3, steps)
    images = rearrange(_decode(model, z.reshape(-1, len(start_Z))), "(r c) ... -> r c ...", c=steps)
    names = [f"z{latent}: {kl_Z[latent]:.2f} nats" for latent in best]
    return _grid(images, "one latent from -3 to 3, the others as in one example; KL on average", names)


def _plane(model, mean_BZ, labels_B, *, decoded: bool, side: int = 15) -> Figure:
    figure = Figure(figsize=(11 if decoded else 5.5, 5.5), dpi=160, layout="constrained")
    axes = figure.subplots(1, 2 if decoded else 1, squeeze=False)[0]
    for label in np.unique(labels_B):
        points = mean_BZ[labels_B == label]
        axes[0].scatter(*points.T, s=22, marker=f"${label}$" if label >= 0 else "o", linewidths=0.3)
    axes[0].set_title("posterior means" + (", by class" if labels_B.max() >= 0 else ""), loc="left", color=GREY)
    axes[0].set_xlabel("z0")
    axes[0].set_ylabel("z1")
    axes[0].set_aspect("equal", adjustable="datalim")
    if decoded:
        # Quantiles of the prior, so that every cell of the picture is as likely as any other (Kingma & Welling 2014).
        across = norm.ppf((np.arange(side) + 0.5) / side)
        z = np.stack(np.meshgrid(across, across[::-1]), axis=-1).reshape(-1, 2)
        axes[1].imshow(_tiled(rearrange(_decode(model, z), "(r c) ... -> r c ...", c=side)), cmap="gray_r")
        axes[1].set_title("decoded, over the quantiles of the prior", loc="left", color=GREY)
        axes[1].set_axis_off()
    return figure


def _information(points: list[dict], correlations) -> Figure:
    figure = Figure(figsize=(6.5, 4.5), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    if correlations is not None:
        strengths = [1 + 10**x for x in np.linspace(-2, 2.5, 400)]
        line = np.array([gaussian_bottleneck(correlations, strength) for strength in strengths])
        line = line[line[:, 0] <= 1.1 * max(point["about_input"] for point in points)]
        axes.plot(*line.T, color="#0072B2", linewidth=1.8, label="the known answer")
    found = [(point["about_input"], point["about_target"]) for point in points]
    axes.plot(*zip(*found), "o", color="#D55E00", markersize=6, markeredgecolor="white", label="trained, held-out data")
    for point, place in zip(points, found):
        axes.annotate(f"{point['beta']:g}", place, (4, -11), textcoords="offset points", color=GREY, fontsize=9)
    axes.set_xlabel("KL, at least I(x~; z), in nats")
    axes.set_ylabel("bound on I(z; x), in nats")
    axes.set_title("numbers: beta", loc="left", fontsize=10, color=GREY)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(left=0)
    axes.legend(frameon=False, loc="lower right")
    return figure


def _grid(images, title: str, names: list[str] | None = None) -> Figure:
    """Images (rows, columns, height, width, channels) with a name for each row."""
    tiled = _tiled(images)
    height, width = tiled.shape[:2]
    figure = Figure(figsize=(8, 8 * height / width + 0.3), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(tiled, cmap="gray_r", vmin=0, vmax=max(1.0, float(np.nanmax(tiled))))
    axes.set_title(title, loc="left", fontsize=10, color=GREY)
    axes.set_xticks([])
    cell = height / len(images)
    axes.set_yticks([(row + 0.5) * cell for row in range(len(names or []))], names or [], color=GREY, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _tiled(images) -> np.ndarray:
    """One image, grey or with three channels, and a white pixel between the tiles."""
    white = np.nan if images.shape[-1] == 1 else 1.0  # a grey scale may be turned round: what is missing stays white
    padded = np.pad(images, ((0, 0), (0, 0), (0, 1), (0, 1), (0, 0)), constant_values=white)
    whole = rearrange(padded, "rows columns height width c -> (rows height) (columns width) c")[:-1, :-1]
    return whole[..., 0] if whole.shape[-1] == 1 else whole


def _decode(model, z_BZ) -> np.ndarray:
    """The mean of p(x | z), (B, *target_shape)."""
    decoded = model.decode(jnp.asarray(z_BZ, jnp.float32))
    return np.asarray(jax.nn.sigmoid(decoded["logits"]) if "logits" in decoded else decoded["mean"])


def _labels(run: train.Run, count: int) -> np.ndarray:
    """The classes of the first evaluation examples, whatever the run's targets are; -1 where the data has none."""
    data = {name: value for name, value in run.fields.data.items() if name != "name"}
    make = DATASETS[run.fields.data["name"]]
    if "targets" not in accepted(make):
        return np.full(count, -1)
    return make(**data | {"targets": "labels"}).evaluation.examples(np.arange(count))["targets"]


if __name__ == "__main__":
    main()
