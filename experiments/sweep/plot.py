"""Draws the curves of one or several runs against steps.

python -m experiments.plot --workdir runs/a runs/b [--metric loss accuracy --out=pictures/curves]

Thin lines show training batches, and points show whole evaluation splits. Each run is named at the end of its curve.
Numbers of different kinds do not share an axis: each metric has its panel, and so has each kind of loss.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
import math
from pathlib import Path
import shlex
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
import numpy as np

from core.command import command
from core.errors import UserError
from core.files import read_json
from core.metrics import refuse_unknown
from core.next_commands import next_text
from experiments.figures.style import SIZE, draw, drawn, grid
from experiments.sweep.progress import NOT_METRICS, Progress

# What one unit of the loss of an objective is. Losses of others are their own kind, called by the objective.
LOSSES = {
    "classification": "nats per example", "language_modeling": "nats per token",
    "masked_language_modeling": "nats per hidden token", "regression": "mean squared error",
    "segmentation": "nats per pixel", "seq2seq": "nats per token",
    "variational": "KL + NLL in nats per example",
}  # fmt: skip
UNITS = {"accuracy": "share of correct predictions", "learning_rate": "per step"}
COLOURS = 5  # of a theme
MARKERS = "os^Dv"
NAMED = 16  # runs; the names of more do not fit into the height of a panel
POINTS = 4000  # of a curve; the picture is 1,600 pixels wide
AS_WRITTEN: Any = {"text.parse_math": False}  # names hold what users call things, and $ in them begins no formula
PANEL = (7.0, 5.0)  # inches, of several

Curve = tuple[Sequence[int], Sequence[float]]


@dataclass(frozen=True)
class Panel:
    """What one pair of axes shows.

    Attributes:
      metric, unit: its name, and what its numbers are, or "".
      runs: for the number of each run, its curves by split, "train" first.
    """

    metric: str
    unit: str
    runs: dict[int, dict[str, Curve]] = field(default_factory=dict)


@matplotlib.rc_context(AS_WRITTEN)
def plot(workdirs: Sequence[str], out: str | Path | None = None, *, metrics: Sequence[str] = ("loss",)) -> list[Path]:
    """Draws metrics of one or several runs, as PNG and SVG, light and dark. Returns the paths of the pictures.

    Args:
      workdirs: the folders of the runs.
      out: the path, without an ending or with one of these two; by default `curves` in the folder of a single run, or
        beside the first of several.
      metrics: what to draw.

    Raises:
      UserError: a folder holds no run, a run has no such metric, or `out` ends otherwise.
    """
    for metric in metrics:
        if metric in NOT_METRICS:
            raise UserError(
                f"--metric {metric}: no metric but a column of the log. Expected one such as loss or accuracy"
            )
    stem = _stem(workdirs, out)
    runs = _names(workdirs)
    panels = _panels(list(runs.values()), list(dict.fromkeys(metrics)))
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    size = SIZE if len(panels) == 1 else (PANEL[0] * columns, PANEL[1] * rows)

    def show(figure: Figure, panels: Sequence[Panel]) -> None:
        places = figure.subplots(rows, columns, squeeze=False).ravel()
        ends = [_draw(axes, panel, list(runs)) for axes, panel in zip(places, panels)]
        for axes in places[len(panels) :]:
            axes.remove()
        figure.draw_without_rendering()  # decides where the curves end on the page
        for axes, ends_of_curves in zip(places, ends):
            _label_ends(axes, ends_of_curves, figure.dpi)

    return draw(show, panels, stem, size)


@command
def main(arguments: list[str]) -> None:
    """Runs the command line, and prints where the pictures are."""
    parser = argparse.ArgumentParser(prog="python -m experiments.plot", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workdir", nargs="+", required=True, metavar="WORKDIR", help="folders of one run or several")
    parser.add_argument("--metric", nargs="+", default=["loss"], metavar="METRIC", help="what to draw (default loss)")
    parser.add_argument("--out", help="path of the pictures (default: curves, in the folder of a run, or beside runs)")
    args = parser.parse_args(arguments)
    paths = plot(args.workdir, args.out, metrics=args.metric)
    print(drawn(paths[0].parent, paths))
    print(next_text(_next(args.workdir, args.metric)))


def _next(workdirs: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """Command lines that go on from here."""
    lines = []
    others = sorted({name.split("/", 1)[1] for name in _read(workdirs[0]).last} - {*metrics, "learning_rate"})
    if len(workdirs) == 1 and others:
        further_metrics = " ".join([*metrics, *others][: len(metrics) + 1])
        lines.append(f"python -m experiments.plot --workdir {shlex.quote(workdirs[0])} --metric {further_metrics}")
    return [*lines, f"python -m experiments.inspect --workdir={shlex.quote(workdirs[0])}"]


def _stem(workdirs: Sequence[str], out: str | Path | None) -> Path:
    """The path of the pictures without their endings."""
    if out is None:
        first = Path(workdirs[0])
        return (first if len(workdirs) == 1 else first.resolve().parent) / "curves"
    if Path(out).suffix.lower() in (".png", ".svg"):
        return Path(out).with_suffix("")
    if Path(out).suffix.lower() in (".pdf", ".jpg", ".jpeg", ".eps", ".webp"):
        raise UserError(f"--out={out}: the pictures are PNG and SVG. Leave the ending out")
    return Path(out)


def _names(workdirs: Sequence[str]) -> dict[str, str]:
    """The workdir of each run by its name: that of its folder, or the whole path if two folders have the same name."""
    folders = [Path(workdir).resolve().name for workdir in workdirs]
    return {w if folders.count(folder) > 1 else folder: w for folder, w in zip(folders, workdirs)}


def _panels(workdirs: Sequence[str], metrics: Sequence[str]) -> list[Panel]:
    """The panels in the order of the metrics, each with the runs whose numbers are of its kind."""
    panels: dict[tuple[str, str], Panel] = {}
    for number, workdir in enumerate(workdirs):
        progress, loss = _read(workdir), _kind_of_loss(workdir)
        for metric in metrics:
            unit = loss if metric == "loss" else UNITS.get(metric, "")
            panel = panels.setdefault((metric, unit), Panel(metric, unit))
            panel.runs[number] = _curves(workdir, progress, metric)
    return sorted(panels.values(), key=lambda panel: metrics.index(panel.metric))


def _kind_of_loss(workdir: str) -> str:
    path = Path(workdir) / "config.json"
    objective = read_json(path, "objective")["objective"] if path.exists() else None
    name = str(objective.get("name", "")) if isinstance(objective, Mapping) else ""
    return LOSSES.get(name, name.replace("_", " "))


def _read(workdir: str) -> Progress:
    """The log of a run."""
    path = Path(workdir) / "metrics.jsonl"
    if not path.exists():
        raise UserError(f"{path} does not exist: is this the workdir of a run?")
    progress = Progress(path, 1)
    progress.read()
    if not progress.last:
        raise UserError(f"{workdir} has no records yet")
    return progress


def _curves(workdir: str, progress: Progress, metric: str) -> dict[str, Curve]:
    """Steps and values for each split that has the metric, "train" first."""
    logged = [name.split("/", 1) for name in progress.last]
    splits = [split for split, name in logged if name == metric]
    if not splits:
        refuse_unknown(f"{workdir} has no metric", metric, sorted({name for _, name in logged}))
    return {split: thin(*progress.curve(f"{split}/{metric}")) for split in sorted(splits, key=lambda s: s != "train")}


def thin(steps: Sequence[int], values: Sequence[float]) -> tuple[list, list]:
    """Returns a curve of at most 4,000 points that looks the same: the lowest and highest points of 2,000 parts."""
    if len(steps) <= POINTS:
        return list(steps), list(values)
    indices, numbers = [0, len(steps) - 1], np.array(values, float)
    for part in np.array_split(np.arange(len(steps)), POINTS // 2 - 1):
        of_part = numbers[part]
        if not np.isnan(of_part).all():
            indices += [int(part[np.nanargmin(of_part)]), int(part[np.nanargmax(of_part)])]
    indices = sorted(set(indices))
    return [steps[i] for i in indices], [values[i] for i in indices]


def _draw(axes: Axes, panel: Panel, names: Sequence[str]) -> list[tuple[float, float, str, str]]:
    """Draws the curves of a panel. Returns where those with names end: step, value, name and colour."""
    ends = []
    if len(panel.runs) > NAMED:
        _draw_many(axes, panel.runs)
    for number, curves in panel.runs.items() if len(panel.runs) <= NAMED else ():
        colour, marker = f"C{number % COLOURS}", MARKERS[number // COLOURS % len(MARKERS)]
        for split, (steps, values) in curves.items():
            if split == "train":
                axes.plot(steps, values, color=colour, linewidth=1.2, alpha=0.6)
            else:
                edge = matplotlib.rcParams["axes.facecolor"]
                style = {"markersize": 7.5, "markeredgecolor": edge, "markeredgewidth": 0.9, "zorder": 3}
                axes.plot(steps, values, color=colour, marker=marker, **style)
        finite = [point for point in zip(*list(curves.values())[-1]) if math.isfinite(point[1])]
        ends += [(*finite[-1], names[number], colour)] if finite else []
    _style(axes, panel)
    return ends


def _draw_many(axes: Axes, runs: Mapping[int, Mapping[str, Curve]]) -> None:
    """Draws the curves of many runs as lines without names, which takes a hundredth of the time."""
    for of_train, width, alpha in ((True, 0.8, 0.3), (False, 1.4, 0.6)):
        curves = [
            (np.column_stack(curve), f"C{number % COLOURS}")
            for number, splits in runs.items()
            for split, curve in splits.items()
            if (split == "train") == of_train
        ]
        if curves:
            lines, colours = zip(*curves)
            style = {"linewidths": width, "alpha": alpha, "rasterized": True}  # a browser would draw for minutes
            axes.add_collection(LineCollection(lines, colors=colours, **style))
    axes.autoscale_view()


def _style(axes: Axes, panel: Panel) -> None:
    axes.set_ylabel(panel.metric.replace("_", " ") + (f" ({panel.unit})" if panel.unit else ""))
    axes.set_xlabel("optimizer steps")
    many = len(panel.runs) > NAMED
    splits = dict.fromkeys(split for curves in panel.runs.values() for split in curves)
    parts = [f"{len(panel.runs):,} runs"] if many else []
    parts += ["thin: training batches"] if "train" in splits else []
    others = [split for split in splits if split != "train"]
    parts += [f"{'thick' if many else 'points'}: whole {' / '.join(others)} split"] if others else []
    axes.set_title(" · ".join(parts), fontsize=13)
    grid(axes, "y")
    axes.set_xlim(0, 1.01 * axes.dataLim.x1)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]], dpi: float) -> None:
    """Writes the name of each run to the right of its curve. Names of curves with close ends are moved apart."""
    line_height = 18 * dpi / 72
    ends = sorted(ends, key=lambda end: end[1])
    heights = [axes.transData.transform(end[:2])[1] for end in ends]
    lines = list(heights)
    for i in range(1, len(lines)):
        lines[i] = max(lines[i], lines[i - 1] + line_height)
    top = axes.bbox.y1
    for i in reversed(range(len(lines))):  # what was moved beyond the top moves the others down
        lines[i] = min(lines[i], top)
        top = lines[i] - line_height
    for (step, value, name, colour), height, line in zip(ends, heights, lines):
        axes.annotate(
            name, (step, value), (10, (line - height) * 72 / dpi), textcoords="offset points", va="center",
            color=colour, fontweight="bold", fontsize=13,
        )  # fmt: skip


if __name__ == "__main__":
    main()
