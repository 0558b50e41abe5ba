"""Where the differences between runs come from: seeds, tuning, and the sampling of the test examples.

The model: run s of study k of a family, tested on example i, contributes

    value[k, s, i] = mean + tuning[k] + seed[k, s] + example[i] + rest[k, s, i],

where all terms after the mean are independent with zero mean. A study is one tuning (its seed and its split of training
and validation data) with its final runs; all runs are tested on the same examples. The score of a run is the mean of
its values over the examples. The variance of the mean score of a family is then the sum of two parts that can be
estimated: the variance of the means of studies (of runs, if there is one study), which contains tuning, seeds and rest,
and the variance of `example`, divided by the number of examples. The two examples of a pair of families are the same,
so what is easy for both families cancels in their difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
import math

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """An estimated variance, with its degrees of freedom (0: it cannot be estimated)."""

    variance: float
    freedom: float


@dataclass(frozen=True)
class Spread:
    """The variance of a mean or of a difference: of runs (seeds and tuning), and of test examples where it is known."""

    runs: Estimate
    test: Estimate | None = None

    @property
    def combined(self) -> Estimate:
        """The sum of both."""
        return total([part for part in (self.runs, self.test) if part])


@dataclass(frozen=True)
class Sources:
    """The standard error of a family's mean score by source. None where a source was not measured.

    Attributes:
      seeds: initialisation and order of the examples.
      tuning: the choice of the setting. Measured with at least two studies.
      test: which examples are in the test split. Measured where the predictions for each example are kept.
    """

    seeds: float | None
    tuning: float | None
    test: float | None


class Runs:
    """The final runs of a family.

    Args:
      scores: by seed.
      studies: the study of each seed; by default all are of one.
      examples: what each test example contributes to the score of a run, by seed; their mean is the score. Optional.
    """

    def __init__(
        self, scores: Mapping[int, float], studies: Mapping[int, int] | None = None,
        examples: Mapping[int, np.ndarray] | None = None,
    ):  # fmt: skip
        self.seeds = sorted(scores)
        self.values = np.array([scores[seed] for seed in self.seeds], float)
        self.studies = [(studies or {}).get(seed, 0) for seed in self.seeds]
        self.examples: np.ndarray | None = None
        if examples and all(seed in examples for seed in self.seeds):
            self.examples = np.stack([examples[seed] for seed in self.seeds]).astype(float)

    @cached_property
    def mean(self) -> float:
        """The mean score, in which each study counts the same."""
        return float(np.mean(self.units))

    @cached_property
    def units(self) -> np.ndarray:
        """The independent scores: means of the studies, or the scores of all runs if there is one study."""
        groups = self.by_study()
        return self.values if len(groups) == 1 else np.array([group.mean() for group in groups])

    def by_study(self) -> list[np.ndarray]:
        """Returns the scores of each study."""
        studies = np.array(self.studies)
        return [self.values[studies == study] for study in dict.fromkeys(self.studies)]

    def of_runs(self, step: float = 0.0) -> Estimate:
        """Returns the variance of the mean that comes from seeds and tuning. `step`: that scores are rounded to."""
        return mean_variance(self.units, step)

    def of_examples(self, other: "Runs | None" = None) -> Estimate | None:
        """Returns the variance of the mean that comes from the test examples, or that of the difference to another.

        None if the values of the examples are not kept, or belong to other examples.
        """
        if self.examples is None or (other and (other.examples is None or other.count != self.count)):
            return None
        values, rest = self._examples
        if other:
            others, other_rest = other._examples
            values, rest = values - others, rest + other_rest
        count = len(values)
        if count < 2:
            return None
        return Estimate(max(0.0, float(np.var(values, ddof=1)) - rest) / count, count - 1)

    @property
    def count(self) -> int:
        """The number of test examples whose values are kept."""
        return 0 if self.examples is None else self.examples.shape[1]

    def sources(self) -> Sources:
        """Returns the standard error of the mean by source."""
        groups, test = self.by_study(), self.of_examples()
        freedom = sum(len(group) - 1 for group in groups)
        within = sum(float(np.var(group)) * len(group) for group in groups) / freedom if freedom else None
        tuning = None
        shares = sum(1 / len(group) for group in groups) / len(groups)  # of the variance within, in a study's mean
        if len(groups) > 1 and within is not None:
            between = float(np.var([group.mean() for group in groups], ddof=1))
            tuning = math.sqrt(max(0.0, between - within * shares) / len(groups))
        return Sources(
            seeds=None if within is None else math.sqrt(within * shares / len(groups)),
            tuning=tuning,
            test=None if test is None else math.sqrt(test.variance),
        )

    @cached_property
    def _examples(self) -> tuple[np.ndarray, float]:
        """The mean value of each example over the runs, and the variance in it that is not the example's own."""
        assert self.examples is not None
        values, runs = self.examples.mean(0), len(self.examples)
        if runs < 2 or self.count < 2:
            return values, 0.0
        residuals = self.examples - values - self.examples.mean(1, keepdims=True) + self.examples.mean()
        return values, float((residuals**2).sum()) / ((runs - 1) * (self.count - 1) * runs)


def mean_variance(values: Sequence[float] | np.ndarray, step: float = 0.0) -> Estimate:
    """Returns the variance of the mean of independent values, which are rounded to multiples of `step`.

    Rounding hides a spread that is below the step, so the variance of a value that is uniform within a step is added:
    equal scores do not prove that there is no spread.
    """
    count = len(values)
    if count < 2:
        return Estimate(math.nan, 0)
    return Estimate((float(np.var(values, ddof=1)) + step**2 / 12) / count, count - 1)


def total(parts: Sequence[Estimate]) -> Estimate:
    """Returns the sum of independent estimates, with degrees of freedom by Satterthwaite (1946)."""
    variance = sum(part.variance for part in parts)
    if any(not part.freedom for part in parts):
        return Estimate(math.nan, 0)
    spread = sum(part.variance**2 / part.freedom for part in parts)
    return Estimate(variance, variance**2 / spread if spread else min(part.freedom for part in parts))


def rounding_step(scores: Sequence[float] | np.ndarray) -> float:
    """Returns the number of which all differences between scores are multiples; 0 if there is none worth the name.

    Accuracies on 360 images differ by multiples of 1/360. Two values alone could always be rounded, and count as such.
    """
    values = np.sort(np.asarray(scores, float))
    values = values[np.isfinite(values)]
    if not len(values) or not (span := float(values[-1] - values[0])):
        return 0.0
    tolerance = max(1e-6 * span, 1e-9 * float(np.abs(values).max()))
    gaps = np.diff(values)
    step = 0.0
    for gap in gaps[gaps > tolerance]:  # Euclid's algorithm
        step, rest = float(gap), step
        while rest > tolerance:
            step, rest = rest, min(step % rest, rest - step % rest)
    return step if step > 100 * tolerance else 0.0
