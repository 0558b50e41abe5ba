"""How a cost grows with a size: the exponent of its leading term, and its slope where it was measured.

A cost is seldom a power of one size. A step of a transformer on T tokens costs c T + a T^2, and its slope between 1 and
2 says as much about the lengths that were chosen as about the model. So there are two numbers. The exponent is that of
the leading term, with the lower terms fitted beside it: it needs exact costs, such as operations that were counted. The
slope is that of the logarithms over all sizes, lower terms included: that of a time can be compared with it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

SHARE = 0.01  # of the largest cost, below which a leading term counts as absent
HIGHEST = 4.0  # exponent that is looked for


def slope(sizes: ArrayLike, costs: ArrayLike) -> float:
    """Returns the slope of log(cost) against log(size), by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def leading_exponent(sizes: ArrayLike, costs: ArrayLike, lower: Sequence[float] = (), *, falls: bool = False) -> float:
    """Returns p of the best fit of cost = sum of c_q size^q over the `lower` powers q + a size^p, factors >= 0.

    The factors are those with the least relative squares for each p (variable projection, Golub & Pereyra 1973).

    Args:
      sizes, costs: at least two more of them than there are powers in `lower`.
      lower: the powers of the other terms.
      falls: p lies below the powers in `lower`, and not above.

    Returns:
      p, or the power next to it in `lower` if the leading term is less than 1 % of what it should lead.
    """
    x, y = np.asarray(sizes, float), np.asarray(costs, float)
    x = x / np.exp(np.log(x).mean())

    def project(power: float) -> tuple[np.ndarray, float]:
        columns = np.stack([x**q for q in (*lower, power)], axis=1)
        return optimize.nnls(columns / y[:, None], np.ones_like(y))

    gap = 0.1  # next to a lower power the two terms could not be told apart
    bounds = (-HIGHEST, min(lower, default=0.0) - gap) if falls else (max(lower, default=-gap) + gap, HIGHEST)
    grid = np.linspace(*bounds, 60)
    start = int(np.argmin([project(power)[1] for power in grid]))
    near = (grid[max(start - 1, 0)], grid[min(start + 1, len(grid) - 1)])
    best = optimize.minimize_scalar(lambda power: project(power)[1], bounds=near, method="bounded",
                                    options={"xatol": 1e-6})  # fmt: skip
    power = float(best.x)  # pyright: ignore[reportAttributeAccessIssue]
    place = 0 if falls else -1
    share = project(power)[0][-1] * x[place] ** power / y[place]
    if share < SHARE and lower:
        return float(min(lower) if falls else max(lower))
    return power
