"""The slope of a correlated series, with an interval that also holds for a dozen points.

The slope is that of least squares. Deviations from the line are taken as a first-order autoregressive process; its
correlation r and variance are those that would leave, *after a line is taken out*, the lag-one product and the squares
that are seen. (Taken from the residuals as they are, as in B. D. Santer et al., J. Geophys. Res. 105, 7337 (2000), both
come out too small in short series, and intervals too narrow.) The error of the slope and the number of degrees of
freedom of Student's t (F. E. Satterthwaite, Biometrics Bull. 2, 110 (1946)) follow from r exactly. All traces below
take a number of operations proportional to the length of the series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.signal import lfilter

from edviz.analysis.floors import CONFIDENCE

__all__ = ["Slope", "fit_slope"]

Array = NDArray[np.float64]

MIN_POINTS = 4  # of a series: a line through fewer leaves nothing to learn from
R_STEPS = np.linspace(0.0, 0.95, 39)  # correlations tried; beyond the last a series is too correlated to tell


@dataclass(frozen=True)
class Slope:
    """A slope and what its interval is made from.

    Attributes
    ----------
    value
        Least squares, per unit of time.
    errors
        (standard error, degrees of freedom) by the series alone and, if there are others, by all of them together; not
        numbers where the series are too correlated to tell.
    """

    value: float
    errors: tuple[tuple[float, float], ...]

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """The wider of the intervals; not numbers if the series is too short or too correlated for one."""
        half = max(self._halves(confidence), default=np.nan)
        half = half if np.isfinite(self._halves(confidence)).all() else np.nan
        return self.value - half, self.value + half

    def may_be_zero(self, confidence: float = CONFIDENCE) -> bool:
        """Whether one of the intervals holds zero."""
        return any(abs(self.value) <= half for half in self._halves(confidence))

    def _halves(self, confidence: float) -> list[float]:
        return [float(stats.t.ppf((1 + confidence) / 2, freedom)) * error for error, freedom in self.errors]


def fit_slope(time: ArrayLike, values: ArrayLike, others: Sequence[ArrayLike] = ()) -> Slope:
    """Slope of an evenly spaced series.

    Parameters
    ----------
    time, values
        (n,) each.
    others
        Further series at the same spacing that should scatter as this one does, each with a mean and a slope of its
        own: they make an interval that a short series alone would leave too narrow by chance. One shorter than four
        points does not count.

    Returns
    -------
    Slope. Its value is not a number for fewer than three points.
    """
    time, values = np.asarray(time, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if len(values) < 3:
        return Slope(np.nan, ())
    centred = time - time.mean()
    squared = float(centred @ centred)
    value = float(centred @ values / squared)
    series = [values] + [other for other in map(np.asarray, others) if len(other) >= MIN_POINTS]
    groups = [series[:1], series] if len(series) > 1 else [series]
    errors = [_error(group, centred / squared) for group in groups] if len(values) >= MIN_POINTS else []
    return Slope(value, tuple(errors))


def _error(series: Sequence[Array], weights: Array) -> tuple[float, float]:
    """Standard error of sum(weights * first series), and degrees of freedom; not numbers if too correlated."""
    bases = [_lines(len(values)) for values in series]
    squares = products = 0.0
    for values, lines in zip(series, bases, strict=True):
        # The line is taken out twice: what is left of exact data is then rounding alone.
        residuals = values - lines @ (lines.T @ values)
        residuals -= lines @ (lines.T @ residuals)
        squares += float(residuals @ residuals)
        products += float(residuals[1:] @ residuals[:-1])
    expected = np.sum([_table(len(values)) for values in series], axis=0)
    correlation = products / squares if squares > 0 else 0.0
    ratios = expected[:, 1] / expected[:, 0]
    if correlation > ratios[-1]:
        return np.nan, np.nan
    r = float(np.interp(correlation, ratios, R_STEPS))  # none below zero: the interval would be narrower
    all_of_it, _, twice = np.sum([_traces(lines, r) for lines in bases], axis=0)
    variance = squares / all_of_it * float(weights @ _correlated(weights[:, None], r)[:, 0])
    return float(np.sqrt(variance)), float(all_of_it**2 / twice)


@lru_cache(maxsize=256)
def _table(n: int) -> Array:
    """(R_STEPS, 3) `_traces` of a series of n points."""
    lines = _lines(n)
    return np.array([_traces(lines, r) for r in R_STEPS])


def _lines(n: int) -> Array:
    """(n, 2) orthonormal basis of all straight lines."""
    steps = np.arange(n) - (n - 1) / 2
    return np.stack([np.full(n, n**-0.5), steps / np.sqrt(steps @ steps)], axis=1)


def _correlated(x: Array, r: float) -> Array:
    """R x, R_ij = r^|i - j|: (n, m) to (n, m) by one filter forth and one back."""
    forth = lfilter([1.0], [1.0, -r], x, axis=0)
    back = lfilter([1.0], [1.0, -r], x[::-1], axis=0)[::-1]
    result: Array = forth + back - x
    return result


def _traces(lines: Array, r: float) -> tuple[float, float, float]:
    """tr(M R), tr(M R M S) and tr(M R M R), with M = 1 - lines lines^T taking out a line, S_ij = [|i - j| = 1] / 2.

    For unit variance: the expected sum of squared residuals, that of products of neighbouring residuals, and half the
    variance of the former.
    """
    n = len(lines)
    lags = np.arange(1, n)
    turned = _correlated(lines, r)
    moved = np.zeros_like(lines)
    moved[1:] += lines[:-1] / 2
    moved[:-1] += lines[1:] / 2
    inner = lines.T @ turned
    return (
        n - float(np.trace(inner)),
        (n - 1) * r - 2 * float((moved * turned).sum()) + float((inner * (lines.T @ moved)).sum()),
        n + 2 * float(((n - lags) * r ** (2.0 * lags)).sum()) - 2 * float((turned**2).sum()) + float((inner**2).sum()),
    )
