"""Figures of a benchmark: seeds, score against cost, learning curves, scaling. A family looks the same in all."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
import numpy as np

from experiments.benchmark import tables
from experiments.benchmark.ranking import interval
from experiments.figures.style import THEMES, grid, ink
from experiments.sweep.outcomes import whole
from experiments.sweep.plot import COLOURS, MARKERS

SHADES = (*COLOURS, "#8C6D31", "#7F7F7F")
SIZE = (7.5, 4.6)


@dataclass(frozen=True)
class Picture:
    """A figure in the workdir: `path` of the SVG, beside which lies a PNG; `caption` says what to look at."""

    title: str
    caption: str
    path: Path


def draw(found: Mapping, workdir: Path) -> list[Picture]:
    """Draws what there is; families that failed are in none of the figures."""
    rules = found["protocol"]["rules"]
    rows = [row for row in tables.rows(found) if "reason" not in row and row.get("score") is not None]
    if not rows:
        return []
    look = {name: {"color": SHADES[i % len(SHADES)], "marker": MARKERS[i % len(MARKERS)]}
            for i, name in enumerate(found["families"])}  # fmt: skip
    score = rules["score"]
    about = {
        "seeds": ("Every seed", f"A point is a run on the test split, the line the 95 % interval of the mean {score}."),
        "flops": (
            f"{score.capitalize()} against training FLOPs",
            "FLOPs of the final run: those of an example times the examples.",
        ),
        "time": (
            f"{score.capitalize()} against training time",
            "Seconds of the final run at the measured speed, on the machine below.",
        ),
        "parameters": (f"{score.capitalize()} against parameters", "The grey band is the budget of the suite."),
        "curves": ("Learning curves", "On validation data: the mean over seeds, and from the least to the greatest."),
        "tuning": (
            "Tuning",
            "On validation data: the better of two values of the other field at each learning rate; what was chosen is "
            "ringed. Trials that failed are left out.",
        ),
        "scaling": ("Scaling", "The tuned setting at several sizes: the mean over seeds and its 95 % interval."),
        "by": (
            f"{score.capitalize()} by {_words(rules['by'][0])}",
            "The setting that was tuned at one of the values, at several: the mean over seeds and its 95 % interval.",
        ),
    }
    plots = {
        "seeds": lambda axes: _seeds(axes, found, rows, look),
        "flops": lambda axes: _against(axes, rows, rules, look, lambda row: row["train_flops"] * rules["examples"]),
        "time": lambda axes: _against(axes, rows, rules, look, lambda row: rules["examples"] / row["train_speed"]),
        "parameters": lambda axes: _parameters(axes, rows, rules, look),
        "curves": lambda axes: _curves(axes, found, rows, look),
    }
    if any(trial["score"] is not None for row in rows for trial in found["families"][row["family"]]["tuning"]["tried"]):
        plots["tuning"] = lambda axes: _tuning(axes, found, rows, look)
    if any(found["families"][row["family"]]["sizes"] for row in rows):
        plots["scaling"] = lambda axes: _scaling(axes, found, rows, look)
    if any(found["families"][row["family"]]["by"] for row in rows):
        plots["by"] = lambda axes: _by(axes, found, rows, look)
    labels = {"flops": "training FLOPs", "time": "training time, s", "parameters": "parameters",
              "tuning": "learning rate", "scaling": "parameters", "by": _words(rules["by"][0])}  # fmt: skip
    pictures = []
    for name, plot in plots.items():
        title, caption = about[name]
        with matplotlib.rc_context(THEMES[""] | {"font.size": 13, "axes.labelsize": 13}):
            figure = Figure(figsize=SIZE, layout="constrained")
            axes = figure.add_subplot()
            plot(axes)
            if name in labels:
                axes.set_xlabel(labels[name])
            if name != "seeds":
                axes.set_ylabel(score)
                axes.yaxis.set_major_formatter(_score_format(rules))
                figure.legend(loc="outside right upper", fontsize=11)
                grid(axes, "y")
            path = workdir / f"{name}.svg"
            for kind in ("svg", "png"):
                with whole(path.with_suffix(f".{kind}")) as temporary:
                    figure.savefig(temporary, format=kind, metadata={"Date": None} if kind == "svg" else None)
        pictures.append(Picture(title, caption, path))
    return pictures


def _seeds(axes, found: Mapping, rows: list[dict], look: Mapping) -> None:
    rules = found["protocol"]["rules"]
    for place, row in enumerate(rows):
        name = row["family"]
        scores = sorted(run["score"] for run in found["families"][name]["runs"])
        # Equal scores stand above one another, so that every seed is seen.
        heights = [0.15 * (scores[:at].count(score) - (scores.count(score) - 1) / 2) for at, score in enumerate(scores)]
        colour = look[name]["color"]
        axes.plot(row["interval"], [place, place], color=colour, linewidth=5, alpha=0.35)
        points = [place + height for height in heights]
        axes.plot(scores, points, "o", color=colour, markersize=7, markeredgecolor="white")
        axes.plot([row["score"]], [place], "|", color=ink(), markersize=18, markeredgewidth=2)
    ranks = [f"{row['rank']}  " if row.get("rank") else "" for row in rows]
    axes.set_yticks(range(len(rows)), [rank + row["family"] for rank, row in zip(ranks, rows)])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"{rules['score']}, test split (number before the name: rank)")
    axes.xaxis.set_major_formatter(_score_format(rules))
    grid(axes, "x")


def _against(axes, rows: list[dict], rules: Mapping, look: Mapping, cost) -> None:
    for row in rows:
        low, high = row["interval"]
        errors = [[row["score"] - low], [high - row["score"]]]
        colour = look[row["family"]]["color"]
        axes.errorbar(cost(row), row["score"], errors, fmt="none", ecolor=colour, capsize=3, linewidth=1.6)
        point = look[row["family"]] | {"linestyle": "none", "markersize": 9}
        axes.plot(cost(row), row["score"], **point, label=row["family"])
    _logarithmic(axes)


def _parameters(axes, rows: list[dict], rules: Mapping, look: Mapping) -> None:
    _against(axes, rows, rules, look, lambda row: row["parameters"])
    budget, share = rules["budget"], rules["tolerance"]
    axes.axvspan(budget * (1 - share), budget * (1 + share), color="#808080", alpha=0.12, linewidth=0)
    axes.set_xscale("linear")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))


def _curves(axes, found: Mapping, rows: list[dict], look: Mapping) -> None:
    rules, points = found["protocol"]["rules"], []
    for row in rows:
        curves = [run["curve"] for run in found["families"][row["family"]]["runs"]]
        examples = [at for at, _ in min(curves, key=len)]
        values = np.array([[score for _, score in curve[: len(examples)]] for curve in curves])
        style = look[row["family"]]
        band = {"color": style["color"], "alpha": 0.1, "linewidth": 0, "zorder": 1}
        axes.fill_between(examples, values.min(0), values.max(0), **band)
        line = {"markersize": 5, "linewidth": 2, "zorder": 3}
        axes.plot(examples, values.mean(0), **style, **line, label=row["family"])
        points += values.mean(0)[len(examples) // 4 :].tolist()
    axes.axhline(rules["target"], color=ink(), linewidth=1, linestyle=":")
    axes.text(0.005, rules["target"], "target", transform=axes.get_yaxis_transform(), va="bottom", fontsize=11)
    axes.set_xlabel("examples seen")
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    # The first quarter falls or rises steeply, and would press the rest together.
    _limit(axes, [*points, rules["target"]])


def _tuning(axes, found: Mapping, rows: list[dict], look: Mapping) -> None:
    rules, points = found["protocol"]["rules"], []
    best, order = (max, 1) if rules["better"] == "max" else (min, -1)
    for row in rows:
        family, style = found["families"][row["family"]], look[row["family"]]
        at: dict[float, list[float]] = {}
        for trial in family["tuning"]["tried"]:
            if trial["score"] is not None:
                at.setdefault(trial["setting"]["optimizer.learning_rate"], []).append(trial["score"])
        if not at:
            continue
        rates = sorted(at)
        scores = [best(at[rate]) for rate in rates]
        axes.plot(rates, scores, **style, markersize=6, linewidth=2, label=row["family"])
        chosen = family["setting"]["optimizer.learning_rate"]
        axes.plot(chosen, best(at[chosen]), "o", color=style["color"], fillstyle="none", markersize=15)
        points += sorted(scores, key=lambda score: -order * score)[: -(-len(scores) // 2)]
    axes.set_xscale("log")
    axes.set_xticks(rules["rates"], [f"{rate:g}" for rate in rules["rates"]])
    axes.xaxis.set_minor_formatter(NullFormatter())
    _limit(axes, points)


def _limit(axes, points: list[float]) -> None:
    """The y axis reaches over these, and a little beyond; where all are equal it stays as it is."""
    low, high = min(points), max(points)
    if low < high:
        axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))


def _scaling(axes, found: Mapping, rows: list[dict], look: Mapping) -> None:
    for row in rows:
        family = found["families"][row["family"]]
        sizes = {runs[0]["parameters"]: runs for runs in [family["runs"], *family["sizes"].values()]}
        _means(axes, sizes, look[row["family"]] | {"label": row["family"]})
    _logarithmic(axes)


def _by(axes, found: Mapping, rows: list[dict], look: Mapping) -> None:
    known = found["protocol"]
    name = known["rules"]["by"][0]
    usual = known["overrides"].get(name, known["rules"]["data"][name.removeprefix("data.")])
    for row in rows:
        family = found["families"][row["family"]]
        runs = {float(kind.partition("=")[2]): some for kind, some in family["by"].items()}
        _means(axes, runs | {usual: family["runs"]}, look[row["family"]] | {"label": row["family"]})
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _means(axes, runs: Mapping[float, list[dict]], style: Mapping) -> None:
    """A line over what the runs differ in: the mean over seeds, with its interval."""
    places = sorted(runs)
    scores = [[run["score"] for run in runs[place]] for place in places]
    means, between = [mean(values) for values in scores], [interval(values) for values in scores]
    errors = [[m - low for m, (low, _) in zip(means, between)], [high - m for m, (_, high) in zip(means, between)]]
    axes.errorbar(places, means, errors, fmt="none", ecolor=style["color"], capsize=3, linewidth=1.8)
    axes.plot(places, means, **style, markersize=7, linewidth=1.8)


def _words(field: str) -> str:
    """data.pairs as pairs."""
    return field.rpartition(".")[2].replace("_", " ")


def _logarithmic(axes) -> None:
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    marked = range(1, 10) if high < 3 * low else (1, 2, 5) if high < 30 * low else (1, 3)  # two of them at least
    axes.xaxis.set_major_locator(LogLocator(subs=marked))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: tables.prefixed(x)))  # never 500 m for half a second
    axes.xaxis.set_minor_formatter(NullFormatter())


def _score_format(rules: Mapping):
    return FuncFormatter(lambda x, _: f"{100 * x:.4g} %" if rules["percent"] else f"{x:.4g}")
