"""The distribution of density values: histogram of log10(rho), and how near to log-normal it is.

The bins are those of the evaluation protocol: 100 equal bins in log10(rho) between the 0.01 and the 99.99 percentile
of a reference, plus one bin for everything below and one for everything above, so that no value is ever dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtr

from edviz.analysis.frames import TrajectoryLike, as_trajectory, batches
from edviz.analysis.segments import SegmentFrames, cut_segments, map_segments
from edviz.errors import SchemaError
from edviz.trajectory import DensityTrajectory

__all__ = ["LogBins", "ValueBins", "histogram", "log_bins", "log_moments", "lognormal_fit", "lognormal_ks", "tails"]

N_BINS = 100
PERCENTILES = (0.01, 99.99)
_TINY = np.finfo(np.float32).tiny  # stands for zero and negative values: below every bin


def safe_log(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Natural logarithm; values that have none give that of the smallest float32."""
    return np.log(np.maximum(values, _TINY))


def count_rows(positions: NDArray[np.float32], n_bins: int) -> NDArray[np.int64]:
    """Histogram of each row. Positions are in units of a bin, the first bin from 0 to 1; (n, m) to (n, n_bins + 2)."""
    rows = len(positions)
    index = np.clip(positions + 1, 0, n_bins + 1).astype(np.int32)
    index += np.arange(0, rows * (n_bins + 2), n_bins + 2, dtype=np.int32)[:, None]
    return np.bincount(index.ravel(), minlength=rows * (n_bins + 2)).reshape(rows, n_bins + 2)


@dataclass(frozen=True)
class LogBins:
    """Equal bins in log10(rho / (e/angstrom^3)) from `low` to `high`, with one more on either side."""

    low: float
    high: float
    n: int = N_BINS

    @property
    def edges(self) -> NDArray[np.float64]:
        """(n + 1,) borders of the inner bins."""
        return np.linspace(self.low, self.high, self.n + 1)

    def count(self, log_values: NDArray[np.float32]) -> NDArray[np.int64]:
        """Histogram each frame: (n_frames, n_points) of ln(rho) to (n_frames, n + 2) counts."""
        scale = self.n / (self.high - self.low)
        positions = log_values * np.float32(scale / np.log(10))
        positions -= np.float32(self.low * scale)
        return count_rows(positions, self.n)


@dataclass(frozen=True)
class ValueBins:
    """Many equal bins in rho from `low` to `high`, e/angstrom^3: a distribution function fine enough to integrate."""

    low: float
    high: float
    n: int = 4096

    @property
    def edges(self) -> NDArray[np.float64]:
        """(n + 1,) borders of the inner bins."""
        return np.linspace(self.low, self.high, self.n + 1)

    def count(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """Histogram of each frame, (n_frames, n_points) to (n_frames, n + 2) counts."""
        return count_rows((values - np.float32(self.low)) * np.float32(self.n / (self.high - self.low)), self.n)

    def excess(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Sums of how far the values lie below `low` and above `high`, (n_frames, n_points) to (n_frames, 2)."""
        below = np.maximum(np.float32(self.low) - values, 0).sum(axis=1, dtype=np.float64)
        above = np.maximum(values - np.float32(self.high), 0).sum(axis=1, dtype=np.float64)
        return np.stack([below, above], axis=1)


def tails(
    traj: DensityTrajectory, percentiles: tuple[float, float] = PERCENTILES, progress: Any = None, where: str = ""
) -> tuple[float, float, float, float]:
    """Minimum, two percentiles of log10(rho), maximum, exactly and in one pass.

    Only the values beyond the percentiles are kept in memory. Percentiles interpolate linearly between ranks, as
    `numpy.percentile` does by default.

    Returns
    -------
    Minimum in e/angstrom^3, the two percentiles of log10(rho), maximum in e/angstrom^3.

    Raises
    ------
    SchemaError
        If a percentile is not positive, or both are equal (a constant density has no histogram).
    """
    n_values = traj.density.size
    ranks = [(n_values - 1) * p / 100 for p in (percentiles[0], 100 - percentiles[1])]
    needed = [int(rank) + 2 for rank in ranks]
    kept: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * 2
    found = map_segments(_extremes, traj, cut_segments(traj), needed, progress=progress, where=where)
    for _, outer in found:
        kept = [_smallest(pair, new, n) for pair, new, n in zip(kept, outer, needed, strict=True)]
    limits = []
    for side, sign in enumerate((1, -1)):
        ordered = sign * np.sort(kept[side]).astype(np.float64)
        lower = int(ranks[side])
        pair = ordered[[lower, min(lower + 1, len(ordered) - 1)]]
        if not (pair > 0).all():
            raise SchemaError(
                f"{where or 'the density'}: its {percentiles[side]} percentile is {pair[0]:.3g} e/angstrom^3; "
                "a histogram of log10(rho) needs a positive density"
            )
        logs = np.log10(pair)
        limits.append(float(logs[0] + (ranks[side] - lower) * (logs[1] - logs[0])))
    if not limits[1] > limits[0]:
        raise SchemaError(f"{where or 'the density'} is constant: it has no histogram to compare with")
    return float(kept[0].min()), limits[0], limits[1], float(-kept[1].min())


def _extremes(frames: SegmentFrames, needed: list[int]) -> list[NDArray[np.float32]]:
    """The smallest values of a segment, and the smallest of minus the values."""
    kept: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * 2
    for values in frames.batches():
        kept = [_smallest(kept[side], sign * values.ravel(), needed[side]) for side, sign in enumerate((1, -1))]
    return kept


def _smallest(kept: NDArray[np.float32], new: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """The n smallest of both."""
    if len(kept) >= n:
        new = new[new < kept.max()]
    pool = np.concatenate([kept, new])
    return np.partition(pool, n - 1)[:n] if len(pool) > n else pool


def log_bins(reference: TrajectoryLike, n_bins: int = N_BINS) -> LogBins:
    """The protocol's bins for a reference: `n_bins` between its 0.01 and its 99.99 percentile of log10(rho).

    Raises
    ------
    SchemaError
        If the reference is constant, or not positive there.
    """
    _, low, high, _ = tails(as_trajectory(reference))
    return LogBins(low, high, n_bins)


def histogram(traj: TrajectoryLike, bins: LogBins | None = None, per_frame: bool = False) -> xr.Dataset:
    """Histogram of log10(rho).

    Parameters
    ----------
    traj
        A trajectory or its dataset.
    bins
        From `log_bins` of a reference; without it the trajectory's own.
    per_frame
        Keep the dimension `time`.

    Returns
    -------
    Dataset with `probability` ([sample,] [time,] bin), summing to one over `bin`, and coordinates `lower`, `upper`
    and `center` (bin): log10 of rho / (e/angstrom^3). The first and last bin are open: their outer borders are
    infinite. ``result.edviz.plot()`` draws it.
    """
    traj = as_trajectory(traj)
    bins = bins or log_bins(traj)
    counts = []
    for _, values in batches(traj):
        n_samples, n_frames = values.shape[:2]
        found = bins.count(safe_log(values.reshape(n_samples * n_frames, -1))).reshape(n_samples, n_frames, -1)
        counts.append(found if per_frame else found.sum(axis=1, keepdims=True))
    total = np.concatenate(counts, axis=1)
    if not per_frame:
        total = total.sum(axis=1, keepdims=True)
    probability = xr.DataArray(
        total / total.sum(axis=-1, keepdims=True), dims=("sample", "time", "bin"), attrs={"units": "1"}
    )
    time = ("time", traj.time, {"units": "fs"})
    probability = probability.assign_coords(time=time) if per_frame else probability.isel(time=0)
    if not traj.is_ensemble:
        probability = probability.isel(sample=0)
    attrs = {"density_kind": traj.density_kind}
    return xr.Dataset({"probability": probability}, coords=bin_coordinates(bins), attrs=attrs)


def bin_coordinates(bins: LogBins) -> dict[str, Any]:
    """Coordinates `lower`, `upper`, `center` of the bins, in log10(rho / (e/angstrom^3))."""
    edges = bins.edges
    width = edges[1] - edges[0]
    attrs = {"units": "log10(e/angstrom^3)"}
    return {
        "lower": ("bin", np.concatenate([[-np.inf], edges]), attrs),
        "upper": ("bin", np.concatenate([edges, [np.inf]]), attrs),
        "center": ("bin", edges[0] + width * (np.arange(bins.n + 2) - 0.5), attrs),
    }


def log_moments(
    log_sums: NDArray[np.float64], n_values: float | NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    """Mean, standard deviation and skewness of ln(rho) from sums of its first three powers.

    Parameters
    ----------
    log_sums
        (..., 3) sums of ln(rho), its square and its cube.
    n_values
        How many values were summed; an array must broadcast against (..., 3).
    """
    mean, second, third = np.moveaxis(np.asarray(log_sums, dtype=np.float64) / n_values, -1, 0)
    std = np.sqrt(np.maximum(second - mean**2, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        skewness = (third - 3 * mean * std**2 - mean**3) / std**3
    return mean, std, skewness


def lognormal_ks(
    counts: NDArray[Any], bins: ValueBins, mean: NDArray[np.float64], std: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Kolmogorov-Smirnov distance between binned values and a log-normal distribution.

    Parameters
    ----------
    counts
        (..., n + 2) of `ValueBins.count`. Their distribution function is exact at the bins' borders; between borders
        the distance can be larger by the probability of one bin at most (below 1e-3 for 4096 bins of a liquid's
        density).
    bins
        The bins.
    mean, std
        (...,) of ln(rho).
    """
    cumulative = np.cumsum(counts, axis=-1)[..., :-1] / np.sum(counts, axis=-1, keepdims=True)
    logs = np.log(np.maximum(bins.edges, _TINY))
    with np.errstate(divide="ignore", invalid="ignore"):
        normal = ndtr((logs - np.asarray(mean)[..., None]) / np.asarray(std)[..., None])
    return np.abs(cumulative - normal).max(axis=-1)


def lognormal_fit(traj: TrajectoryLike) -> xr.Dataset:
    """Maximum-likelihood log-normal distribution of the values, over all frames and samples.

    Returns
    -------
    Dataset of scalars: `log_mean` and `log_std` (of ln rho, rho in e/angstrom^3), `log_skewness` (zero for a
    log-normal distribution), `ks` (Kolmogorov-Smirnov distance to the fit).

    Raises
    ------
    SchemaError
        If a value is not positive.
    """
    traj = as_trajectory(traj)
    minimum, _, _, maximum = tails(traj)
    if not minimum > 0:
        raise SchemaError(f"a log-normal fit needs positive values; the smallest is {minimum:.3g} e/angstrom^3")
    bins = ValueBins(minimum, maximum)
    counts = np.zeros(bins.n + 2, dtype=np.int64)
    sums = np.zeros(3)
    for _, values in batches(traj):
        flat = values.reshape(values.shape[0] * values.shape[1], -1)
        counts += bins.count(flat).sum(axis=0)
        sums += log_power_sums(safe_log(flat)).sum(axis=0)
    mean, std, skewness = log_moments(sums, traj.density.size)
    ks = lognormal_ks(counts, bins, mean, std)
    names = ("log_mean", "log_std", "log_skewness", "ks")
    return xr.Dataset({n: float(v) for n, v in zip(names, (mean, std, skewness, ks), strict=True)})


def log_power_sums(log_values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sums over each frame of ln(rho), its square and its cube: (n_frames, n_points) to (n_frames, 3)."""
    squares = log_values * log_values
    sums = [x.sum(axis=1, dtype=np.float64) for x in (log_values, squares, squares * log_values)]
    return np.stack(sums, axis=1)
