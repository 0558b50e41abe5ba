"""Which of several families or settings are better than others, and how certain that is.

A comparison tests all pairs and corrects the p-values for their number by Holm's method (1979). Two families' scores
with the same seed turn out to be uncorrelated, so pairs of seeds would only cost degrees of freedom: the test is
Welch's (1947), for two means with two variances. Where the scores that share a seed do vary together, which is
measured, it is the t-test of their differences. Which variances enter is said in `experiments.benchmark.variation`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
import math
from typing import cast

import numpy as np
from scipy import optimize, stats

from experiments.benchmark.variation import Estimate, Runs, Sources, Spread, mean_variance, rounding_step, total

LEVEL = 0.95
POWER = 0.8
MINIMUM = 3
"""Seeds (studies, if there are several) below which no rank is given. With two, more than 5 % of comparisons of two
families with unequal spread would find a difference that is not there; see `experiments.benchmark.simulate`."""
PAIRED = 0.01  # the p of an effect of seeds below which scores that share a seed are compared in pairs

Scores = Mapping[int, float]


@dataclass(frozen=True)
class Standing:
    """The place of a family among others.

    Attributes:
      mean: of the score.
      low, high: interval of the mean at `LEVEL`, by Student's t; None with one run.
      rank: the best and the worst rank that the comparison allows: one more than the families that are significantly
        better, and the number of those that are not significantly worse. None if there are fewer than `MINIMUM` seeds
        or there is nothing to compare with.
      sources: of the variation of the mean.
    """

    family: str
    mean: float
    low: float | None
    high: float | None
    rank: tuple[int, int] | None
    sources: Sources


@dataclass(frozen=True)
class Pair:
    """Two families compared: `a` has the better mean.

    Attributes:
      difference: mean of a minus mean of b.
      low, high: interval of the difference at `LEVEL`, of this pair alone; None with one run.
      p: corrected for the number of pairs.
      sure: whether a is significantly better.
      detectable: the smallest true difference that this design finds significant with probability `POWER`, from the
        spread of this pair; None with one run.
    """

    a: str
    b: str
    difference: float
    low: float | None
    high: float | None
    p: float
    sure: bool
    detectable: float | None


@dataclass(frozen=True)
class Comparison:
    """Families compared on the same task.

    Attributes:
      seeds: of the runs.
      standings: the best mean first.
      pairs: every family with each that has a worse mean.
      units: the smallest number of independent scores of a family: its seeds, or its studies if it has several.
      paired: whether scores that share a seed were compared in pairs.
      correlation: mean correlation of the scores of two families over the seeds that both have; None if unknown.
      correlation_error: its standard error if there is none.
    """

    seeds: list[int]
    standings: list[Standing]
    pairs: list[Pair]
    units: int = 0
    paired: bool = False
    correlation: float | None = None
    correlation_error: float | None = None

    @property
    def ranked(self) -> bool:
        """Whether there are enough independent scores for ranks."""
        return self.units >= MINIMUM and len(self.standings) > 1


@dataclass(frozen=True)
class Tests:
    """All pairs tested: an entry for each pair.

    Attributes:
      pairs: of indices.
      differences: of the means.
      spreads: their variances.
      p: corrected.
    """

    pairs: list[tuple[int, int]]
    differences: np.ndarray
    spreads: list[Spread]
    p: list[float]
    paired: bool = False
    step: float = 0.0
    correlation: tuple[float, float] | None = field(default=None)


def compare(
    families: Mapping[str, Scores | Runs], better: str, *, bounds: tuple[float, float] = (-math.inf, math.inf),
    comparisons: int = 1,
) -> Comparison:  # fmt: skip
    """Compares all families in pairs and ranks them.

    Args:
      families: their scores by seed, or what is known of their runs.
      better: "max" or "min".
      bounds: of possible scores, at which intervals end.
      comparisons: how many are reported together with this one; p-values are corrected for them too.
    """
    runs = {name: family if isinstance(family, Runs) else Runs(family) for name, family in families.items()}
    order = sorted(runs, key=lambda name: runs[name].mean, reverse=better == "max")
    tests = all_pairs([runs[name] for name in order])
    units = min((len(runs[name].units) for name in order), default=0)
    pairs, ahead = [], set()
    corrected = [min(1.0, comparisons * p) for p in tests.p]
    for (i, j), difference, spread, p in zip(tests.pairs, tests.differences, tests.spreads, corrected):
        sure = p < 1 - LEVEL and units >= MINIMUM
        if sure:
            ahead.add((i, j))
        low, high = _interval(float(difference), spread.combined)
        alpha = (1 - LEVEL) / (comparisons * len(tests.pairs))
        pairs.append(Pair(
            order[i], order[j], float(difference), low, high, p, sure,
            None if low is None else detectable(spread, alpha),
        ))  # fmt: skip
    standings = []
    for place, name in enumerate(order):
        spread = Spread(runs[name].of_runs(tests.step), runs[name].of_examples())
        low, high = _interval(runs[name].mean, spread.combined, bounds)
        best = 1 + sum((other, place) in ahead for other in range(len(order)))
        worst = len(order) - sum((place, other) in ahead for other in range(len(order)))
        rank = (best, worst) if units >= MINIMUM and len(order) > 1 else None
        standings.append(Standing(name, runs[name].mean, low, high, rank, runs[name].sources()))
    seeds = sorted({seed for family in runs.values() for seed in family.seeds})
    return Comparison(seeds, standings, pairs, units, tests.paired, *(tests.correlation or (None, None)))


def all_pairs(runs: Sequence[Runs]) -> Tests:
    """Returns the tests of all pairs, each of a family with one that comes later."""
    step = rounding_step(np.concatenate([family.values for family in runs])) if runs else 0.0
    paired, correlation = shared_seeds(runs)
    pairs = list(combinations(range(len(runs)), 2))
    of_runs = [family.of_runs(step) for family in runs]
    differences = np.array([runs[i].mean - runs[j].mean for i, j in pairs])
    spreads = [
        Spread(
            mean_variance(runs[i].units - runs[j].units, step * math.sqrt(2)) if paired
            else total([of_runs[i], of_runs[j]]),
            runs[i].of_examples(runs[j]),
        )
        for i, j in pairs
    ]  # fmt: skip
    return Tests(pairs, differences, spreads, holm(two_sided(differences, spreads)), paired, step, correlation)


def shared_seeds(runs: Sequence[Runs]) -> tuple[bool, tuple[float, float] | None]:
    """Returns whether scores that share a seed are to be compared in pairs, and their mean correlation with its error.

    They are if an analysis of variance (families by seeds) finds an effect of the seeds with p below `PAIRED`. Runs of
    several studies are compared by study.
    """
    if len(runs) < 2 or any(family.seeds != runs[0].seeds for family in runs) or len(runs[0].units) < 2:
        return False, None
    scores = np.stack([family.units for family in runs])
    families, seeds = scores.shape
    centred = scores - scores.mean(1, keepdims=True)
    effect = centred.mean(0)
    rest = ((centred - effect) ** 2).sum() / ((families - 1) * (seeds - 1))
    between = families * (effect**2).sum() / (seeds - 1)
    spread = np.sqrt((centred**2).sum(1))
    both = [(i, j) for i, j in combinations(range(families), 2) if spread[i] and spread[j]]
    if not both:
        return False, None
    correlation = float(np.mean([centred[i] @ centred[j] / (spread[i] * spread[j]) for i, j in both]))
    error = 1 / math.sqrt(len(both) * (seeds - 1))
    p = stats.f.sf(between / rest, seeds - 1, (families - 1) * (seeds - 1)) if rest > 1e-12 * between else 0.0
    return bool(p < PAIRED), (correlation, error)


def two_sided(differences: np.ndarray, spreads: Sequence[Spread]) -> list[float]:
    """Returns the two-sided p of each difference by Student's t; 1 if its variance is unknown or there is none.

    Where the variance of test examples is added to that of a few runs, Satterthwaite's degrees of freedom are too many
    far out in the tails, where the correction for many pairs looks. The bound of Banerjee (1961) is not:
    |difference| = sqrt(t_runs(p)^2 variance_runs + t_test(p)^2 variance_test), each t by its own degrees of freedom.
    """
    size = np.abs(differences)
    runs, test = ([spread.runs for spread in spreads], [spread.test or Estimate(0.0, 1) for spread in spreads])
    variance, tested = (np.array([part.variance for part in parts]) for parts in (runs, test))
    freedom, test_freedom = (np.array([part.freedom for part in parts], float) for parts in (runs, test))
    finite = np.isfinite(variance) & (freedom > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(variance > 0, 2 * stats.t.sf(size / np.sqrt(variance), freedom), 0.0)
    if tested.any():
        bound = lambda p: stats.t.isf(p / 2, freedom) ** 2 * variance + stats.t.isf(p / 2, test_freedom) ** 2 * tested
        low, high = np.full(len(size), -300.0), np.zeros(len(size))  # log10 of p, by bisection
        for _ in range(40):
            middle = (low + high) / 2
            beyond = bound(10**middle) > size**2
            low, high = np.where(beyond, middle, low), np.where(beyond, high, middle)
        p = np.where(tested > 0, 10**high, p)
    return [float(value) for value in np.where(finite & (differences != 0), p, 1.0)]


def holm(p: Sequence[float]) -> list[float]:
    """Returns the p-values corrected for multiple tests (Holm 1979), in the given order."""
    order = sorted(range(len(p)), key=p.__getitem__)
    corrected, largest = [0.0] * len(p), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - place) * p[index]))
        corrected[index] = largest
    return corrected


def interval(
    values: Sequence[float], *, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float | None, float | None]:
    """Returns the interval of the mean of independent values by Student's t; (None, None) for a single one."""
    return _interval(float(np.mean(values)), mean_variance(values), bounds)


def detectable(spread: Spread, alpha: float) -> float:
    """Returns the true difference that a two-sided test at level `alpha` finds significant with probability `POWER`.

    Args:
      spread: of the difference.
      alpha: already corrected for the number of tests.
    """
    combined = spread.combined
    if not combined.variance:
        return 0.0
    parts = [part for part in (spread.runs, spread.test) if part]
    margins = [stats.t.isf(alpha / 2, part.freedom) ** 2 * part.variance for part in parts]
    bound = math.sqrt(sum(margins) / combined.variance)
    return math.sqrt(combined.variance) * _multiple(round(min(combined.freedom, 1e4), 2), round(bound, 3))


@lru_cache(maxsize=4096)
def _multiple(freedom: float, bound: float) -> float:
    """The smallest detectable difference in standard errors: t = (z + it) / sqrt(chi2 / freedom) exceeds its bound."""
    shares = (np.arange(400) + 0.5) / 400
    scale = np.sqrt(stats.chi2.ppf(shares, freedom) / freedom)
    power = lambda shift: float(np.mean(stats.norm.sf(bound * scale - shift) + stats.norm.cdf(-bound * scale - shift)))
    return cast(float, optimize.brentq(lambda shift: power(shift) - POWER, 0, 10 + 4 * bound))


@lru_cache(maxsize=4096)
def _quantile(freedom: float) -> float:
    return float(stats.t.isf((1 - LEVEL) / 2, freedom))


def _interval(
    mean: float, estimate: Estimate, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float | None, float | None]:
    if not estimate.freedom:
        return None, None
    width = _quantile(round(estimate.freedom, 3)) * math.sqrt(estimate.variance)
    return max(bounds[0], mean - width), min(bounds[1], mean + width)
