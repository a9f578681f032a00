"""Scores of a forecast field or an ensemble of them against the truth: arrays in, numbers out.

The vocabulary is that of weather forecasting. The CRPS is in its fair form, whose expectation does not depend on the
number of members (C. Ferro, Q. J. R. Meteorol. Soc. 140, 1917 (2014)). Spread and skill are compared with the factor
sqrt((M + 1) / M) of V. Fortin et al., J. Hydrometeorol. 15, 1708 (2014). VRMSE is the root mean squared error over the
standard deviation of the truth, as in The Well (R. Ohana et al., arXiv 2412.00568).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["anomaly_correlation", "crps", "half_pair_distance", "mean_over_grid", "rmse", "spread", "vrmse"]

NO_ANOMALY = 1e-6  # of the truth's scale: a single-precision field that differs by less from the mean field is the same


def mean_over_grid(values: NDArray[Any]) -> NDArray[np.float64]:
    """(..., a, b, c) to (...), in double precision."""
    return values.mean(axis=(-3, -2, -1), dtype=np.float64)


def rmse(forecast: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.float64]:
    """Root mean squared error over the grid, (..., a, b, c) to (...)."""
    return np.sqrt(mean_over_grid(np.square(forecast - truth, dtype=np.float64)))


def vrmse(forecast: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.float64]:
    """`rmse` over the standard deviation of the truth over the grid: 0 is perfect, 1 the truth's own mean."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return rmse(forecast, truth) / truth.std(axis=(-3, -2, -1), dtype=np.float64)


def anomaly_correlation(
    forecast: NDArray[Any], truth: NDArray[Any], normal: NDArray[Any] | float
) -> NDArray[np.float64]:
    """< f' o' > / sqrt(< f'^2 > < o'^2 >) over the grid, f' and o' deviations from the climatological mean `normal`.

    Returns
    -------
    (..., a, b, c) to (...): 1 is perfect. 0 for a forecast that does not deviate from the mean field (but for single
    precision), which by itself has no correlation; not a number for a truth that does not.
    """
    ours, theirs = (np.subtract(values, normal, dtype=np.float64) for values in (forecast, truth))
    own, true = mean_over_grid(ours**2), mean_over_grid(theirs**2)
    flat = own <= NO_ANOMALY**2 * mean_over_grid(np.square(truth, dtype=np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(flat, 0.0, mean_over_grid(ours * theirs) / np.sqrt(own * true))


def half_pair_distance(members: NDArray[Any]) -> NDArray[np.float64] | float:
    """Half the mean abs(x_m - x_n) over pairs of different members, (member, ...) to (...); 0 for one member."""
    n = len(members)
    if n == 1:
        return 0.0
    # The sum over pairs is that over ranks i = 1..n of (2 i - n - 1) x_(i).
    ranks = 2.0 * np.arange(1, n + 1) - n - 1
    ordered = np.sort(members, axis=0)
    return sum(rank * own.astype(np.float64) for rank, own in zip(ranks, ordered, strict=True)) / (n * (n - 1))


def crps(
    members: NDArray[Any], truth: NDArray[Any], half_distance: NDArray[np.float64] | float | None = None
) -> NDArray[np.float64]:
    """Continuous ranked probability score of an ensemble, point by point, in its fair form.

    mean abs(x_m - y) over members m, minus half the mean abs(x_m - x_n) over pairs of different members.

    Parameters
    ----------
    members
        (member, ...); a single one scores abs(x - y).
    truth
        (...).
    half_distance
        `half_pair_distance(members)`, where one ensemble meets many truths.

    Returns
    -------
    (...), in the unit of the values; its expectation is smallest for members from the truth's own distribution.
    """
    distance = np.abs(members - truth).mean(axis=0, dtype=np.float64)
    return distance - (half_pair_distance(members) if half_distance is None else half_distance)


def spread(members: NDArray[Any]) -> NDArray[np.float64]:
    """Root of the members' variance (M - 1 in its denominator), averaged over the grid; not a number for one member.

    (member, ..., a, b, c) to (...).
    """
    if len(members) == 1:
        return np.full(members.shape[1:-3], np.nan)
    return np.sqrt(mean_over_grid(members.var(axis=0, ddof=1, dtype=np.float64)))
