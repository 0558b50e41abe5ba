"""Fits a scaling law to the runs of a sweep, and tests it on a larger size that it has not seen.

python -m experiments.scaling --workdir=runs/decoder_scaling [--metric=validation/loss]

The runs of a sweep in which the size of the model differs, and perhaps the number of steps, give the law
L(N, D) = E + A / N^alpha + B / D^beta (see `experiments/measure/scaling_law.py`), with N parameters, and D examples,
which is steps times batch size. The largest size is held out: the law is fitted without it, and must predict it. Writes
`scaling.json`, and `scaling.png` and `.svg`, light and dark, to the workdir of the sweep.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
import math
from pathlib import Path

from matplotlib.figure import Figure
import numpy as np
from rich.console import Console
from rich.table import Table

from core.command import command
from core.errors import UserError
from core.files import read_json, write_json
from core.metrics import refuse_unknown
from experiments.figures.style import draw, drawn, grid, ink
from experiments.measure.scaling_law import ScalingLaw, bootstrap, fit, interval
from experiments.sweep import trials as states
from experiments.sweep.metrics import better_of
from experiments.sweep.outcomes import SweepRecord
from experiments.sweep.trials import begun

SIZES = 5  # at least, without the one that is held out


@dataclass(frozen=True)
class Run:
    """A complete run: its parameters, the examples that it has seen, and its loss."""

    parameters: int
    examples: int
    loss: float


@dataclass(frozen=True)
class Prediction:
    """What the law says of a size that it was not fitted to.

    Attributes:
      parameters, examples: of the runs.
      expected: the loss that the law predicts.
      low, high: the interval that holds the loss of one such run with a probability of about 95 %.
      losses: that were measured.
    """

    parameters: int
    examples: int
    expected: float
    low: float
    high: float
    losses: list[float]

    @property
    def holds(self) -> bool:
        """Whether the mean of the measured losses lies within the interval."""
        return self.low <= float(np.mean(self.losses)) <= self.high


@dataclass(frozen=True)
class Results:
    """A law, with 95 % intervals of its numbers by name, and its predictions for the size that was held out."""

    metric: str
    law: ScalingLaw
    intervals: dict[str, tuple[float, float]]
    runs: list[Run]
    predictions: list[Prediction]
    bands: dict[int, list[tuple[float, float, float]]]  # by examples: parameters, low, high


def read_runs(workdir: str | Path, metric: str) -> list[Run]:
    """Returns the complete runs of a sweep that have a finite loss.

    Raises UserError: the metric is not one that they have.
    """
    runs = []
    for trial in begun(workdir):
        if trial.state() != states.DONE:
            continue
        summary = read_json(trial.folder / "summary.json", "steps", "metrics", "parameters")
        config = read_json(trial.folder / "config.json", "batch_size")
        refuse_unknown("--metric =", metric, summary["metrics"])
        loss = summary["metrics"][metric]
        if loss is not None and math.isfinite(loss) and loss > 0:
            runs.append(Run(summary["parameters"], summary["steps"] * config["batch_size"], loss))
    return runs


def analyse(runs: Sequence[Run], metric: str, *, draws: int = 200) -> Results:
    """Fits the law to all sizes but the largest, and predicts that one.

    Raises:
      UserError: there are too few sizes.
    """
    sizes = sorted({run.parameters for run in runs})
    if len(sizes) <= SIZES:
        raise UserError(
            f"{len(sizes)} sizes with a finite {metric}: expected at least {SIZES} to fit a law, and a larger one to "
            "test it"
        )
    seen, held_out = ([r for r in runs if (r.parameters == sizes[-1]) == is_last] for is_last in (False, True))
    data = [[run.parameters for run in seen], [run.examples for run in seen], [run.loss for run in seen]]
    law = fit(*data)
    laws = bootstrap(law, *data, draws=draws)
    names = ("floor", "size_exponent", "data_exponent", "growth")
    intervals = {name: interval([getattr(other, name) for other, _ in laws]) for name in names}
    intervals = {name: limits for name, limits in intervals.items() if not math.isnan(limits[0])}
    predictions = []
    for examples in sorted({run.examples for run in held_out}):
        limits = interval([float(other(sizes[-1], examples)) * factor for other, factor in laws])
        losses = [run.loss for run in held_out if run.examples == examples]
        predictions.append(Prediction(sizes[-1], examples, float(law(sizes[-1], examples)), *limits, losses))
    line = np.geomspace(sizes[0], sizes[-1], 40)
    bands = {
        examples: [
            (float(size), *interval([float(other(size, examples)) for other, _ in laws])) for size in line
        ]
        for examples in sorted({run.examples for run in runs})
    }  # fmt: skip
    return Results(metric, law, intervals, list(runs), predictions, bands)


def picture(figure: Figure, results: Results) -> None:
    """Draws the loss against the size, a line with its band for each number of examples."""
    axes = figure.subplots()
    largest = results.predictions[0].parameters
    for number, (examples, band) in enumerate(results.bands.items()):
        sizes, low, high = map(np.array, zip(*band))
        axes.plot(sizes, results.law(sizes, examples), color=f"C{number}", label=f"{examples:,} examples")
        axes.fill_between(sizes, low, high, color=f"C{number}", alpha=0.2, linewidth=0)
        mine = [run for run in results.runs if run.examples == examples]
        for is_last, style in ((False, "o"), (True, "D")):
            points = [(run.parameters, run.loss) for run in mine if (run.parameters == largest) == is_last]
            if points:
                hollow = {"markerfacecolor": "none", "markeredgewidth": 2} if is_last else {}
                axes.plot(*zip(*points), f"C{number}{style}", linestyle="none", markersize=7, **hollow)
    axes.plot([], [], "D", color=ink(), markerfacecolor="none", markeredgewidth=2, linestyle="none", label="held out")
    axes.set(xscale="log", xlabel="parameters (log scale)", ylabel=results.metric)
    axes.legend()
    grid(axes)


@command
def main(arguments: list[str]) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.scaling", description=(__doc__ or "").partition("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--workdir", required=True, help="of a sweep over the size of a model")
    parser.add_argument("--metric", help="a loss (default: the metric of the sweep)")
    args = parser.parse_args(arguments)
    metric = args.metric or SweepRecord.read(args.workdir).metric
    if better_of(metric, "--metric") != "min":
        raise UserError(f"--metric={metric}: expected a loss, of which less is better")
    results = analyse(read_runs(args.workdir, metric), metric)
    _show(results)
    content = asdict(results) | {"holds": all(prediction.holds for prediction in results.predictions)}
    write_json(Path(args.workdir) / "scaling.json", content)
    paths = draw(picture, results, Path(args.workdir) / "scaling")
    print(f"results   {args.workdir}: scaling.json")
    print(f"pictures  {drawn(args.workdir, paths)}")


def _show(results: Results) -> None:
    console, law = Console(highlight=False, markup=False), results.law
    within = lambda name: f"{getattr(law, name):.3f} ({' to '.join(f'{x:.3f}' for x in results.intervals[name])})"
    console.print(f"{results.metric} of {len(results.runs)} runs, with 95 % intervals from a bootstrap:")
    console.print(f"  it falls to {within('floor')} with infinitely many parameters and examples")
    console.print(f"  with the parameters by the exponent {within('size_exponent')}")
    if "data_exponent" in results.intervals:
        console.print(f"  with the examples by the exponent {within('data_exponent')}")
        console.print(f"  so the best size for a budget C of operations grows as C^{within('growth')}")
    table = Table("held out: parameters", "examples", "predicted", "95 % interval", "measured", "", box=None)
    for each in results.predictions:
        measured = f"{np.mean(each.losses):.4f}"
        cells = (
            f"{each.parameters:,}",
            f"{each.examples:,}",
            f"{each.expected:.4f}",
            f"{each.low:.4f} to {each.high:.4f}",
        )
        table.add_row(*cells, measured, "inside" if each.holds else "OUTSIDE")
    console.print(table)


if __name__ == "__main__":
    main()
