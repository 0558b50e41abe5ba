"""Plots of a sweep: the metric against each field, its curves, and a map if the sweep has two fields."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
import numpy as np

from experiments.figures import style
from experiments.sweep.outcomes import Outcome, Setting, over_seeds, swept_fields
from experiments.sweep.plot import AS_WRITTEN, COLOURS, MARKERS, thin

MANY = 200  # curves; more are drawn without points, which takes a hundredth of the time
MAP = 40  # values of a field that a map can show
LINES = COLOURS  # the largest number of settings of the other fields that are drawn as lines; more are points
SMALL = 13  # points, of titles and legends
ACROSS = 3  # panels beside one another

# Draws into an empty figure in the current theme; the number is not used.
Draw = Callable[[Figure, None], None]


@matplotlib.rc_context(AS_WRITTEN)
def draw(workdir: str | Path, outcomes: Sequence[Outcome], metric: str, better: str) -> list[Path]:
    """Draws the outcomes so far into the workdir, as PNG and SVG, light and dark: `fields`, `curves` and `map`.

    Args:
      metric, better: what trials are compared by, and whether its "min" or "max" is better.

    Returns:
      The paths of the pictures.
    """
    settings = over_seeds(outcomes, metric)
    fields = swept_fields(outcomes)
    figures: dict[str, tuple[Draw, tuple[float, float]]] = {}
    if settings and fields:
        across, down = min(len(fields), ACROSS), -(-len(fields) // ACROSS)
        size = style.SIZE if len(fields) == 1 else (1.5 + 5 * across, 5.8 * down)
        figures["fields"] = (partial(_fields, settings=settings, fields=fields, metric=metric, better=better), size)
    if any(outcome.curve for outcome in outcomes):
        show = partial(_curves, outcomes=outcomes, fields=fields, metric=metric, better=better)
        figures["curves"] = (show, style.SIZE)
    cells = [len(_values(settings, name)) for name in fields]
    if len(fields) == 2 and len(settings) >= 3 and max(cells) <= MAP:
        show = partial(_map, settings=settings, fields=fields, metric=metric, better=better)
        figures["map"] = (show, (3.2 + 1.1 * cells[1], 2.2 + 0.7 * cells[0]))
    return [
        path for name, (show, size) in figures.items() for path in style.draw(show, None, Path(workdir) / name, size)
    ]


def _fields(
    figure: Figure, _: object, *, settings: Sequence[Setting], fields: Sequence[str], metric: str, better: str
) -> None:  # fmt: skip
    """A panel for each field: means and deviations over seeds, with a line for each setting of the other fields."""
    across, down = min(len(fields), ACROSS), -(-len(fields) // ACROSS)
    panels = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axes in panels[len(fields) :]:
        axes.remove()
    for number, (name, axes) in enumerate(zip(fields, panels)):
        lines: dict[str, list[tuple[Any, list[float]]]] = {}
        for setting in settings:
            others = {other: setting.overrides.get(other) for other in fields if other != name}
            lines.setdefault(json.dumps(others), []).append((setting.overrides.get(name), setting.values))
        few = len(lines) <= LINES
        if not few:
            lines = {"{}": [point for points in lines.values() for point in points]}
        scale = _Scale([setting.overrides.get(name) for setting in settings])
        for i, (others, points) in enumerate(sorted(lines.items(), key=lambda item: _order(item[0]))):
            points.sort(key=lambda point: scale.at(point[0]))
            xs = [scale.at(x) for x, _ in points]
            means = [mean(values) for _, values in points]
            spread = [stdev(values) if len(values) > 1 else 0.0 for _, values in points]
            colour, marker = (f"C{i}", MARKERS[i % len(MARKERS)]) if few else ("C0", "o")
            label = _label(others) if few and len(fields) > 1 else None
            axes.errorbar(
                xs, means, spread if any(spread) else None, color=colour, marker=marker, capsize=4, label=label,
                linestyle="-" if few else "none", linewidth=2.2, markersize=7.5,
                markeredgecolor=matplotlib.rcParams["axes.facecolor"], alpha=1.0 if few else 0.6,
            )  # fmt: skip
        scale.apply(axes)
        _style(axes, name, metric if number % ACROSS == 0 else "")
        if len(fields) > 1 and few:
            short = max(len(_label(others)) for others in lines) < 24
            # Inside the panel it would lie on lines.
            axes.legend(loc="upper left", bbox_to_anchor=(-0.05, -0.17), ncols=2 if short else 1)
    counts = sorted({len(setting.values) for setting in settings})
    if counts[-1] > 1:
        text = f"mean and deviation over {' to '.join(map(str, dict.fromkeys([counts[0], counts[-1]])))} seeds"
        panels[0].set_title(text, fontsize=SMALL)
    _limit(panels[0], [mean(setting.values) for setting in settings], better)


def _curves(
    figure: Figure, _: object, *, outcomes: Sequence[Outcome], fields: Sequence[str], metric: str, better: str
) -> None:  # fmt: skip
    """The metric of every trial against steps, coloured by the first field of numbers. The best curve is thick."""
    axes = figure.add_subplot()
    scores = [(outcome, best) for outcome in outcomes if (best := outcome.best(better)) is not None]
    numbers = [name for name in fields if all(_is_number(outcome.overrides.get(name)) for outcome, _ in scores)]
    line_colours: Any = ["C0"] * len(scores)
    if numbers:
        values = [outcome.overrides[numbers[0]] for outcome, _ in scores]
        norm = (LogNorm if _spans(values) else Normalize)(min(values), max(values))
        colours = style.visible_viridis()
        line_colours = colours(norm(values))
        if len(set(values)) <= LINES:
            for value in sorted(set(values)):
                axes.plot([], [], color=colours(norm(value)), marker="o", markersize=6, label=f"{value:g}")
            axes.legend(title=numbers[0], title_fontsize=SMALL)
        else:
            figure.colorbar(ScalarMappable(norm, colours), ax=axes, label=numbers[0])
    sign = 1 if better == "min" else -1
    best, _ = min(scores, key=lambda pair: sign * pair[1])
    if len(scores) > MANY:
        lines = [outcome.curve for outcome, _ in scores]
        axes.add_collection(LineCollection(lines, colors=line_colours, linewidths=1, alpha=0.4, rasterized=True))
        axes.autoscale_view()
    for (outcome, _), colour in zip(scores, line_colours):
        if outcome is not best and len(scores) > MANY:
            continue
        steps, values = thin(*zip(*outcome.curve))
        top = outcome is best
        look = {"linewidth": 3.4 if top else 1.4, "alpha": 1.0 if top else 0.6, "zorder": 3 if top else 2}
        axes.plot(steps, values, color=colour, marker="o", markersize=7 if top else 3.5, **look)
    axes.set_title(f"thick: {best.name}", fontsize=SMALL, wrap=True)
    _style(axes, "optimizer steps", metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    _limit(axes, [value for outcome, _ in scores for _, value in outcome.curve], better)


def _limit(axes: Axes, values: list[float], better: str) -> None:
    """Cuts off values beyond Tukey's fence, and says so: runs that diverged would leave no space for the others."""
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
        axes.set_title(text, fontsize=SMALL)


def _map(
    figure: Figure, _: object, *, settings: Sequence[Setting], fields: Sequence[str], metric: str, better: str
) -> None:  # fmt: skip
    """Means over seeds for each pair of values of two fields, as a coloured table. The best is framed."""
    down, across = fields
    rows, columns = (_values(settings, name) for name in fields)
    grid = np.full((len(rows), len(columns)), np.nan)
    for setting in settings:
        row, column = rows.index(setting.overrides.get(down)), columns.index(setting.overrides.get(across))
        grid[row, column] = mean(setting.values)
    axes = figure.add_subplot()
    colours = matplotlib.colormaps["viridis_r" if better == "min" else "viridis"]
    colours = colours.with_extremes(bad=matplotlib.rcParams["grid.color"])
    ordered = np.sort(grid[np.isfinite(grid)])
    worst = float(np.quantile(ordered, 0.9 if better == "min" else 0.1))  # a run that diverged must not hide the others
    best = float(ordered[0 if better == "min" else -1])
    norm = Normalize(*sorted((best, worst)), clip=True)
    image = axes.imshow(grid, cmap=colours, norm=norm, aspect="auto")
    for (y, x), value in np.ndenumerate(grid):
        if np.isfinite(value):
            dark = sum(colours(norm(value))[:3]) < 1.5
            axes.text(x, y, f"{value:.4g}", ha="center", va="center", fontsize=14, color="white" if dark else "black")
        if value == best:
            frame = {"fill": False, "edgecolor": "#D55E00", "linewidth": 4, "clip_on": False, "zorder": 3}
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, **frame))
    axes.set_xticks(range(len(columns)), [_short(value) for value in columns])
    axes.set_yticks(range(len(rows)), [_short(value) for value in rows])
    axes.set_xlabel(across)
    axes.set_ylabel(down)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label=metric)


def _values(settings: Sequence[Setting], name: str) -> list:
    """The values of a field, sorted."""
    values = {json.dumps(setting.overrides.get(name)): setting.overrides.get(name) for setting in settings}
    return [values[text] for text in sorted(values, key=_order)]


class _Scale:
    """The positions of a field's values on an axis: numbers on a linear or logarithmic one, others side by side."""

    def __init__(self, values: list):
        self._names = None
        self._log = False
        if all(map(_is_number, values)):
            self._ticks = sorted(set(values))
            self._log = _spans(self._ticks)
        else:
            self._names = sorted({json.dumps(value) for value in values}, key=_order)

    def at(self, value: Any) -> float:
        """Returns the position of a value."""
        return float(value) if self._names is None else float(self._names.index(json.dumps(value)))

    def apply(self, axes: Axes) -> None:
        """Sets the scale and the ticks of an axis."""
        if self._names is not None:
            axes.set_xticks(range(len(self._names)), [json.loads(name) for name in self._names])
            return
        if self._log:
            axes.set_xscale("log")
        if len(self._ticks) <= 8:
            axes.set_xticks(self._ticks, [f"{tick:g}" for tick in self._ticks])
            axes.set_xticks([], minor=True)


def _style(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    style.grid(axes, "y")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _spans(values: list) -> bool:
    """Whether numbers are easier to tell apart on a logarithmic axis."""
    return min(values) > 0 and max(values) / min(values) >= 4


def _order(text: str) -> tuple:
    """A key that sorts JSON texts: numbers by size, before anything else."""
    value = json.loads(text)
    value = next(iter(value.values()), None) if isinstance(value, dict) else value
    return (0, value, text) if _is_number(value) else (1, 0, text)


def _label(others: str) -> str:
    fields: Mapping[str, Any] = json.loads(others)
    return ", ".join(f"{name.split('.')[-1]} {_short(value)}" for name, value in fields.items())


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
