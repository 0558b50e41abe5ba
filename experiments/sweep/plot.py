"""Draws the curves of one or several runs against steps.

python -m experiments.plot --workdir runs/a runs/b [--metric=loss --out=curves.png]

Thin lines show training batches, and points show whole evaluation splits. Each run is named at the end of its curve.
The colours are those of Okabe & Ito 2008, which people with any kind of colour vision can tell apart.
"""

import argparse
from collections.abc import Sequence
import math
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
import numpy as np

from core.command import command
from core.errors import UserError
from core.files import save_figure
from core.metrics import refuse_unknown
from experiments.sweep.progress import NOT_METRICS, Progress

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^Dv"
GREY = "#5A5A5A"
NAMED = 60  # runs; of more, neither names nor points could be told apart
POINTS = 4000  # of a curve; the picture is 1,280 pixels wide
AS_WRITTEN: Any = {"text.parse_math": False}  # names hold what users call things, and $ in them begins no formula


@matplotlib.rc_context(AS_WRITTEN)
def plot(workdirs: list[str], out: str | Path | None = None, *, metric: str = "loss") -> Path:
    """Draws a metric of one or several runs into one PNG, and returns its path.

    Args:
      workdirs: the folders of the runs.
      out: the path; by default `curves.png` in the folder of a single run, or beside the first of several.

    Raises:
      UserError: a folder holds no run, or a run has no such metric.
    """
    if metric in NOT_METRICS:
        raise UserError(f"--metric={metric}: no metric but a column of the log. Expected one such as loss or accuracy")
    runs = {name: _curves(workdir, metric) for name, workdir in _names(workdirs).items()}
    if out is None:
        first = Path(workdirs[0])
        out = (first if len(workdirs) == 1 else first.resolve().parent) / "curves.png"
    figure = Figure(figsize=(8, 4.5), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    ends, runs_named = [], runs if len(runs) <= NAMED else {}
    if len(runs) > NAMED:
        _draw_many(axes, runs)
    for number, (name, curves) in enumerate(runs_named.items()):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number // len(COLOURS) % len(MARKERS)]
        for split, (steps, values) in curves.items():
            if split == "train":
                axes.plot(steps, values, color=colour, linewidth=0.9, alpha=0.55)
            else:
                style = {"markersize": 5.5, "markeredgecolor": "white", "markeredgewidth": 0.8, "zorder": 3}
                axes.plot(steps, values, color=colour, linewidth=1.8, marker=marker, **style)
        finite = [point for point in zip(*list(curves.values())[-1]) if math.isfinite(point[1])]
        ends += [(*finite[-1], name, colour)] if finite else []
    _style(axes, metric, runs)
    _label_ends(figure, axes, ends)
    save_figure(out, figure)
    return Path(out)


@command
def main(arguments: list[str]) -> None:
    """Runs the command line, and prints the path of the PNG."""
    parser = argparse.ArgumentParser(prog="python -m experiments.plot", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workdir", nargs="+", required=True, metavar="WORKDIR", help="folders of one run or several")
    parser.add_argument("--metric", default="loss", help="what to draw (default %(default)s)")
    parser.add_argument("--out", help="the PNG (default: curves.png, in the folder of a single run, or beside several)")
    args = parser.parse_args(arguments)
    print(plot(args.workdir, args.out, metric=args.metric))


def _names(workdirs: list[str]) -> dict[str, str]:
    """The workdir of each run by its name: that of its folder, or the whole path if two folders have the same name."""
    folders = [Path(workdir).resolve().name for workdir in workdirs]
    return {w if folders.count(folder) > 1 else folder: w for folder, w in zip(folders, workdirs)}


def _curves(workdir: str, metric: str) -> dict[str, tuple[list, list]]:
    """Steps and values for each split that has the metric, "train" first."""
    path = Path(workdir) / "metrics.jsonl"
    if not path.exists():
        raise UserError(f"{path} does not exist: is this the workdir of a run?")
    progress = Progress(path, 1)
    progress.read()
    if not progress.last:
        raise UserError(f"{workdir} has no records yet")
    logged = [name.split("/", 1) for name in progress.last]
    splits = [split for split, name in logged if name == metric]
    if not splits:
        refuse_unknown(f"{workdir} has no metric", metric, sorted({name for _, name in logged}))
    return {split: thin(*progress.curve(f"{split}/{metric}")) for split in sorted(splits, key=lambda s: s != "train")}


def thin(steps: Sequence[int], values: Sequence[float]) -> tuple[list, list]:
    """Returns a curve of at most 4,000 points that looks the same: the lowest and highest points of 2,000 parts."""
    if len(steps) <= POINTS:
        return list(steps), list(values)
    kept, numbers = [0, len(steps) - 1], np.array(values, float)
    for part in np.array_split(np.arange(len(steps)), POINTS // 2 - 1):
        of_part = numbers[part]
        if not np.isnan(of_part).all():
            kept += [int(part[np.nanargmin(of_part)]), int(part[np.nanargmax(of_part)])]
    kept = sorted(set(kept))
    return [steps[i] for i in kept], [values[i] for i in kept]


def _draw_many(axes: Axes, runs: dict) -> None:
    """Draws the curves of many runs as lines without names, which takes a hundredth of the time."""
    for of_train, width, alpha in ((True, 0.6, 0.3), (False, 1.0, 0.6)):
        curves = [
            (np.column_stack(curve), COLOURS[number % len(COLOURS)])
            for number, splits in enumerate(runs.values())
            for split, curve in splits.items()
            if (split == "train") == of_train
        ]
        if curves:
            lines, colours = zip(*curves)
            axes.add_collection(LineCollection(lines, colors=colours, linewidths=width, alpha=alpha))
    axes.autoscale_view()


def _style(axes: Axes, metric: str, runs: dict) -> None:
    units = {"loss": "nats", "accuracy": "share of correct predictions", "learning_rate": "per step"}
    axes.set_ylabel(metric.replace("_", " ") + (f" ({units[metric]})" if metric in units else ""))
    axes.set_xlabel("optimizer steps")
    splits = dict.fromkeys(split for curves in runs.values() for split in curves)
    parts = [f"{len(runs):,} runs"] if len(runs) > NAMED else []
    parts += ["thin: training batches"] if "train" in splits else []
    marked, others = "thick" if len(runs) > NAMED else "points", [split for split in splits if split != "train"]
    parts += [f"{marked}: whole {' / '.join(others)} split"] if others else []
    axes.set_title(" · ".join(parts), loc="left", fontsize=10, color=GREY)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#B0B0B0")
    axes.tick_params(color="#B0B0B0", labelcolor=GREY)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlim(0, 1.01 * axes.dataLim.x1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _label_ends(figure: Figure, axes: Axes, ends: list) -> None:
    """Writes the name of each run to the right of its curve. Names of curves with close ends are moved apart."""
    figure.draw_without_rendering()
    line_height = 15 * figure.dpi / 72
    last = -math.inf
    for step, value, name, colour in sorted(ends, key=lambda end: end[1]):
        y = axes.transData.transform((step, value))[1]
        last = max(y, last + line_height)
        offset = (8, (last - y) * 72 / figure.dpi)
        axes.annotate(
            name, (step, value), offset, textcoords="offset points", va="center", color=colour, fontweight="bold"
        )


if __name__ == "__main__":
    main()
