"""A scaling law: how the loss of a model falls with its size and with the examples that it has seen.

L(N, D) = E + A / N^alpha + B / D^beta, with N parameters and D examples (Hoffmann et al. 2022, section 3.3, approach
3). For given exponents the law is linear in E, A and B, none of which is negative. So only the two exponents are
searched for, and the rest is solved for exactly (variable projection, Golub & Pereyra 1973). The loss of the fit is
Huber's of the difference of logarithms, such that a run that went wrong does not bend the curve.

Fitting all runs at once does not have the bias of parabolas through runs of the same cost (arXiv 2603.22339).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

HUBER = 1e-2  # differences of logarithms below it count by their square, larger ones by themselves
EXPONENTS = (0.02, 3.0)
ROUNDS = 30  # of reweighting
LEVEL = 0.95


@dataclass(frozen=True)
class ScalingLaw:
    """L(N, D) = floor + size_factor / (N / sizes)^size_exponent + data_factor / (D / examples)^data_exponent.

    Attributes:
      floor: E, the loss that remains.
      size_factor, size_exponent: A and alpha. data_factor, data_exponent: B and beta; a factor of 0 with a NaN exponent
        stands for what did not differ between the runs.
      size, examples: the units of N and D, their geometric means over the runs, which keep A and B of the order of a
        loss.
    """

    floor: float
    size_factor: float
    size_exponent: float
    data_factor: float
    data_exponent: float
    size: float
    examples: float

    def __call__(self, parameters: ArrayLike, examples: ArrayLike) -> np.ndarray:
        """Returns the loss of models with so many parameters after so many examples."""
        loss = np.full(np.broadcast(parameters, examples).shape, self.floor)
        if self.size_factor:
            loss = loss + self.size_factor * (np.asarray(parameters) / self.size) ** -self.size_exponent
        if self.data_factor:
            loss = loss + self.data_factor * (np.asarray(examples) / self.examples) ** -self.data_exponent
        return loss

    @property
    def growth(self) -> float:
        """The exponent a of the best size for a budget C of operations, N ~ C^a: beta / (alpha + beta)."""
        return self.data_exponent / (self.size_exponent + self.data_exponent)


def fit(
    parameters: ArrayLike, examples: ArrayLike, losses: ArrayLike, near: ScalingLaw | None = None
) -> ScalingLaw:
    """Returns the law that fits runs best.

    Args:
      parameters, examples, losses: of each run.
      near: where to begin the search for the exponents (default: on a grid of all of them).
    """
    axes = [np.asarray(axis, float) for axis in (parameters, examples)]
    units = [float(np.exp(np.log(axis).mean())) for axis in axes]
    varied = [i for i, axis in enumerate(axes) if np.ptp(axis) > 0]
    scaled = [axes[i] / units[i] for i in varied]
    observed = np.asarray(losses, float)

    def project(exponents: Sequence[float]) -> tuple[float, np.ndarray]:
        terms = [axis**-power for axis, power in zip(scaled, exponents)]
        return _solve(np.stack([np.ones_like(observed), *terms], axis=1), observed)

    cost = lambda logs: project(np.clip(np.exp(logs), *EXPONENTS))[0]
    if near is None:
        grid = np.geomspace(*EXPONENTS, 12)
        starts = np.stack([points.ravel() for points in np.meshgrid(*[grid] * len(varied))], axis=1)
        starts = sorted(np.log(starts), key=cost)[:3]
    else:
        starts = [np.log([(near.size_exponent, near.data_exponent)[i] for i in varied])]
    results = [optimize.minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-4}) for start in starts]
    exponents = np.clip(np.exp(min(results, key=lambda result: result.fun).x), *EXPONENTS)
    floor, *factors = project(exponents)[1]
    terms = {i: (float(factor), float(power)) for i, factor, power in zip(varied, factors, exponents)}
    absent = (0.0, float("nan"))
    return ScalingLaw(float(floor), *terms.get(0, absent), *terms.get(1, absent), *units)


def bootstrap(
    law: ScalingLaw, parameters: ArrayLike, examples: ArrayLike, losses: ArrayLike, *,
    draws: int = 200, seed: int = 0,
) -> list[tuple[ScalingLaw, float]]:  # fmt: skip
    """Returns laws fitted to losses that could have been seen as well, each with the factor of one further run.

    The ratios of the losses to the law, widened for the parameters that were fitted, are drawn again for each run
    (residual bootstrap, Efron & Tibshirani 1993, section 9.4): the design, its sizes and numbers of examples, stays.
    """
    expected = law(parameters, examples)
    fitted = 1 + 2 * (law.size_factor > 0) + 2 * (law.data_factor > 0)
    residuals = np.log(losses) - np.log(expected)
    residuals = residuals * np.sqrt(len(residuals) / max(1, len(residuals) - fitted))
    generator = np.random.default_rng(seed)
    laws = []
    for _ in range(draws):
        drawn = generator.choice(residuals, len(residuals) + 1)
        laws.append((fit(parameters, examples, expected * np.exp(drawn[:-1]), near=law), float(np.exp(drawn[-1]))))
    return laws


def interval(values: ArrayLike) -> tuple[float, float]:
    """Returns the central interval that holds 95 % of the values."""
    low, high = np.quantile(np.asarray(values, float), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _solve(columns: np.ndarray, observed: np.ndarray) -> tuple[float, np.ndarray]:
    """The Huber cost of the best factors >= 0 of the columns, and these factors, by reweighted least squares."""
    weights, factors = 1 / observed, np.zeros(columns.shape[1])
    for _ in range(ROUNDS):
        factors, _ = optimize.nnls(columns * weights[:, None], observed * weights)
        residuals = np.log(np.maximum(columns @ factors, 1e-300)) - np.log(observed)
        new = np.sqrt(np.minimum(1, HUBER / np.maximum(np.abs(residuals), 1e-12))) / observed
        if np.allclose(new, weights, rtol=1e-3):
            break
        weights = new
    residuals = np.abs(np.log(np.maximum(columns @ factors, 1e-300)) - np.log(observed))
    huber = np.where(residuals <= HUBER, residuals**2 / 2, HUBER * (residuals - HUBER / 2))
    return float(huber.sum()), factors
