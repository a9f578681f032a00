"""How steep a density is: |grad rho| of the trigonometric polynomial through its values, and the histogram of it.

The histogram of rho and S(k) say nothing of which values lie beside which; the histogram of |grad rho| does, at one
voxel's range. The derivative is that of the trigonometric polynomial through the values (L. N. Trefethen, Spectral
Methods in MATLAB, SIAM 2000, chapter 3). The wave at an even axis' Nyquist frequency is a cosine that is flat at every
grid point: it has no part in the derivative along its own axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from edviz.analysis.frames import TrajectoryLike, as_trajectory, batches
from edviz.analysis.histogram import N_BINS, PERCENTILES, count_rows
from edviz.errors import ArgumentError, SchemaError
from edviz.grid import PeriodicGrid

__all__ = ["GradientBins", "gradient_magnitude"]


def gradient_magnitude(values: NDArray[np.floating], grid: PeriodicGrid) -> NDArray[np.floating]:
    """|grad rho| at the grid points, in any cell.

    Parameters
    ----------
    values
        (n, na, nb, nc), in e/angstrom^3 or any unit.
    grid
        Their grid.

    Returns
    -------
    (n, na, nb, nc), that unit per angstrom, float32 for float32 values, else float64.

    Raises
    ------
    ArgumentError
        If the shape is not the grid's.
    """
    values = np.asarray(values)
    if values.ndim != 4 or values.shape[1:] != grid.shape:
        raise ArgumentError(f"a gradient needs (n, {', '.join(map(str, grid.shape))}) values; got shape {values.shape}")
    dtype = np.dtype(np.float32 if values.dtype == np.float32 else np.float64)
    values = values.astype(dtype, copy=False)
    waves = scipy.fft.rfftn(values, axes=(-3, -2, -1))
    orders = [np.fft.fftfreq(n, 1 / n) for n in grid.shape]
    for order in orders:
        if len(order) % 2 == 0:
            order[len(order) // 2] = 0  # flat at every grid point
    orders[2] = np.abs(orders[2][: grid.shape[2] // 2 + 1])
    # k = 2 pi cell^-1 m, one Cartesian component after the other
    reciprocal = 2 * np.pi * np.linalg.inv(grid.cell)
    total = np.zeros(values.shape, dtype)
    for row in reciprocal:
        along_a, along_b, along_c = (component * order for component, order in zip(row, orders, strict=True))
        k = along_a[:, None, None] + along_b[:, None] + along_c
        component = scipy.fft.irfftn(1j * k.astype(dtype) * waves, s=grid.shape, axes=(-3, -2, -1), overwrite_x=True)
        total += component * component
    return np.sqrt(total, out=total)


@dataclass(frozen=True)
class GradientBins:
    """Equal bins in |grad rho| from 0 to `high`, e/angstrom^4, and one for everything above."""

    high: float
    n: int = N_BINS

    @property
    def edges(self) -> NDArray[np.float64]:
        """(n + 1,) borders of the inner bins."""
        return np.linspace(0, self.high, self.n + 1)

    @classmethod
    def of(cls, reference: TrajectoryLike, n_bins: int = N_BINS, progress: Any = None) -> GradientBins:
        """Bins up to the 99.99 percentile of a reference, in one pass that keeps what lies beyond.

        Raises
        ------
        SchemaError
            If the reference is constant: it has no gradient.
        """
        traj = as_trajectory(reference)
        n_kept = traj.density.size - int((traj.density.size - 1) * PERCENTILES[1] / 100)
        kept: NDArray[np.floating] = np.empty(0, np.float32)
        largest = 0.0
        for _, values in batches(traj, progress, "reference"):
            largest = max(largest, float(np.abs(values).max()))
            found = gradient_magnitude(values.reshape(-1, *traj.grid.shape), traj.grid).ravel()
            if len(kept) == n_kept:
                found = found[found > kept.min()]
            kept = np.concatenate([kept, found])
            if len(kept) > n_kept:
                kept = np.partition(kept, len(kept) - n_kept)[-n_kept:]
        if not kept.min() > 1e-5 * largest / traj.grid.spacings.max():  # rounding of float32 alone
            raise SchemaError("the reference is constant: it has no gradient to compare with")
        return cls(float(kept.min()), n_bins)

    def count(self, gradients: NDArray[np.floating]) -> NDArray[np.int64]:
        """Histogram of each frame: (n_frames, n_points) of |grad rho| to (n_frames, n + 1) counts."""
        positions = gradients * np.asarray(self.n / self.high, dtype=gradients.dtype)
        return count_rows(positions, self.n)[:, 1:]
