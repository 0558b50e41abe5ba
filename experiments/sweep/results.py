"""What a sweep found: `results.csv`, a table and plots; at any time, also while it runs.

python -m experiments.results runs/decoder_width [--metric=validation/accuracy --better=max]

`results.csv` has one row a trial: what was set, state, the best value of the metric, the last metrics, and time. The
table has means over seeds, the best first. The plots are those of `experiments.sweep.sweep_plots`.
"""

import argparse
from collections import Counter
import csv
import json
from pathlib import Path
from statistics import mean, stdev
import sys
from textwrap import shorten

from rich.console import Console
from rich.table import Table

from experiments.sweep import sweep_plots
from experiments.sweep import trials as states
from experiments.sweep.outcomes import Finding, find, over_seeds, read_sweep, swept, whole
from experiments.sweep.sweep_file import better_of

SHOWN = 20  # rows of the table in the terminal


def show(workdir: str | Path, *, metric: str | None = None, better: str | None = None) -> None:
    """Writes `results.csv` and the plots into the workdir, and prints the table.

    Raises FileNotFoundError where the workdir holds no sweep, and ValueError for a metric that no trial has.
    """
    said = read_sweep(workdir)
    better = better or (better_of(metric) if metric else said["better"])
    metric = metric or said["metric"]
    findings = find(workdir, metric)
    known = sorted(set().union(*(finding.metrics for finding in findings)))
    if any(finding.state == states.DONE for finding in findings) and metric not in known:
        raise ValueError(f"no trial has the metric {metric!r}: expected one of {', '.join(known)}")
    write_csv(Path(workdir) / "results.csv", findings, metric, better)
    pictures = sweep_plots.draw(workdir, findings, metric, better)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    _print_table(console, findings, metric, better)
    failed = [finding for finding in findings if finding.state == states.FAILED]
    for finding in failed[:5]:
        console.print(f"failed   {finding.name}: {shorten(finding.reason, 120)}")
    if len(failed) > 5:
        console.print(f"... and {len(failed) - 5} more, see results.csv")
    counts = Counter(finding.state for finding in findings)
    console.print(f"trials   {len(findings)}: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    console.print(f"results  {workdir}: {', '.join(['results.csv', *(picture.name for picture in pictures)])}")


def write_csv(path: Path, findings: list[Finding], metric: str, better: str) -> None:
    """One row a trial; whole or not at all."""
    fields = list(dict.fromkeys(name for finding in findings for name in finding.overrides))
    metrics = sorted(set().union(*(finding.metrics for finding in findings)))
    with whole(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", *fields, "state", f"best {metric}", *metrics, "step", "seconds", "reason"])
        for finding in findings:
            given = [_plain(finding.overrides.get(name)) for name in fields]
            measured = [finding.metrics.get(name) for name in metrics]
            end = [finding.step, finding.seconds, finding.reason]
            writer.writerow([finding.name, *given, finding.state, finding.best(better), *measured, *end])


def main(arguments: list[str] | None = None) -> None:
    """The command line: an error is one line and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m experiments.results", description=__doc__.splitlines()[0])
    parser.add_argument("workdir", help="folder of the sweep")
    parser.add_argument("--metric", help="what to compare by (default: what the sweep file says)")
    parser.add_argument("--better", choices=["min", "max"], help="(default: min for a loss, max for anything else)")
    try:
        show(**vars(parser.parse_args(arguments)))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _print_table(console: Console, findings: list[Finding], metric: str, better: str) -> None:
    fields = [name for name in swept(findings) if name != "seed"]
    groups = sorted(over_seeds(findings, metric), key=lambda group: mean(group[1]), reverse=better == "max")
    if not groups:
        console.print("no trial is done yet")
        return
    several = any(len(values) > 1 for _, values in groups)
    table = Table(*fields, box=None)
    table.add_column(metric, justify="right")
    if several:
        table.add_column("deviation", justify="right")
        table.add_column("seeds", justify="right")
    for overrides, values in groups[:SHOWN]:
        spread = [f"{stdev(values):.2g}" if len(values) > 1 else "", str(len(values))] if several else []
        table.add_row(*(_short(overrides.get(name)) for name in fields), f"{mean(values):.5g}", *spread)
    console.print(table)
    if len(groups) > SHOWN:
        console.print(f"... and {len(groups) - SHOWN} more in results.csv")


def _short(value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(_plain(value))


def _plain(value) -> object:
    return "" if value is None else value if isinstance(value, (str, int, float)) else json.dumps(value)


if __name__ == "__main__":
    main()
