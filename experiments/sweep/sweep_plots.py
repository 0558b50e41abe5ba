"""Plots of a sweep: the metric against each field, its curves, and a map where two fields were swept."""

import json
from pathlib import Path
from statistics import mean, stdev

import matplotlib
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
import numpy as np

from experiments.sweep.outcomes import Finding, over_seeds, swept, whole
from experiments.sweep.plot import COLOURS, GREY, MARKERS

LINES = len(COLOURS)  # more settings of the other fields are drawn as points


def draw(workdir: str | Path, findings: list[Finding], metric: str, better: str) -> list[Path]:
    """Draws what the sweep has so far into its workdir; gives the paths: `fields.png`, `curves.png`, `map.png`."""
    groups = over_seeds(findings, metric)
    fields = [name for name in swept(findings) if name != "seed"]
    figures = {}
    if groups and fields:
        figures["fields"] = _fields(groups, fields, metric, better)
    if any(finding.curve for finding in findings):
        figures["curves"] = _curves(findings, fields, metric, better)
    if len(fields) == 2 and len(groups) >= 3:
        figures["map"] = _map(groups, fields, metric, better)
    paths = []
    for name, figure in figures.items():
        paths.append(Path(workdir) / f"{name}.png")
        with whole(paths[-1]) as temporary:
            figure.savefig(temporary)
    return paths


def _fields(groups: list, fields: list[str], metric: str, better: str) -> Figure:
    """A panel for each field: means over seeds with their standard deviation, a line for each setting of the others."""
    figure = Figure(figsize=(1.5 + 5 * len(fields), 4.2), dpi=160, layout="constrained")
    panels = figure.subplots(1, len(fields), squeeze=False, sharey=True)[0]
    for number, (name, axes) in enumerate(zip(fields, panels)):
        lines: dict[str, list] = {}
        for overrides, values in groups:
            rest = {other: overrides.get(other) for other in fields if other != name}
            lines.setdefault(json.dumps(rest), []).append((overrides.get(name), values))
        scale = _Scale([overrides.get(name) for overrides, _ in groups])
        for i, (rest, points) in enumerate(sorted(lines.items(), key=lambda item: _order(item[0]))):
            points.sort(key=lambda point: scale.at(point[0]))
            xs = [scale.at(x) for x, _ in points]
            means = [mean(values) for _, values in points]
            spread = [stdev(values) if len(values) > 1 else 0.0 for _, values in points]
            few = len(lines) <= LINES
            colour, marker = (COLOURS[i % LINES], MARKERS[i % len(MARKERS)]) if few else (COLOURS[0], "o")
            label = _named(rest) if few and len(fields) > 1 else None
            axes.errorbar(
                xs, means, spread if any(spread) else None, color=colour, marker=marker, capsize=3, label=label,
                linestyle="-" if few else "none", linewidth=1.6, markersize=5.5, markeredgecolor="white",
                alpha=1.0 if few else 0.6,
            )  # fmt: skip
        scale.dress(axes)
        _dress(axes, name, metric if number == 0 else "")
        if len(fields) > 1 and len(lines) <= LINES:
            axes.legend(frameon=False, fontsize=8, labelcolor=GREY)
    counts = sorted({len(values) for _, values in groups})
    if counts[-1] > 1:
        text = f"mean and standard deviation over {' to '.join(map(str, dict.fromkeys([counts[0], counts[-1]])))} seeds"
        panels[0].set_title(text, loc="left", fontsize=9, color=GREY)
    _limit(panels[0], [mean(values) for _, values in groups], better)
    return figure


def _curves(findings: list[Finding], fields: list[str], metric: str, better: str) -> Figure:
    """The metric of every trial against steps, coloured by the first field of numbers; the best is drawn thick."""
    figure = Figure(figsize=(8, 4.5), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    drawn = [finding for finding in findings if finding.curve]
    numbers = [name for name in fields if all(_is_number(finding.overrides.get(name)) for finding in drawn)]
    colour_of = lambda finding: COLOURS[0]
    if numbers:
        values = [finding.overrides[numbers[0]] for finding in drawn]
        norm = (LogNorm if _spans(values) else Normalize)(min(values), max(values))
        # Its yellow end is left out, which cannot be seen on white.
        colours = matplotlib.colors.ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0, 0.88, 256)))
        colour_of = lambda finding: colours(norm(finding.overrides[numbers[0]]))
        if len(set(values)) <= LINES:
            for value in sorted(set(values)):
                axes.plot([], [], color=colours(norm(value)), marker="o", markersize=4, label=f"{value:g}")
            axes.legend(title=numbers[0], frameon=False, fontsize=8, title_fontsize=8, labelcolor=GREY)
        else:
            figure.colorbar(matplotlib.cm.ScalarMappable(norm, colours), ax=axes, label=numbers[0])
    sign = 1 if better == "min" else -1
    best = min(drawn, key=lambda finding: sign * finding.best(better))
    for finding in drawn:
        steps, values = zip(*finding.curve)
        top = finding is best
        style = {"linewidth": 2.6 if top else 1.0, "alpha": 1.0 if top else 0.6, "zorder": 3 if top else 2}
        axes.plot(steps, values, color=colour_of(finding), marker="o", markersize=5 if top else 2.5, **style)
    axes.set_title(f"thick: {best.name}", loc="left", fontsize=9, color=GREY, wrap=True)
    _dress(axes, "optimizer steps", metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    _limit(axes, [value for finding in drawn for _, value in finding.curve], better)
    return figure


def _limit(axes, values: list[float], better: str) -> None:
    """Cuts off what diverged, which would press all else together, and says so: values beyond Tukey's fence."""
    sign = 1 if better == "min" else -1
    worse = np.sort([sign * value for value in values])
    low, high = np.quantile(worse, [0.25, 0.75])
    fence = high + 1.5 * (high - low)
    inside, outside = worse[worse <= fence], worse[worse > fence]
    if len(outside) and inside[-1] > inside[0]:
        margin = 0.05 * (inside[-1] - inside[0])
        axes.set_ylim(*sorted((sign * (inside[0] - margin), sign * (inside[-1] + margin))))
        title = axes.get_title(loc="left")
        text = f"{title}{' · ' if title else ''}off the scale: {len(outside)}"
        axes.set_title(text, loc="left", fontsize=9, color=GREY)


def _map(groups: list, fields: list[str], metric: str, better: str) -> Figure:
    """Means over seeds as a table in colour, of two fields; the best is framed."""
    down, across = fields
    rows, columns = ({json.dumps(o.get(name)): o.get(name) for o, _ in groups} for name in fields)
    rows, columns = (sorted(found.values(), key=lambda value: _order(json.dumps(value))) for found in (rows, columns))
    grid = np.full((len(rows), len(columns)), np.nan)
    for overrides, values in groups:
        grid[rows.index(overrides.get(down)), columns.index(overrides.get(across))] = mean(values)
    figure = Figure(figsize=(2.2 + 0.95 * len(columns), 1.6 + 0.6 * len(rows)), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    colours = matplotlib.colormaps["viridis_r" if better == "min" else "viridis"].with_extremes(bad="#EEEEEE")
    ordered = np.sort(grid[np.isfinite(grid)])
    worst = float(np.quantile(ordered, 0.9 if better == "min" else 0.1))  # one that diverged shall not hide the rest
    best = float(ordered[0 if better == "min" else -1])
    norm = Normalize(*sorted((best, worst)), clip=True)
    image = axes.imshow(grid, cmap=colours, norm=norm, aspect="auto")
    for (y, x), value in np.ndenumerate(grid):
        if np.isfinite(value):
            dark = sum(colours(norm(value))[:3]) < 1.5
            axes.text(x, y, f"{value:.4g}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
        if value == best:
            style = {"fill": False, "edgecolor": "#D55E00", "linewidth": 3, "clip_on": False, "zorder": 3}
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, **style))
    axes.set_xticks(range(len(columns)), [_short(value) for value in columns])
    axes.set_yticks(range(len(rows)), [_short(value) for value in rows])
    axes.set_xlabel(across)
    axes.set_ylabel(down)
    axes.tick_params(length=0, labelcolor=GREY)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label=metric)
    return figure


class _Scale:
    """Where the values of a field stand on an axis: numbers on a linear or logarithmic one, others side by side."""

    def __init__(self, values: list):
        self._names = None
        self._log = False
        if all(map(_is_number, values)):
            self._ticks = sorted(set(values))
            self._log = _spans(self._ticks)
        else:
            self._names = sorted({json.dumps(value) for value in values}, key=_order)

    def at(self, value) -> float:
        return float(value) if self._names is None else float(self._names.index(json.dumps(value)))

    def dress(self, axes) -> None:
        if self._names is not None:
            axes.set_xticks(range(len(self._names)), [json.loads(name) for name in self._names])
            return
        if self._log:
            axes.set_xscale("log")
        if len(self._ticks) <= 8:
            axes.set_xticks(self._ticks, [f"{tick:g}" for tick in self._ticks])
            axes.set_xticks([], minor=True)


def _dress(axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#B0B0B0")
    axes.tick_params(color="#B0B0B0", labelcolor=GREY)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _spans(values: list) -> bool:
    """Whether numbers are better told apart on a logarithmic axis."""
    return min(values) > 0 and max(values) / min(values) >= 4


def _order(text: str) -> tuple:
    """Sorts JSON texts: numbers by size, before anything else."""
    value = json.loads(text)
    value = next(iter(value.values()), None) if isinstance(value, dict) else value
    return (0, value, text) if _is_number(value) else (1, 0, text)


def _named(rest: str) -> str:
    return ", ".join(f"{name.split('.')[-1]} {_short(value)}" for name, value in json.loads(rest).items())


def _short(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
