"""The 95 % interval of a mean over a few independent blocks.

With half a dozen blocks a bootstrap is too narrow (it draws from the same half-dozen values); Student's t is exact for
Gaussian block means, and block means of many frames are close to that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from edviz.analysis.floors import CONFIDENCE

__all__ = ["BlockMean", "mean_of_blocks"]


@dataclass(frozen=True)
class BlockMean:
    """Mean over blocks and half the width of its interval, not a number with fewer than two blocks."""

    mean: NDArray[np.float64]
    half_width: NDArray[np.float64]


def mean_of_blocks(values: ArrayLike) -> BlockMean:
    """Mean over the first axis with the 95 % interval of Student's t; (block, ...) to (...)."""
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    mean = values.mean(axis=0) if n else np.full(values.shape[1:], np.nan)
    if n < 2:
        return BlockMean(mean, np.full(values.shape[1:], np.nan))
    error = values.std(axis=0, ddof=1) / np.sqrt(n)
    return BlockMean(mean, stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * error)
