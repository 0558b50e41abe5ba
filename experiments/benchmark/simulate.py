"""Simulates benchmarks whose truth is known: how often a comparison is wrong, and how many differences it finds.

python -m experiments.benchmark simulate [--families=8 --seeds=3,5,10 --benchmarks=1000]

The comparison is that of every benchmark (`experiments.benchmark.statistics`). Scores are drawn, in units of the
standard deviation over seeds:

- normal: independent for each family and seed;
- unequal: the same, but the last family varies five times as much as the first;
- skewed: from a gamma distribution of skewness 1;
- rounded: as an accuracy on few test images is, to steps of one standard deviation;
- shared: seeds have an effect that all families share, of the size of their own deviation;
- tested: values of 200 test examples whose sampling matters as much as the seeds, kept for each run;
- tuned: three studies, each with that many seeds, in which the tuning matters as much as the seeds.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from core.errors import UserError
from core.next_commands import next_text
from experiments.benchmark.statistics import LEVEL, MINIMUM, POWER, all_pairs, compare
from experiments.benchmark.variation import Runs

EXAMPLES, STUDIES = 200, 3
AHEAD = 3  # standard deviations of a seed: what a benchmark should detect
Draw = Callable[[np.random.Generator, np.ndarray, int], list[Runs]]


@dataclass(frozen=True)
class Outcome:
    """What was seen in simulated benchmarks.

    Attributes:
      false: share of the benchmarks in which a family is significantly better than another that is no worse.
      detected: share of the pairs with a true difference in which the better family is significantly better.
    """

    false: float
    detected: float


def simulate(draw: Draw, means: Sequence[float], seeds: int, benchmarks: int, *, number: int = 0) -> Outcome:
    """Simulates benchmarks of families with these true means, in which larger is better.

    Args:
      draw: one of `DRAWS`.
      means: in standard deviations over seeds.
      seeds: of each family.
      benchmarks: how many.
      number: seed of the simulation.
    """
    generator, truth = np.random.default_rng(number), np.asarray(means, float)
    false, detected, different = 0, 0, 0
    for _ in range(benchmarks):
        tests = all_pairs(draw(generator, truth, seeds))
        first, second = np.array(tests.pairs).T
        gap = truth[first] - truth[second]
        sure = np.sign(tests.differences) * (np.array(tests.p) < 1 - LEVEL)
        false += bool(np.any((sure != 0) & (sure != np.sign(gap))))
        detected += int(np.sum((gap != 0) & (sure == np.sign(gap))))
        different += int(np.sum(gap != 0))
    return Outcome(false / benchmarks, detected / different if different else 0.0)


def agreement(means: Sequence[float], seeds: int, benchmarks: int, *, number: int = 0) -> float:
    """Returns the share of repeated benchmarks, with other seeds, whose ranges of ranks overlap in every family."""
    generator, truth, agree = np.random.default_rng(number), np.asarray(means, float), 0
    for _ in range(benchmarks):
        once, again = (
            {s.family: s.rank for s in compare(dict(zip("abcdefghijklmnopqrstuvwxyz", draw)), "max").standings}
            for draw in (_normal(generator, truth, seeds), _normal(generator, truth, seeds))
        )
        ranges = [(rank, again[name]) for name, rank in once.items()]
        agree += all(one and two and one[0] <= two[1] and two[0] <= one[1] for one, two in ranges)
    return agree / benchmarks


def main(arguments: Sequence[str]) -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmark simulate", allow_abbrev=False,
                                     description=str(__doc__).splitlines()[0])  # fmt: skip
    parser.add_argument("--families", type=int, default=8, help="in a benchmark (default: 8)")
    parser.add_argument("--seeds", default="3,5,10", help="final runs of each family (default: 3,5,10)")
    parser.add_argument("--benchmarks", type=int, default=1000, help="to simulate in each cell (default: 1000)")
    args = parser.parse_args(arguments)
    try:
        seeds = [int(text) for text in args.seeds.split(",")]
    except ValueError as error:
        raise UserError(f"--seeds={args.seeds}: expected whole numbers, such as 3,5,10") from error
    if min(seeds) < 2 or not 2 <= args.families <= 26 or args.benchmarks < 1:
        raise UserError("expected at least 2 seeds, 2 to 26 families and 1 benchmark")
    _print(f"Benchmarks of {args.families} equal families in which one is called better than another", seeds, [
        (name, [simulate(draw, [0] * args.families, n, args.benchmarks).false for n in seeds])
        for name, draw in DRAWS.items()
    ])  # fmt: skip
    ahead = {
        distance: [simulate(_normal, [distance, *[0] * (args.families - 1)], n, args.benchmarks) for n in seeds]
        for distance in (1, 2, AHEAD, 5)
    }
    _print("Pairs detected with one family ahead of all others, normal scores", seeds, [
        (f"by {distance} standard deviations of a seed", [outcome.detected for outcome in outcomes])
        for distance, outcomes in ahead.items()
    ])  # fmt: skip
    apart = np.arange(args.families) / 2
    _print("Repeated benchmarks whose ranges of ranks overlap in every family", seeds, [
        ("families half a deviation apart", [agreement(apart, n, max(1, args.benchmarks // 5)) for n in seeds])
    ])  # fmt: skip
    print(f"No rank is given with fewer than {MINIMUM} seeds.")
    enough = enough_seeds(seeds, ahead[AHEAD])
    print(next_text([f"python -m experiments.benchmark digits --seeds={enough} --dry_run"]), flush=True)


def enough_seeds(seeds: Sequence[int], outcomes: Sequence[Outcome]) -> int:
    """Returns the smallest number of seeds that gives ranks and has the usual power, the largest if none of them has.

    Args:
      seeds: the numbers of seeds.
      outcomes: of each of them, with the difference that is to be detected.
    """
    powerful = [n for n, outcome in zip(seeds, outcomes) if n >= MINIMUM and outcome.detected >= POWER]
    return min(powerful, default=max(seeds))


def _print(title: str, seeds: Sequence[int], rows: Sequence[tuple[str, Sequence[float]]]) -> None:
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("")
    for count in seeds:
        table.add_column(f"{count} seeds", justify="right")
    for name, shares in rows:
        table.add_row(name, *(f"{100 * share:.1f} %" for share in shares))
    Console(highlight=False, soft_wrap=True).print(table)
    print(flush=True)


def _runs(scores: np.ndarray) -> list[Runs]:
    return [Runs(dict(enumerate(family.tolist()))) for family in scores]


def _normal(generator: np.random.Generator, means: np.ndarray, seeds: int) -> list[Runs]:
    return _runs(means[:, None] + generator.normal(size=(len(means), seeds)))


def _unequal(generator: np.random.Generator, means: np.ndarray, seeds: int) -> list[Runs]:
    deviations = np.geomspace(1 / np.sqrt(5), np.sqrt(5), len(means))[:, None]
    return _runs(means[:, None] + deviations * generator.normal(size=(len(means), seeds)))


def _skewed(generator: np.random.Generator, means: np.ndarray, seeds: int) -> list[Runs]:
    return _runs(means[:, None] + (generator.gamma(4, size=(len(means), seeds)) - 4) / 2)


def _rounded(generator: np.random.Generator, means: np.ndarray, seeds: int) -> list[Runs]:
    place = generator.uniform()  # of the true means between two steps
    return _runs(np.round(place + means[:, None] + generator.normal(size=(len(means), seeds))))


def _shared(generator: np.random.Generator, means: np.ndarray, seeds: int) -> list[Runs]:
    return _runs(means[:, None] + generator.normal(size=seeds) + generator.normal(size=(len(means), seeds)))


def _tested(generator: np.random.Generator, means: np.ndarray, seeds: int) -> list[Runs]:
    common = generator.normal(size=EXAMPLES)
    own = np.sqrt(EXAMPLES / seeds) * generator.normal(size=(len(means), 1, EXAMPLES))
    run = generator.normal(size=(len(means), seeds, 1))
    rest = generator.normal(size=(len(means), seeds, EXAMPLES))
    values = means[:, None, None] + common + own + run + rest
    return [
        Runs(dict(enumerate(family.mean(1).tolist())), examples=dict(enumerate(family)))
        for family in values
    ]  # fmt: skip


def _tuned(generator: np.random.Generator, means: np.ndarray, seeds: int) -> list[Runs]:
    studies = {run: run % STUDIES for run in range(STUDIES * seeds)}
    tuning = generator.normal(size=(len(means), STUDIES))
    scores = means[:, None] + tuning[:, list(studies.values())] + generator.normal(size=(len(means), len(studies)))
    return [Runs(dict(enumerate(family.tolist())), studies) for family in scores]


DRAWS: dict[str, Draw] = {
    "normal": _normal, "unequal": _unequal, "skewed": _skewed, "rounded": _rounded, "shared": _shared,
    "tested": _tested, "tuned": _tuned,
}  # fmt: skip
