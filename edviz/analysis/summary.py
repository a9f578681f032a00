"""One pass over a trajectory that keeps, of every frame, all that the scorecard's rows need of it.

A frame of a million values becomes a hundred counts, a dozen shells and a handful of numbers, so that everything
after (blocks, windows, floors, bootstrap) is arithmetic on small arrays and a trajectory of any length is read once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from edviz.analysis.correlation import K_MAX, Shells
from edviz.analysis.frames import batches, mean_density
from edviz.analysis.histogram import LogBins, ValueBins, bin_coordinates, log_power_sums, safe_log, tails
from edviz.trajectory import DensityTrajectory

__all__ = ["Plan", "pool_blocks", "pool_windows", "summarise"]


@dataclass(frozen=True, eq=False)
class Plan:
    """How to summarise: everything that must be the same for the trajectories compared, fixed by the reference."""

    log_bins: LogBins
    value_bins: ValueBins
    shells: Shells
    mean: float  # e/angstrom^3
    n_electrons: float

    @classmethod
    def of(cls, reference: DensityTrajectory, progress: Any = None) -> Plan:
        """The plan that the protocol fixes for a reference (one pass over it)."""
        mean = mean_density(reference)
        minimum, low, high, maximum = tails(reference, progress=progress, where="reference")
        return cls(
            LogBins(low, high),
            ValueBins(minimum, maximum),
            Shells(reference.grid, K_MAX),
            mean,
            reference.n_electrons,
        )


def summarise(
    traj: DensityTrajectory, plan: Plan, blocks: list[slice], progress: Any = None, where: str = ""
) -> xr.Dataset:
    """Reduce every frame.

    Parameters
    ----------
    traj
        Single or ensemble.
    plan
        Of the reference.
    blocks
        Disjoint, in order: for each the distribution of rho is kept finely enough for Wasserstein and
        Kolmogorov-Smirnov distances.

    Returns
    -------
    Dataset over (sample, time): `counts` (bin) of log10 rho, `structure_factor` (k), `electrons`, `contrast`
    (standard deviation / mean density), `minimum` (e/angstrom^3), `step` (mean abs change since the frame before /
    mean density, %; not a number for the first frame), `log_sums` (power), `not_positive` (number of values); and
    over (sample, block): `value_counts` (value_bin), `value_excess` (side).

    Raises
    ------
    NonFiniteError
        At the first NaN or infinity, naming the frame.
    """
    n_samples, n_frames = traj.n_samples, len(traj)
    n_points = traj.grid.n_points
    shape = (n_samples, n_frames)
    counts = np.empty((*shape, plan.log_bins.n + 2), dtype=np.int32)
    structure = np.empty((*shape, len(plan.shells)))
    electrons, contrast, minimum = np.empty(shape), np.empty(shape), np.empty(shape)
    step = np.full(shape, np.nan)
    log_sums = np.empty((*shape, 3))
    not_positive = np.zeros(shape, dtype=np.int64)
    value_counts = np.zeros((n_samples, len(blocks), plan.value_bins.n + 2), dtype=np.int64)
    value_excess = np.zeros((n_samples, len(blocks), 2))
    block_of = np.full(n_frames, -1)
    for number, block in enumerate(blocks):
        block_of[block] = number
    previous: NDArray[np.float32] | None = None

    for frames, values in batches(traj, progress, where):
        size = values.shape[1]
        flat = values.reshape(n_samples * size, n_points)
        logs = safe_log(flat)
        counts[:, frames] = plan.log_bins.count(logs).reshape(n_samples, size, -1)
        log_sums[:, frames] = log_power_sums(logs).reshape(n_samples, size, 3)
        power = plan.shells.power(values.reshape(-1, *values.shape[2:]))
        structure[:, frames] = power.reshape(n_samples, size, -1) / plan.n_electrons
        sums = flat.sum(axis=1, dtype=np.float64).reshape(n_samples, size)
        electrons[:, frames] = sums * traj.grid.voxel_volume
        contrast[:, frames] = flat.std(axis=1, dtype=np.float64).reshape(n_samples, size) / plan.mean
        minimum[:, frames] = flat.min(axis=1).reshape(n_samples, size)
        if not (minimum[:, frames] > 0).all():
            not_positive[:, frames] = (flat <= 0).sum(axis=1).reshape(n_samples, size)

        moved = values if previous is None else np.concatenate([previous, values], axis=1)
        change = np.abs(np.diff(moved, axis=1)).mean(axis=(-3, -2, -1), dtype=np.float64) * (100 / plan.mean)
        step[:, frames.stop - change.shape[1] : frames.stop] = change
        previous = values[:, -1:]

        wanted = block_of[frames]
        if (wanted >= 0).any():
            fine = plan.value_bins.count(flat).reshape(n_samples, size, -1)
            excess = plan.value_bins.excess(flat).reshape(n_samples, size, 2)
            for number in np.unique(wanted[wanted >= 0]):
                value_counts[:, number] += fine[:, wanted == number].sum(axis=1)
                value_excess[:, number] += excess[:, wanted == number].sum(axis=1)

    dims = ("sample", "time")
    return xr.Dataset(
        {
            "counts": ((*dims, "bin"), counts),
            "structure_factor": ((*dims, "k"), structure, {"units": "1"}),
            "electrons": (dims, electrons, {"units": "e"}),
            "contrast": (dims, contrast, {"units": "1"}),
            "minimum": (dims, minimum, {"units": "e/angstrom^3"}),
            "step": (dims, step, {"units": "%"}),
            "log_sums": ((*dims, "power"), log_sums),
            "not_positive": (dims, not_positive),
            "value_counts": (("sample", "block", "value_bin"), value_counts),
            "value_excess": (("sample", "block", "side"), value_excess),
        },
        coords={"time": traj.time, **bin_coordinates(plan.log_bins), **plan.shells.coordinates()},
        attrs={"n_points": n_points},
    )


#: Variables of a summary whose sum over frames counts, and those whose mean does.
_SUMMED = ("counts", "log_sums", "not_positive")
_AVERAGED = ("structure_factor", "contrast", "step")


def pool_blocks(summary: xr.Dataset, blocks: list[slice]) -> xr.Dataset:
    """The summary of each block of each sample, flattened to one dimension `block`.

    Parameters
    ----------
    summary
        From `summarise`, which was given the same blocks.
    blocks
        The blocks' frames.

    Returns
    -------
    Dataset over `block`: `counts` (bin), `structure_factor` (k), `contrast`, `step`, `log_sums` (power),
    `not_positive`, `value_counts` (value_bin), `value_excess` (side), `n_values`; samples in the outer order.
    """
    variables: dict[str, Any] = {}
    for name in (*_SUMMED, *_AVERAGED):
        dims, values = _dims_after_time(summary, name), summary[name].values
        pooled = [_reduce(values[:, block], 1, name) for block in blocks]
        stacked = np.stack(pooled, axis=1) if pooled else np.empty((len(values), 0, *values.shape[2:]))
        variables[name] = (("block", *dims), stacked.reshape(-1, *stacked.shape[2:]))
    for name in ("value_counts", "value_excess"):
        values = summary[name].values
        variables[name] = (("block", summary[name].dims[-1]), values.reshape(-1, values.shape[-1]))
    sizes = [float((block.stop - block.start) * summary.attrs["n_points"]) for block in blocks]
    variables["n_values"] = ("block", np.tile(sizes, summary.sizes["sample"]))
    return xr.Dataset(variables, coords=_coordinates(summary))


def pool_windows(summary: xr.Dataset, n_window: int) -> xr.Dataset:
    """The summary of successive windows of `n_window` frames, all samples together.

    Returns
    -------
    Dataset over `time` (the window's middle, fs) as `pool_blocks`, without the fine distributions. A remainder shorter
    than a window is left out at the beginning: the end is where a rollout goes wrong.
    """
    first = summary.sizes["time"] % n_window
    n_windows = summary.sizes["time"] // n_window
    variables: dict[str, Any] = {}
    for name in (*_SUMMED, *_AVERAGED):
        values = summary[name].values[:, first:]
        values = values.reshape(len(values), n_windows, n_window, *values.shape[2:])
        variables[name] = (("time", *_dims_after_time(summary, name)), _reduce(values, (0, 2), name))
    middle = summary["time"].values[first:].reshape(n_windows, n_window).mean(axis=1)
    n_values = float(n_window * summary.sizes["sample"] * summary.attrs["n_points"])
    variables["n_values"] = ("time", np.full(n_windows, n_values))
    return xr.Dataset(variables, coords={"time": middle, **_coordinates(summary)})


def _dims_after_time(summary: xr.Dataset, name: str) -> tuple[Any, ...]:
    return summary[name].dims[2:]


def _coordinates(summary: xr.Dataset) -> dict[Any, Any]:
    return {name: coord.variable for name, coord in summary.coords.items() if name != "time"}


def _reduce(values: NDArray[Any], axis: int | tuple[int, int], name: str) -> NDArray[np.float64]:
    """Sum or mean over frames; the one step that is not a number, a trajectory's first, does not count."""
    if name in _SUMMED:
        return values.sum(axis=axis, dtype=np.float64)
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0.0).sum(axis=axis) / known.sum(axis=axis)
