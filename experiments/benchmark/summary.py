"""Summarises several suites: interquartile means, performance profiles and probabilities of improvement.

python -m experiments.benchmark summary runs/compare runs/recall [--out=runs/summary]

It reads `results.json` of each folder. Families that were scored in all of them are compared. In each suite the family
with the worst mean has the score 0, and that with the best mean 1, so that suites count the same; a family that does
not take part in all of them counts there too. Intervals are a bootstrap over runs within each suite, as in Agarwal et
al. (2021): they tell how the numbers vary with the seeds, for these suites, and with five runs in each of one or two
suites they are too narrow. Which family is better in a suite is what the table of that suite says.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
import shlex

import matplotlib
from matplotlib.figure import Figure
import numpy as np
from rich.console import Console
from rich.table import Table

from core.errors import UserError
from core.files import save_figure, write_text
from core.markdown import markdown
from core.next_commands import next_text
from experiments.benchmark import aggregates
from experiments.benchmark.aggregates import improvement, interquartile_mean, interval, optimality_gap, profile
from experiments.benchmark.plots import COLOURS
from experiments.benchmark.scores import Scores, read
from experiments.benchmark.studies import folder
from experiments.figures.style import THEMES, grid
from experiments.sweep.plot import MARKERS

THRESHOLDS = np.linspace(0, 1, 101)


def normalised(results: Sequence[Scores]) -> dict[str, list[np.ndarray]]:
    """Returns the scores of each family that is in all tasks, an array for each task, between 0 and 1 in the mean.

    Raises UserError if there are fewer than two such families.
    """
    tasks = [task for outcome in results for task in _tasks(outcome)]
    shared = [name for name in (tasks[0] if tasks else {}) if all(name in task for task in tasks)]
    if len(shared) < 2:
        each = "; ".join(", ".join(task) for task in tasks)
        raise UserError(f"expected at least two families that were scored in all tasks, but the tasks have {each}")
    scores: dict[str, list[np.ndarray]] = {name: [] for name in shared}
    for task in tasks:
        means = [values.mean() for values in task.values()]
        low, width = min(means), (max(means) - min(means)) or 1.0
        for name in shared:
            scores[name].append((task[name] - low) / width)
    return scores


def main(arguments: Sequence[str]) -> None:
    """Prints the tables, and writes them and the performance profiles into a folder."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmark summary", allow_abbrev=False,
                                     description=str(__doc__).splitlines()[0])  # fmt: skip
    parser.add_argument("folders", nargs="+", help="workdirs of benchmarks that have ended")
    parser.add_argument("--out", default="runs/summary", help="folder for the summary (default %(default)s)")
    args = parser.parse_args(arguments)
    results = [read(folder) for folder in args.folders]
    scores = normalised(results)
    heads = [["family", "interquartile mean", "mean", "median", "optimality gap"], ["P(row beats column)", *scores]]
    bodies = [_aggregates(scores), _improvements(scores)]
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for head, body in zip(heads, bodies):
        table = Table(*head, box=None)
        for row in body:
            table.add_row(*row)
        Console(highlight=False, soft_wrap=True, width=160).print(table)
        print()
    right = [[False] + [True] * (len(head) - 1) for head in heads]
    texts = [markdown(head, body, side) for head, body, side in zip(heads, bodies, right)]
    names = ", ".join(dict.fromkeys(outcome.protocol.suite for outcome in results))
    write_text(out / "summary.md", f"Suites: {names}.\n\n" + "\n".join(texts))
    _draw(scores, out)
    print(f"results  {out}: summary.md, profiles.svg, profiles.png", flush=True)
    if lines := _next(args.folders, results, len(scores)):
        print(next_text(lines), flush=True)


def _next(folders: Sequence[str], results: Sequence[Scores], families: int) -> list[str]:
    """Command lines that look into the final runs, where a folder has them, and at what so many seeds can tell."""
    finals = [place for path in folders if (place := folder(Path(path), "final", 0)).is_dir()]
    counts = {len(own.runs) for outcome in results for own in outcome.participants.values() if own.done}
    seeds = ",".join(f"{count}" for count in sorted(counts) if count > 1)
    return [
        *(f"python -m experiments.results --workdir={shlex.quote(str(place))}" for place in finals),
        *([f"python -m experiments.benchmark simulate --families={families} --seeds={seeds}"] if seeds else []),
    ]


def _tasks(outcome: Scores) -> list[Mapping[str, np.ndarray]]:
    """The scores of each task of a suite, by family; larger is better."""
    sign, runs = outcome.rules.sign, outcome.participants
    return [
        {s.family: sign * np.array([run.score for run in runs[s.family].runs]) for s in group.standings}
        for group in outcome.comparison.values()
    ]


def _aggregates(scores: Mapping[str, list[np.ndarray]]) -> list[list[str]]:
    ranked = sorted(scores, key=lambda name: interquartile_mean(scores[name]), reverse=True)
    statistics = (interquartile_mean, aggregates.mean, aggregates.median, optimality_gap)
    cell = lambda statistic, own: "{:.3f} ({:.3f} to {:.3f})".format(statistic(own), *interval(statistic, own))
    return [[name, *(cell(statistic, scores[name]) for statistic in statistics)] for name in ranked]


def _improvements(scores: Mapping[str, list[np.ndarray]]) -> list[list[str]]:
    def cell(name: str, other: str) -> str:
        if name == other:
            return "-"
        low, high = interval(improvement, scores[name], scores[other])
        return f"{improvement(scores[name], scores[other]):.2f} ({low:.2f} to {high:.2f})"

    return [[name, *(cell(name, other) for other in scores)] for name in scores]


def _draw(scores: Mapping[str, list[np.ndarray]], out: Path) -> None:
    with matplotlib.rc_context(THEMES[""]):
        figure = Figure(figsize=(7.5, 4.6), layout="constrained")
        axes = figure.add_subplot()
        for place, (name, own) in enumerate(scores.items()):
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            low, high = interval(lambda drawn: profile(drawn, THRESHOLDS), own, draws=500)
            axes.fill_between(THRESHOLDS, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(THRESHOLDS, profile(own, THRESHOLDS), color=colour, marker=marker, markevery=10, label=name)
        axes.set_xlabel("normalised score, 0 the worst and 1 the best mean of a suite")
        axes.set_ylabel("share of runs with a higher score")
        grid(axes, "y")
        figure.legend(loc="outside right upper")
        for kind in ("svg", "png"):
            save_figure(out / f"profiles.{kind}", figure, metadata={"Date": None} if kind == "svg" else None)
