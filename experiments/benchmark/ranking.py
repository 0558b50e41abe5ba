"""Which of several families is better, and how sure that is: intervals over seeds, paired tests, ranks.

The runs of two families with the same seed see the same examples in the same order, so they are compared in pairs: by a
paired t-test on their differences. With 5 seeds a rank test could not say anything, for its smallest p is 2 / 2^5.
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
    """A family among others.

    Attributes:
      mean, low, high: of the score over seeds, with a bootstrap interval of `LEVEL` for the mean.
      rank: shared with the family above, unless the first of that rank is surely better. None where there is nothing to
        compare with.
    """

    family: str
    mean: float
    low: float
    high: float
    rank: int | None


@dataclass(frozen=True)
class Pair:
    """Two families: `a` has the better mean, by `difference`; `p` is corrected. `sure`: a is better, see `compare`."""

    a: str
    b: str
    difference: float
    p: float
    sure: bool


def compare(scores: Mapping[str, Mapping[int, float]], better: str) -> tuple[list[Standing], list[Pair]]:
    """The families, the best mean first, and all pairs of them, from scores by family and seed.

    One family is surely better than another where their intervals do not overlap and the corrected p is below 1 -
    `LEVEL`. Raises ValueError where the seeds are not the same for all.
    """
    if len({tuple(sorted(values)) for values in scores.values()}) > 1:
        said = "; ".join(f"{family}: {', '.join(map(str, sorted(values)))}" for family, values in scores.items())
        raise ValueError(f"families are compared over the same seeds, but these have run ({said})")
    values = {family: [by_seed[seed] for seed in sorted(by_seed)] for family, by_seed in scores.items()}
    order = sorted(values, key=lambda family: mean(values[family]), reverse=better == "max")
    between = {family: interval(values[family]) for family in order}
    tests = [(a, b, paired_p(values[a], values[b])) for a, b in combinations(order, 2)]
    pairs = []
    for (a, b, _), p in zip(tests, holm([p for *_, p in tests])):
        apart = between[a][0] > between[b][1] or between[a][1] < between[b][0]
        pairs.append(Pair(a, b, mean(values[a]) - mean(values[b]), p, apart and p < 1 - LEVEL))
    ranks = _ranks(order, {(pair.a, pair.b) for pair in pairs if pair.sure})
    return [Standing(family, mean(values[family]), *between[family], rank) for family, rank in zip(order, ranks)], pairs


def _ranks(order: list[str], sure: set[tuple[str, str]]) -> list[int | None]:
    """A rank for each family, from the best on, where `sure` are the pairs of a surely better one and another."""
    if len(order) < 2:
        return [None] * len(order)
    first, ranks = 0, []
    for place, family in enumerate(order):
        if (order[first], family) in sure:
            first = place
        ranks.append(first + 1)
    return ranks


def interval(values: list[float]) -> tuple[float, float]:
    """The bootstrap interval of the mean (percentiles; Efron 1979), the same at each call."""
    if len(set(values)) == 1:
        return values[0], values[0]
    found = stats.bootstrap(
        (values,), np.mean, confidence_level=LEVEL, n_resamples=DRAWS, method="percentile", rng=np.random.default_rng(0)
    )  # fmt: skip
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def paired_p(a: list[float], b: list[float]) -> float:
    """The two-sided p of the paired t-test; 1 where nothing can be said: a single pair, or the same scores."""
    differences = np.subtract(a, b)
    if len(a) < 2 or not differences.any():
        return 1.0
    if np.ptp(differences) < 1e-12:  # always ahead by the same: the test would divide by zero
        return 0.0
    return float(stats.ttest_rel(a, b).pvalue)


def holm(p: list[float]) -> list[float]:
    """The p-values of as many tests at once, each in its place (Holm 1979)."""
    order = sorted(range(len(p)), key=p.__getitem__)
    corrected, largest = [0.0] * len(p), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - place) * p[index]))
        corrected[index] = largest
    return corrected
