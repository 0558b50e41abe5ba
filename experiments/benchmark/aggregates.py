"""Scores of several tasks in one number, with an interval (Agarwal et al. 2021, arXiv 2108.13264).

The scores of a family are a list with an array for each task, one score for each run. In every function a larger score
is better. Intervals are percentiles of a stratified bootstrap: runs are drawn again within each task. The numbers are
those of the authors' package `rliable`, with which a test compares them.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

DRAWS = 2000
LEVEL = 0.95

Scores = Sequence[np.ndarray]


def interquartile_mean(scores: Scores) -> float:
    """Returns the mean of the middle half of all scores."""
    return float(stats.trim_mean(np.concatenate(scores), 0.25))


def optimality_gap(scores: Scores, best: float = 1.0) -> float:
    """Returns by how much the scores fall short of `best` on average; more than `best` counts as `best`."""
    return best - float(np.mean([np.minimum(task, best).mean() for task in scores]))


def mean(scores: Scores) -> float:
    """Returns the mean over tasks of the mean over runs."""
    return float(np.mean([task.mean() for task in scores]))


def median(scores: Scores) -> float:
    """Returns the median over tasks of the mean over runs."""
    return float(np.median([task.mean() for task in scores]))


def improvement(scores: Scores, others: Scores) -> float:
    """Returns the probability that a run is better than another family's on a random task; a tie counts half."""
    shares = [
        np.mean((task[:, None] > other) + 0.5 * (task[:, None] == other)) for task, other in zip(scores, others)
    ]
    return float(np.mean(shares))


def profile(scores: Scores, thresholds: np.ndarray) -> np.ndarray:
    """Returns the share of runs whose score is above each threshold, on average over tasks."""
    return np.mean([(task[:, None] > thresholds).mean(0) for task in scores], axis=0)


def interval(statistic: Callable, *families: Scores, draws: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bootstrap interval of a statistic of the scores of one or two families. Deterministic.

    `draws`: how many, by default `DRAWS`.
    """
    generator = np.random.default_rng(0)
    draw = lambda scores: [task[generator.integers(len(task), size=len(task))] for task in scores]
    values = [statistic(*(draw(scores) for scores in families)) for _ in range(draws or DRAWS)]
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high
