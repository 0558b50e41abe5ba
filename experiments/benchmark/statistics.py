"""Which families are better than others, and how certain that is: intervals over seeds, paired tests, ranks.

Two families' runs with the same seed see the same examples in the same order, so families are compared in pairs, by a
paired t-test on the differences. With 5 seeds a rank test could never become significant: its smallest p is 2 / 2^5.
The p-values are corrected for the number of pairs by Holm's method (1979).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from statistics import mean

import numpy as np
from scipy import stats

LEVEL = 0.95
DRAWS = 9999


@dataclass(frozen=True)
class Standing:
    """The place of a family among others.

    Attributes:
      mean: of the score, over seeds.
      low, high: bootstrap interval of the mean, at `LEVEL`.
      rank: shared with the family above, unless the first of that rank is significantly better. None if there is
        nothing to compare with.
    """

    family: str
    mean: float
    low: float
    high: float
    rank: int | None


@dataclass(frozen=True)
class Pair:
    """Two families compared: `a` has the better mean.

    Attributes:
      difference: mean of a minus mean of b.
      p: corrected for the number of pairs.
      sure: whether a is significantly better, see `compare`.
    """

    a: str
    b: str
    difference: float
    p: float
    sure: bool


@dataclass(frozen=True)
class Comparison:
    """Families compared on the same task over the same seeds.

    Attributes:
      standings: the best mean first.
      pairs: every family with each that has a worse mean.
    """

    seeds: list[int]
    standings: list[Standing]
    pairs: list[Pair]


def compare(scores: Mapping[str, Mapping[int, float]], better: str) -> Comparison:
    """Compares all families in pairs and ranks them, from scores by family and seed. `better` is "max" or "min".

    One family is significantly better than another if their intervals do not overlap and the corrected p is below 1 -
    `LEVEL`. Raises ValueError if families have different seeds.
    """
    if len({tuple(sorted(by_seed)) for by_seed in scores.values()}) > 1:
        seeds = "; ".join(f"{family}: {', '.join(map(str, sorted(by_seed)))}" for family, by_seed in scores.items())
        raise ValueError(f"families are compared over the same seeds, but these have different ones ({seeds})")
    values = {family: [by_seed[seed] for seed in sorted(by_seed)] for family, by_seed in scores.items()}
    order = sorted(values, key=lambda family: mean(values[family]), reverse=better == "max")
    intervals = {family: interval(values[family]) for family in order}
    tests = [(a, b, paired_p(values[a], values[b])) for a, b in combinations(order, 2)]
    pairs = []
    for (a, b, _), p in zip(tests, holm([p for *_, p in tests])):
        apart = intervals[a][0] > intervals[b][1] or intervals[a][1] < intervals[b][0]
        pairs.append(Pair(a, b, mean(values[a]) - mean(values[b]), p, apart and p < 1 - LEVEL))
    ranks = _ranks(order, {(pair.a, pair.b) for pair in pairs if pair.sure})
    standings = [
        Standing(family, mean(values[family]), *intervals[family], rank) for family, rank in zip(order, ranks)
    ]
    return Comparison(sorted(next(iter(scores.values()), {})), standings, pairs)


def interval(values: list[float]) -> tuple[float, float]:
    """Returns the bootstrap interval of the mean (percentiles; Efron 1979). Deterministic."""
    if len(set(values)) == 1:
        return values[0], values[0]
    bootstrap = stats.bootstrap(
        (values,), np.mean, confidence_level=LEVEL, n_resamples=DRAWS, method="percentile", rng=np.random.default_rng(0)
    )  # fmt: skip
    return float(bootstrap.confidence_interval.low), float(bootstrap.confidence_interval.high)


def paired_p(a: list[float], b: list[float]) -> float:
    """Returns the two-sided p of the paired t-test; 1 if there is a single pair or no difference at all."""
    differences = np.subtract(a, b)
    if len(a) < 2 or not differences.any():
        return 1.0
    if np.ptp(differences) < 1e-12:  # always ahead by the same amount: the test would divide by zero
        return 0.0
    return float(stats.ttest_rel(a, b).pvalue)


def holm(p: list[float]) -> list[float]:
    """Returns the p-values corrected for multiple tests (Holm 1979), in the given order."""
    order = sorted(range(len(p)), key=p.__getitem__)
    corrected, largest = [0.0] * len(p), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - place) * p[index]))
        corrected[index] = largest
    return corrected


def _ranks(order: list[str], better: set[tuple[str, str]]) -> list[int | None]:
    """The rank of each family, best mean first. `better` has the pairs whose first is significantly better."""
    if len(order) < 2:
        return [None] * len(order)
    first, ranks = 0, []
    for place, family in enumerate(order):
        if (order[first], family) in better:
            first = place
        ranks.append(first + 1)
    return ranks
