"""Writes and prints the results of a sweep: `results.csv`, a table and plots. It can be used while the sweep runs.

python -m experiments.results --workdir=runs/decoder_width [--metric=validation/accuracy --better=max]
python -m experiments.results --workdir=runs/decoder_width --compare=model.width

`results.csv` has one row for each trial: overrides, state, best value of the metric, last metrics, and time. The table
has means over seeds, the best first; `table.md` has all its rows, and the other metrics of the same split too. The
plots are those of `experiments.sweep.sweep_plots`. All of it is made from the outcomes of the trials
(`experiments.sweep.outcomes`).
"""

import argparse
from collections import Counter
from collections.abc import Sequence
import csv
import json
from pathlib import Path
import shlex
from statistics import mean, stdev
from textwrap import shorten
from typing import Any

from rich.console import Console
from rich.table import Table

from core.command import command
from core.files import replacing, write_text
from core.markdown import markdown
from core.metrics import refuse_unknown
from core.next_commands import next_text
from experiments.figures.style import drawn
from experiments.sweep import sweep_plots
from experiments.sweep import trials as states
from experiments.sweep.metrics import better_of
from experiments.sweep.outcomes import Outcome, SweepRecord, over_seeds, read_outcomes, swept_fields

ROWS = 20  # of the printed table


def show(workdir: str | Path, *, metric: str | None = None, better: str | None = None) -> None:
    """Writes `results.csv`, `table.md` and the plots to the workdir of a sweep, and prints the table.

    Args:
      metric, better: what to compare trials by; by default what the sweep file says.

    Raises:
      UserError: the workdir is not that of a sweep, or no trial has the metric.
    """
    record = SweepRecord.read(workdir)
    better = better or (better_of(metric, "--metric") if metric else record.better)
    metric = metric or record.metric
    outcomes = read_outcomes(workdir, metric)
    metrics = sorted(set().union(*(outcome.metrics for outcome in outcomes)))
    if any(outcome.state == states.DONE for outcome in outcomes):
        refuse_unknown("--metric =", metric, metrics)
    write_csv(Path(workdir) / "results.csv", outcomes, metric, better)
    others = [name for name in metrics if name != metric and name.split("/")[0] == metric.split("/")[0]]
    write_markdown(Path(workdir) / "table.md", outcomes, [metric, *others], better)
    plots = sweep_plots.draw(workdir, outcomes, metric, better)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    _print_table(console, outcomes, metric, better)
    failed = [outcome for outcome in outcomes if outcome.state == states.FAILED]
    for outcome in failed[:5]:
        console.print(f"failed   {outcome.name}: {shorten(outcome.reason, 120)}")
    if len(failed) > 5:
        console.print(f"... and {len(failed) - 5} more, see results.csv")
    for outcome in outcomes:
        if outcome.state == states.DONE and outcome.reason:
            console.print(f"warning  {outcome.name}: {outcome.reason}")
    counts = Counter(outcome.state for outcome in outcomes)
    console.print(f"trials   {len(outcomes)}: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    console.print(f"results  {workdir}: results.csv, table.md")
    if plots:
        console.print(f"pictures {drawn(workdir, plots)}")
    console.print(next_text(_next(workdir, record, outcomes, failed)))


def write_csv(path: Path, outcomes: Sequence[Outcome], metric: str, better: str) -> None:
    """Writes one row for each trial."""
    fields = list(dict.fromkeys(name for outcome in outcomes for name in outcome.overrides))
    metrics = sorted(set().union(*(outcome.metrics for outcome in outcomes)))
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", *fields, "state", f"best {metric}", *metrics, "step", "seconds", "reason"])
        for outcome in outcomes:
            overrides = [_cell(outcome.overrides.get(name)) for name in fields]
            values = [outcome.metrics.get(name) for name in metrics]
            end = [outcome.step, outcome.seconds, outcome.reason]
            writer.writerow([outcome.name, *overrides, outcome.state, outcome.best(better), *values, *end])


def write_markdown(path: Path, outcomes: Sequence[Outcome], metrics: Sequence[str], better: str) -> None:
    """Writes one row for each setting, the best first: mean and standard deviation of each metric over the seeds.

    Args:
      path: of the file.
      outcomes: of the trials.
      metrics: the columns; the first decides the order of the rows.
      better: "min" or "max", of the first metric.
    """
    fields = swept_fields(outcomes)
    settings = {metric: over_seeds(outcomes, metric) for metric in metrics}
    cells: dict[str, dict[str, str]] = {}
    for metric, measured in settings.items():
        for setting in measured:
            values = setting.values
            spread = f" ± {stdev(values):.2g}" if len(values) > 1 else ""
            cells.setdefault(json.dumps(setting.overrides), {})[metric] = f"{mean(values):.5g}{spread}"
    ranked = sorted(settings[metrics[0]], key=lambda setting: mean(setting.values), reverse=better == "max")
    body = [
        [*(_short(setting.overrides.get(name)) for name in fields), str(len(setting.values))]
        + [cells[json.dumps(setting.overrides)].get(metric, "") for metric in metrics]
        for setting in ranked
    ]
    head = [*fields, "seeds", *metrics]
    write_text(path, markdown(head, body, [False] * len(fields) + [True] * (1 + len(metrics))))


@command
def main(arguments: list[str]) -> None:
    """Shows the results of the sweep that the command line names."""
    description = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m experiments.results", description=description)
    parser.add_argument("--workdir", required=True, help="folder of the sweep")
    parser.add_argument("--metric", help="what to compare trials by (default: METRIC of the sweep file)")
    parser.add_argument("--better", choices=["min", "max"], help="(default: what the objective says of the metric)")
    parser.add_argument("--compare", metavar="FIELD", help="compare the values of a field over the seeds")
    args = parser.parse_args(arguments)
    if args.compare:
        from experiments.sweep import comparison  # its statistics need SciPy, which takes a second to load

        comparison.show(args.workdir, args.compare, metric=args.metric, better=args.better)
    else:
        show(args.workdir, metric=args.metric, better=args.better)


def _next(workdir: str | Path, record: SweepRecord, outcomes: Sequence[Outcome], failed: list[Outcome]) -> list[str]:
    """Command lines that go on from here."""
    folder, lines = shlex.quote(str(workdir)), []
    if failed and record.trials:
        file = shlex.quote(record.file)
        lines.append(f"python -m experiments.sweep {file} --workdir={folder} --retry_failed")
    seeds = Counter(json.dumps({**outcome.overrides, "seed": None}) for outcome in outcomes)
    if (fields := swept_fields(outcomes)) and max(seeds.values(), default=0) > 1:
        lines.append(f"python -m experiments.results --workdir={folder} --compare={fields[0]}")
    return [*lines, f"python -m experiments.plot --workdir {folder}/trials/*"]


def _print_table(console: Console, outcomes: Sequence[Outcome], metric: str, better: str) -> None:
    fields = swept_fields(outcomes)
    settings = over_seeds(outcomes, metric)
    settings.sort(key=lambda setting: mean(setting.values), reverse=better == "max")
    done = sum(outcome.state == states.DONE for outcome in outcomes)
    if not settings:
        console.print(f"{metric} is not finite in any of {done} trials" if done else "no trial is done yet")
        return
    several = any(len(setting.values) > 1 for setting in settings)
    table = Table(*fields, box=None)
    table.add_column(metric, justify="right")
    if several:
        table.add_column("deviation", justify="right")
        table.add_column("seeds", justify="right")
    for setting in settings[:ROWS]:
        values = setting.values
        spread = [f"{stdev(values):.2g}" if len(values) > 1 else "", str(len(values))] if several else []
        table.add_row(*(_short(setting.overrides.get(name)) for name in fields), f"{mean(values):.5g}", *spread)
    console.print(table)
    if len(settings) > ROWS:
        console.print(f"... and {len(settings) - ROWS} more in results.csv")
    if left_out := done - sum(len(setting.values) for setting in settings):
        console.print(f"not in the table: {left_out} trials whose {metric} is not finite")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(_cell(value))


def _cell(value: Any) -> str | int | float:
    return "" if value is None else value if isinstance(value, (str, int, float)) else json.dumps(value)


if __name__ == "__main__":
    main()
