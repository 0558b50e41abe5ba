"""How far the criteria of figures lie from their bounds over several seeds: may another seed, or another CPU, fail?

  for seed in 0 1 2 3 4; do python -m experiments.figures --all --seed=$seed --out=runs/figures_$seed; done
  python -m experiments.figures.spread runs/figures_*

Prints a line for each criterion whose number depends on the seed or that failed, and writes the table to
`runs/figures/spread.md`. "One more seed" is a 95 % prediction interval, mean +- t s sqrt(1 + 1/n), which takes the
numbers to be normal; positive ones that differ by more than a factor of two, such as ratios, their logarithms. A
criterion is "close" if a bound lies inside this interval. The exit code is 1 if a criterion failed.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
import math
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from core.command import command
from core.errors import UserError
from core.files import read_json
from core.markdown import write_table
from experiments.figures.engine import Criterion

FEWEST = 3  # seeds, for an interval


@dataclass(frozen=True)
class Spread:
    """A criterion of a figure with the number that each seed measured."""

    figure: str
    criterion: Criterion
    measured: Sequence[float]

    @property
    def predicted(self) -> tuple[float, float]:
        """The 95 % prediction interval for one more seed."""
        lowest, highest, count = min(self.measured), max(self.measured), len(self.measured)
        logarithmic = 0 < 2 * lowest < highest
        values = np.log(self.measured) if logarithmic else np.array(self.measured)
        half = stats.t.ppf(0.975, count - 1) * values.std(ddof=1) * np.sqrt(1 + 1 / count)
        ends = values.mean() + np.array([-half, half])
        low, high = np.exp(ends) if logarithmic else ends
        return float(low), float(high)

    @property
    def state(self) -> str:
        """"failed" if a seed did, "close" if one more might, else "clear"."""
        low, high = self.criterion.low, self.criterion.high
        if not all(low <= value <= high for value in self.measured):
            return "failed"
        return "clear" if low <= self.predicted[0] and self.predicted[1] <= high else "close"


def read_spreads(folders: Sequence[str | Path]) -> list[Spread]:
    """Returns the criteria of the figures in several folders, each of which was made with another seed.

    Bounds are those of the first folder.

    Raises UserError for too few folders, for two of one seed, and for a figure that not all folders hold.
    """
    if len(folders) < FEWEST:
        raise UserError(f"{len(folders)} folders: expected at least {FEWEST}, each made with another --seed")
    read = lambda path: read_json(path, "criteria", "error", "seed")
    records = [{path.stem: read(path) for path in Path(folder).glob("*.json")} for folder in folders]
    seeds = [sorted({record["seed"] for record in of_folder.values()}) for of_folder in records]
    if any(len(own) != 1 for own in seeds) or len({own[0] for own in seeds}) < len(seeds):
        raise UserError(f"the folders hold figures of the seeds {seeds}: expected one seed each, and each another one")
    figures = sorted(set.union(*map(set, records)))
    for figure in figures:
        if lacking := [str(f) for f, own in zip(folders, records) if figure not in own or own[figure]["error"]]:
            raise UserError(f"{figure} was not made in {', '.join(lacking)}: make it there, as in the other folders")
    spreads = []
    for figure in figures:
        criteria = [{c["name"]: c for c in record[figure]["criteria"]} for record in records]
        for name, first in criteria[0].items():
            low, high = _number(first["low"], -math.inf), _number(first["high"], math.inf)
            bounds = Criterion(name, _number(first["measured"]), low, high)
            values = [_number(of_seed[name]["measured"]) for of_seed in criteria if name in of_seed]
            spread = Spread(figure, bounds, values)
            if len(values) >= FEWEST and (len(set(values)) > 1 or spread.state == "failed"):
                spreads.append(spread)
    return spreads


def _number(value: float | None, absent: float = math.nan) -> float:
    """JSON has no infinity and no NaN, so the files hold null in their place."""
    return absent if value is None else value


@command
def main(arguments: list[str]) -> int:
    """Runs the command line."""
    description = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m experiments.figures.spread", description=description)
    parser.add_argument("folders", nargs="+", help="folders of figures, each made with another --seed")
    parser.add_argument("--out", default="runs/figures/spread.md", help="file for the table (default %(default)s)")
    args = parser.parse_args(arguments)
    spreads = read_spreads(args.folders)
    table = Table(box=None)
    table.add_column("figure", no_wrap=True)
    table.add_column("criterion")
    table.add_column("expected")
    for column in ("lowest", "highest", "one more seed"):
        table.add_column(column, justify="right")
    table.add_column("state")
    for spread in spreads:
        numbers = f"{min(spread.measured):.4g}", f"{max(spread.measured):.4g}"
        predicted = "{:.4g} to {:.4g}".format(*spread.predicted)
        criterion = spread.criterion.name, spread.criterion.expected
        table.add_row(spread.figure, *criterion, *numbers, predicted, spread.state)
    Console(highlight=False, markup=False).print(table)
    write_table(args.out, table)
    return 1 if any(spread.state == "failed" for spread in spreads) else 0


if __name__ == "__main__":
    main()
