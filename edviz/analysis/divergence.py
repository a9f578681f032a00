"""Distances between distributions of density values: Jensen-Shannon divergence and Wasserstein-1.

J. Lin, "Divergence measures based on the Shannon entropy", IEEE Trans. Inf. Theory 37, 145 (1991), in base 2: 0 for
equal, 1 bit for disjoint distributions. `scipy.spatial.distance.jensenshannon` returns its square root.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from edviz.analysis.frames import (
    TrajectoryLike,
    as_given,
    as_trajectory,
    batches,
    check_comparable,
    mean_density,
)
from edviz.analysis.histogram import ValueBins, histogram, log_bins, tails

__all__ = ["jensen_shannon", "jsd", "w1", "wasserstein"]


def jensen_shannon(p: ArrayLike, q: ArrayLike) -> NDArray[np.float64]:
    """Base-2 Jensen-Shannon divergence, in bits.

    Parameters
    ----------
    p, q
        (..., bin) counts or probabilities, not negative; normalised here; leading dimensions broadcast.

    Returns
    -------
    (...,) between 0 and 1.
    """
    first, second = (np.asarray(counts, dtype=np.float64) for counts in (p, q))
    first = first / first.sum(axis=-1, keepdims=True)
    second = second / second.sum(axis=-1, keepdims=True)
    middle = (first + second) / 2
    return np.maximum((_relative_entropy(first, middle) + _relative_entropy(second, middle)) / 2, 0.0)


def _relative_entropy(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log2(p / q), 0.0)
    return terms.sum(axis=-1)


def wasserstein(
    counts: NDArray[Any],
    excess: NDArray[np.float64],
    reference_counts: NDArray[Any],
    reference_excess: NDArray[np.float64],
    bins: ValueBins,
) -> NDArray[np.float64]:
    """Wasserstein-1 distance of binned values: the area between their distribution functions, e/angstrom^3.

    Exact outside the bins if the reference lies inside them; inside, the trapezoidal rule between borders at which
    both functions are exact.

    Parameters
    ----------
    counts, excess
        (..., n + 2) of `ValueBins.count` and (..., 2) of `ValueBins.excess`.
    reference_counts, reference_excess
        The same for the reference, (n + 2,) and (2,).
    bins
        The bins of both.
    """
    n_values = np.sum(counts, axis=-1, keepdims=True)
    n_reference = np.sum(reference_counts, axis=-1, keepdims=True)
    cumulative = np.cumsum(counts, axis=-1)[..., :-1] / n_values
    reference = np.cumsum(reference_counts, axis=-1)[..., :-1] / n_reference
    inside = np.trapezoid(np.abs(cumulative - reference), dx=(bins.high - bins.low) / bins.n, axis=-1)
    outside = np.abs(excess / n_values - reference_excess / n_reference).sum(axis=-1)
    return inside + outside


def jsd(generated: TrajectoryLike, reference: TrajectoryLike) -> xr.DataArray:
    """Jensen-Shannon divergence of all values of log10(rho), with the protocol's bins, in bits.

    It falls with the length of the trajectories: quote it beside its noise floor, as `edviz.evaluate` does.

    Returns
    -------
    Scalar, or (sample,) of an ensemble.

    Raises
    ------
    GridMismatchError
        If the two do not share cell, grid, kind and frame interval.
    """
    generated, reference = as_trajectory(generated), as_trajectory(reference)
    check_comparable(generated, reference, "generated")
    bins = log_bins(reference)
    p = histogram(generated, bins)["probability"]
    q = histogram(reference, bins)["probability"].values
    if q.ndim == 2:
        q = q.mean(axis=0)
    return xr.DataArray(jensen_shannon(p.values, q), dims=p.dims[:-1], name="jsd", attrs={"units": "bit"})


def w1(generated: TrajectoryLike, reference: TrajectoryLike) -> xr.DataArray:
    """Wasserstein-1 distance of all density values, relative to the mean density.

    Returns
    -------
    Scalar, or (sample,) of an ensemble; dimensionless.

    Raises
    ------
    GridMismatchError
        If the two do not share cell, grid, kind and frame interval.
    """
    generated, reference = as_trajectory(generated), as_trajectory(reference)
    check_comparable(generated, reference, "generated")
    minimum, _, _, maximum = tails(reference)
    bins = ValueBins(minimum, maximum)
    found = []
    for traj in (generated, reference):
        counts: Any = 0
        excess: Any = 0
        for _, values in batches(traj):
            flat = values.reshape(values.shape[0] * values.shape[1], -1)
            counts = counts + bins.count(flat).reshape(*values.shape[:2], -1).sum(axis=1)
            excess = excess + bins.excess(flat).reshape(*values.shape[:2], 2).sum(axis=1)
        found.append((counts, excess))
    (counts, excess), (ref_counts, ref_excess) = found
    distance = wasserstein(counts, excess, ref_counts.sum(axis=0), ref_excess.sum(axis=0), bins)
    result = xr.DataArray(distance / mean_density(reference), dims="sample", name="w1", attrs={"units": "1"})
    return as_given(result, generated)
