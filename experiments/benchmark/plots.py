"""Figures of a benchmark: seeds, score against cost, learning curves, scaling. A family looks the same in all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import math
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path as Outline
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
import numpy as np

from core.files import save_figure
from experiments.benchmark import tables
from experiments.benchmark.scores import FinalRun, Scores
from experiments.benchmark.statistics import interval
from experiments.benchmark.suite import Suite
from experiments.benchmark.tables import Row
from experiments.figures.style import THEMES, grid, ink
from experiments.sweep.plot import MARKERS

# Those of Okabe & Ito 2008, which people with any kind of colour vision can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SHADES = (*COLOURS, "#8C6D31", "#7F7F7F")
SIZE = (7.5, 4.6)  # inches
FRONT = "The dashed line is the Pareto front: no other family has a better mean for less."

Style = Mapping[str, Any]  # colour and marker of a family


@dataclass(frozen=True)
class Picture:
    """A figure in the workdir.

    Attributes:
      caption: what to look at.
      path: of the SVG, next to which lies a PNG.
    """

    title: str
    caption: str
    path: Path


@dataclass(frozen=True)
class _View:
    """What the figures show: the families that are done, with their rows of the table and their styles."""

    scores: Scores
    rows: list[Row]
    styles: Mapping[str, Style]

    @property
    def rules(self) -> Suite:
        return self.scores.rules


@dataclass(frozen=True)
class _Plot:
    name: str
    title: str
    caption: str
    draw: Callable[[Axes, _View], None]
    label: str = ""  # of the x axis


def draw(scores: Scores, workdir: Path) -> list[Picture]:
    """Draws all figures for which there is data into a folder. Families that failed are in none of them.

    The PNG of a figure has a legend; the SVG has none, because the page has one for all of them (`key`).
    """
    rows = [row for row in tables.rows(scores) if row.score is not None]
    view = _View(scores, rows, _styles(scores))
    return [_save(plot, view, workdir) for plot in _plots(view)] if rows else []


def key(scores: Scores) -> list[tuple[str, str, str]]:
    """Returns the families in the figures: name, colour, and marker as an SVG path that is two units wide."""
    styles, rows = _styles(scores), tables.rows(scores)
    names = [row.family for row in rows if row.score is not None]
    return [(name, styles[name]["color"], _svg_path(styles[name]["marker"])) for name in names]


def _styles(scores: Scores) -> dict[str, Style]:
    return {name: {"color": SHADES[i % len(SHADES)], "marker": MARKERS[i % len(MARKERS)]}
            for i, name in enumerate(scores.families)}  # fmt: skip


def _svg_path(marker: str) -> str:
    style = MarkerStyle(marker)
    path = style.get_path().transformed(style.get_transform())
    size = np.abs(path.vertices).max()
    letters, words = {Outline.MOVETO: "M", Outline.LINETO: "L", Outline.CURVE3: "Q", Outline.CURVE4: "C"}, []
    for points, code in path.iter_segments():
        if code == Outline.CLOSEPOLY:
            words.append("Z")
            continue
        ends = points.reshape(-1, 2) / size * [1, -1]  # the y axis of SVG points down
        words.append(letters[code] + " ".join(f"{x:.3f},{y:.3f}" for x, y in ends))
    return "".join(words)


def _plots(view: _View) -> list[_Plot]:
    rules, score = view.rules, view.rules.score.capitalize()
    plots = [
        _Plot(
            "seeds", "Every seed",
            f"A point is a run on the test split, the bar the 95 % interval of the mean {rules.score}. Before the "
            "name are the ranks that are possible.", _seeds,
        ),
        _Plot(
            "flops", f"{score} against training FLOPs",
            f"FLOPs of the final run: those of an example times the number of examples. {FRONT}",
            lambda axes, view: _front(axes, view, lambda row: row.train_flops * rules.examples), "training FLOPs",
        ),
        _Plot(
            "inference", f"{score} against inference time",
            f"For an example at the measured speed, in batches of {rules.batch_size}. {FRONT}",
            lambda axes, view: _front(axes, view, lambda row: 1e6 / row.inference_speed),
            "inference time, microseconds an example",
        ),
        _Plot(
            "time", f"{score} against training time",
            "Seconds of the final run at the measured speed, on the machine named below.",
            lambda axes, view: _against(axes, view, lambda row: rules.examples / row.train_speed),
            "training time, s",
        ),
        _Plot(
            "parameters", f"{score} against parameters", "The grey band is the budget of the suite.", _parameters,
            "parameters",
        ),
        _Plot(
            "curves", "Learning curves",
            "On validation data: the mean over seeds, and a band from the lowest to the highest.", _curves,
        ),
    ]  # fmt: skip
    families = [view.scores.participants[row.family] for row in view.rows]
    if any(run.score is not None for family in families for run in family.tuning.tried):
        plots.append(_Plot(
            "tuning", "Tuning",
            "On validation data: at each learning rate, the better of the two values of the other field. The chosen "
            "setting is circled. Runs that failed are left out.", _tuning, "learning rate",
        ))  # fmt: skip
    if any(family.sizes for family in families):
        plots.append(_Plot(
            "scaling", "Scaling", "The tuned setting at several sizes: the mean over seeds and its 95 % interval.",
            _scaling, "parameters",
        ))  # fmt: skip
    if any(family.by for family in families):
        field = rules.by[0].rpartition(".")[2].replace("_", " ")
        plots.append(_Plot(
            "by", f"{score} by {field}",
            "The setting was tuned at one of the values and is used at all: the mean over seeds and its 95 % interval.",
            _difficulties, field,
        ))  # fmt: skip
    return plots


def _save(plot: _Plot, view: _View, workdir: Path) -> Picture:
    theme: Any = THEMES[""] | {"font.size": 13, "axes.labelsize": 13}
    with matplotlib.rc_context(theme):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        plot.draw(axes, view)
        if plot.label:
            axes.set_xlabel(plot.label)
        if plot.name != "seeds":
            axes.set_ylabel(view.rules.score)
            axes.yaxis.set_major_formatter(_score_format(view.rules))
            grid(axes, "y")
        path = workdir / f"{plot.name}.svg"
        save_figure(path, figure, metadata={"Date": None})
        if plot.name != "seeds":
            figure.legend(loc="outside right upper", fontsize=11)
        save_figure(path.with_suffix(".png"), figure)
    return Picture(plot.title, plot.caption, path)


def _seeds(axes: Axes, view: _View) -> None:
    for place, row in enumerate(view.rows):
        scores = sorted(run.score for run in view.scores.participants[row.family].runs)
        # Equal scores are drawn above one another, so that every seed is visible.
        heights = [0.15 * (scores[:at].count(score) - (scores.count(score) - 1) / 2) for at, score in enumerate(scores)]
        colour = view.styles[row.family]["color"]
        if row.interval:
            axes.plot(row.interval, [place, place], color=colour, linewidth=5, alpha=0.35)
        points = [place + height for height in heights]
        axes.plot(scores, points, "o", color=colour, markersize=7, markeredgecolor="white")
        axes.plot([_score(row)], [place], "|", color=ink(), markersize=18, markeredgewidth=2)
    ranks = [f"{tables.rank_text(row.rank)}  " if row.rank else "" for row in view.rows]
    axes.set_yticks(range(len(view.rows)), [rank + row.family for rank, row in zip(ranks, view.rows)])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"{view.rules.score}, test split")
    axes.xaxis.set_major_formatter(_score_format(view.rules))
    grid(axes, "x")


def _against(axes: Axes, view: _View, cost: Callable[[Any], float]) -> None:
    """The score of each family against a cost that is computed from its row."""
    for row in view.rows:
        score, style = _score(row), view.styles[row.family]
        if row.interval:
            errors = [[score - row.interval[0]], [row.interval[1] - score]]
            axes.errorbar(cost(row), score, errors, fmt="none", ecolor=style["color"], capsize=3, linewidth=1.6)
        axes.plot(cost(row), score, **style, linestyle="none", markersize=9, label=row.family)
    _logarithmic(axes)


def _front(axes: Axes, view: _View, cost: Callable[[Any], float]) -> None:
    """`_against`, with the Pareto front of each task as steps: from the cheapest family to the best."""
    _against(axes, view, cost)
    for among in dict.fromkeys(row.among for row in view.rows):
        best, points = -math.inf, []
        for row in sorted((row for row in view.rows if row.among == among), key=cost):
            if (value := view.rules.sign * _score(row)) > best:
                best = value
                points.append((cost(row), _score(row)))
        axes.step(*zip(*points), where="post", color=ink(), linestyle="--", linewidth=1, alpha=0.6, zorder=1)


def _parameters(axes: Axes, view: _View) -> None:
    _against(axes, view, lambda row: row.parameters)
    budget, tolerance = view.rules.budget, view.rules.tolerance
    axes.axvspan(budget * (1 - tolerance), budget * (1 + tolerance), color="#808080", alpha=0.12, linewidth=0)
    axes.set_xscale("linear")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))


def _curves(axes: Axes, view: _View) -> None:
    target, visible = view.rules.target, []
    for row in view.rows:
        curves = [run.curve for run in view.scores.participants[row.family].runs]
        examples = [at for at, _ in min(curves, key=len)]
        values = np.array([[score for _, score in curve[: len(examples)]] for curve in curves])
        means, style = values.mean(0), view.styles[row.family]
        axes.fill_between(
            examples, values.min(0), values.max(0), color=style["color"], alpha=0.1, linewidth=0, zorder=1
        )
        axes.plot(examples, means, **style, markersize=5, linewidth=2, zorder=3, label=row.family)
        visible += means[len(examples) // 4 :].tolist()  # the steep first quarter would flatten the rest
    axes.axhline(target, color=ink(), linewidth=1, linestyle=":")
    axes.text(0.005, target, "target", transform=axes.get_yaxis_transform(), va="bottom", fontsize=11)
    axes.set_xlabel("examples seen")
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    _limit(axes, [*visible, target])


def _tuning(axes: Axes, view: _View) -> None:
    sign, visible = view.rules.sign, []
    for row in view.rows:
        family, style = view.scores.participants[row.family], view.styles[row.family]
        scores_at: dict[float, list[float]] = {}
        for run in family.tuning.tried:
            if run.score is not None and run.study == 0:
                scores_at.setdefault(run.setting["optimizer.learning_rate"], []).append(run.score)
        if not scores_at:
            continue
        best = {rate: max(scores_at[rate], key=lambda score: sign * score) for rate in sorted(scores_at)}
        axes.plot(list(best), list(best.values()), **style, markersize=6, linewidth=2, label=row.family)
        chosen = family.setting["optimizer.learning_rate"]
        axes.plot(chosen, best[chosen], "o", color=style["color"], fillstyle="none", markersize=15)
        visible += sorted(best.values(), key=lambda score: -sign * score)[: -(-len(best) // 2)]  # the better half
    axes.set_xscale("log")
    rates = view.scores.rates or view.rules.rates
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.xaxis.set_minor_formatter(NullFormatter())
    _limit(axes, visible)


def _scaling(axes: Axes, view: _View) -> None:
    for row in view.rows:
        family = view.scores.participants[row.family]
        runs: dict[float, list[FinalRun]] = {}
        for size in [family.runs, *family.sizes.values()]:
            runs[size[0].parameters] = size
        _means(axes, runs, row.family, view.styles[row.family])
    _logarithmic(axes)


def _difficulties(axes: Axes, view: _View) -> None:
    field, rules = view.rules.by[0], view.rules
    tuned = view.scores.protocol.overrides.get(field, rules.data[field.removeprefix("data.")])
    for row in view.rows:
        family = view.scores.participants[row.family]
        runs = {float(variant.partition("=")[2]): listed for variant, listed in family.by.items()}
        _means(axes, runs | {tuned: family.runs}, row.family, view.styles[row.family])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _means(axes: Axes, runs: Mapping[float, Sequence[FinalRun]], family: str, style: Style) -> None:
    """A line through the mean over seeds at each place of the x axis, with its interval."""
    places = sorted(runs)
    scores = [[run.score for run in runs[place]] for place in places]
    means = [mean(values) for values in scores]
    ends = [interval(values) for values in scores]  # None with one run
    errors = [[m - (m if low is None else low) for m, (low, _) in zip(means, ends)],
              [(m if high is None else high) - m for m, (_, high) in zip(means, ends)]]  # fmt: skip
    axes.errorbar(places, means, errors, fmt="none", ecolor=style["color"], capsize=3, linewidth=1.8)
    axes.plot(places, means, **style, markersize=7, linewidth=1.8, label=family)


def _score(row: Row) -> float:
    assert row.score is not None  # `draw` keeps only rows with a score
    return row.score


def _limit(axes: Axes, values: Sequence[float]) -> None:
    """Limits the y axis to these values with a margin, unless they are all equal."""
    low, high = min(values), max(values)
    if low < high:
        axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))


def _logarithmic(axes: Axes) -> None:
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    marked = range(1, 10) if high < 3 * low else (1, 2, 5) if high < 30 * low else (1, 3)  # at least two of them
    axes.xaxis.set_major_locator(LogLocator(subs=marked))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: tables.prefixed(x)))  # never 500 m for half a second
    axes.xaxis.set_minor_formatter(NullFormatter())


def _score_format(rules: Suite) -> FuncFormatter:
    return FuncFormatter(lambda x, _: f"{100 * x:.4g} %" if rules.percent else f"{x:.4g}")
