"""A monotone map of the decoder's values that gives them the distribution of the true ones: quantile mapping.

A decoder trained on mean errors fills the deepest holes a little: one voxel in a thousand, which moves no error and no
loss, but by which a classifier tells every frame. As climate models' output is corrected by the quantiles of what was
observed (Panofsky and Brier 1958; Maraun, J. Climate 26, 2137 (2013)), each value is replaced by the true one of the
same rank among the training frames. It acts voxel by voxel, so it commutes with translations and symmetries.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edviz.errors import ArgumentError

__all__ = ["ValueMap"]

FIRST_GROUP = 16
"""Values averaged for the outermost knot; towards the median the groups grow by GROWTH."""
GROWTH = 1.25


class ValueMap:
    """Values to values, piecewise linear in the logarithms; beyond the outermost knots the ratio stays.

    Parameters
    ----------
    generated, true
        (n,) knots, positive and increasing.

    Raises
    ------
    ArgumentError
        If they are not.
    """

    def __init__(self, generated: ArrayLike, true: ArrayLike) -> None:
        self.generated, self.true = np.asarray(generated, np.float64), np.asarray(true, np.float64)
        knots = np.stack([self.generated, self.true])
        if knots.ndim != 2 or not (np.isfinite(knots).all() and (knots > 0).all() and (np.diff(knots) > 0).all()):
            raise ArgumentError("the knots of a value map must be positive and increasing.")
        self._log, self._log_ratio = np.log(knots[0]), np.log(knots[1] / knots[0])

    @classmethod
    def fit(cls, generated: ArrayLike, true: ArrayLike) -> ValueMap:
        """The map from one sample of values to another of the same size, any shape, positive.

        Each knot is the geometric mean of a group of neighbours in rank; groups are small at both ends, where the
        map is needed, and large in the middle.
        """
        ours, theirs = (np.sort(np.log(np.ravel(x).astype(np.float64))) for x in (generated, true))
        if len(ours) != len(theirs) or len(ours) < 4 * FIRST_GROUP:
            raise ArgumentError(f"a value map needs two samples of one size, {4 * FIRST_GROUP} values or more.")
        half = [0]
        size = float(FIRST_GROUP)
        while half[-1] + 2 * size < len(ours) / 2:
            half.append(half[-1] + int(size))
            size *= GROWTH
        starts = np.array([*half, *(len(ours) - n for n in half[:0:-1])])
        counts = np.diff(np.append(starts, len(ours)))
        knots = np.stack([np.add.reduceat(x, starts) / counts for x in (ours, theirs)])
        rising = np.concatenate([[True], (np.diff(np.maximum.accumulate(knots, axis=1)) > 1e-12).all(axis=0)])
        return cls(*np.exp(knots[:, rising]))

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map positive values of any shape."""
        return values * np.exp(np.interp(np.log(values), self._log, self._log_ratio))
