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

from edviz.analysis.block_atoms import atoms_to_find
from edviz.analysis.correlation import K_MAX, Shells
from edviz.analysis.frames import mean_density
from edviz.analysis.gradients import GradientBins
from edviz.analysis.histogram import LogBins, ValueBins, tails
from edviz.analysis.reducers import REDUCERS, Batch, Reducer, Variable
from edviz.analysis.segments import SegmentFrames, cut_segments, map_segments
from edviz.trajectory import DensityTrajectory

__all__ = ["Plan", "pool_blocks", "pool_windows", "summarise", "summarise_segment"]


GRADIENT_FRAMES = 64  # of the reference, that fix the bins of abs(grad rho)


@dataclass(frozen=True, eq=False)
class Plan:
    """How to summarise: everything that must be the same for the trajectories compared, fixed by the reference."""

    log_bins: LogBins
    value_bins: ValueBins
    shells: Shells
    mean: float  # e/angstrom^3
    n_electrons: float
    density_kind: str = "valence"
    interval: float = float("nan")  # between frames, fs
    n_frames: int = 0  # of the reference: the length of a block
    n_atoms: int = 0  # to look for in the density
    no_atoms: str = "atoms were not looked for"  # why not; empty if they are to be found as sites of `site_kind`
    gradient_bins: GradientBins | None = None

    @classmethod
    def of(cls, reference: DensityTrajectory, progress: Any = None) -> Plan:
        """The plan that the protocol fixes for a reference (one pass over it)."""
        mean = mean_density(reference)
        minimum, low, high, maximum = tails(reference, progress=progress, where="reference")
        n_atoms, no_atoms = atoms_to_find(reference)
        return cls(
            LogBins(low, high),
            ValueBins(minimum, maximum),
            Shells(reference.grid, K_MAX),
            mean,
            reference.n_electrons,
            reference.density_kind,
            reference.frame_interval if len(reference) > 1 else float("nan"),
            len(reference),
            n_atoms,
            no_atoms,
            GradientBins.of(reference[:: max(1, len(reference) // GRADIENT_FRAMES)]),
        )

    @property
    def reducers(self) -> tuple[type[Reducer], ...]:
        """Those of `REDUCERS` that apply."""
        return tuple(reducer for reducer in REDUCERS if reducer.applies(self))


def summarise_segment(frames: SegmentFrames, plan: Plan) -> dict[str, NDArray[Any]]:
    """Reduce the frames of one segment: a pure function, run wherever dask runs it.

    Parameters
    ----------
    frames
        The segment's frames and the one before.
    plan
        Of the reference.

    Returns
    -------
    What the plan's reducers found, by variable: (frame, ...) of those over time; of those over blocks only if the
    segment is part of one.
    """
    in_block = frames.segment.block is not None
    reducers = [reducer(plan) for reducer in plan.reducers if reducer.over == "time" or in_block]
    previous = frames.previous
    for values in frames.batches():
        batch = Batch(values, previous)
        for reducer in reducers:
            reducer.update(batch)
        previous = values[-1]
    return {name: values for reducer in reducers for name, values in reducer.finish().items()}


def summarise(
    traj: DensityTrajectory, plan: Plan, blocks: list[slice], progress: Any = None, where: str = ""
) -> xr.Dataset:
    """Reduce every frame, in parallel over segments (`edviz.analysis.segments`).

    Parameters
    ----------
    traj
        Single or ensemble, of any length.
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
    over (sample, block): `value_counts` (value_bin), `value_excess` (side), `scattering` (scattering_k, lag), and where
    atoms are looked for `pair_distribution` (r), `msd` (msd_lag), `atoms_found`. Some hundred bytes a frame.

    Raises
    ------
    NonFiniteError
        At the first NaN or infinity, naming trajectory and frame.
    """
    n_samples, n_frames = traj.n_samples, len(traj)
    reducers = plan.reducers
    found: dict[str, NDArray[Any]] = {}
    for reducer in reducers:
        if reducer.over == "block":
            for name, zero in reducer(plan).finish().items():
                found[name] = np.zeros((n_samples, len(blocks), *zero.shape), zero.dtype)
    segments = cut_segments(traj, blocks, any(reducer.whole_blocks for reducer in reducers))
    over_time = {name for reducer in reducers if reducer.over == "time" for name in reducer.variables}
    for segment, arrays in map_segments(summarise_segment, traj, segments, plan, progress=progress, where=where):
        for name, values in arrays.items():
            if name not in over_time:
                found[name][segment.sample, segment.block] += values
                continue
            if name not in found:
                found[name] = np.empty((n_samples, n_frames, *values.shape[1:]), values.dtype)
            found[name][segment.sample, segment.frames] = values

    variables = {}
    coordinates: dict[str, Any] = {"time": traj.time}
    for reducer in reducers:
        coordinates |= reducer.coordinates(plan)
        for name, variable in reducer.variables.items():
            dims = ("sample", reducer.over, *variable.dims)
            variables[name] = (dims, found[name], {"units": variable.units} if variable.units else {})
    return xr.Dataset(variables, coords=coordinates, attrs={"n_points": traj.grid.n_points})


def _pooled(summary: xr.Dataset) -> dict[str, Variable]:
    """The summary's variables over time of which blocks and windows have a sum or a mean."""
    known = {name: variable for reducer in REDUCERS for name, variable in reducer.variables.items()}
    return {name: known[name] for name in map(str, summary.data_vars) if name in known and known[name].pool}


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
    for name, variable in _pooled(summary).items():
        dims, values = variable.dims, summary[name].values
        pooled = [_reduce(values[:, block], 1, variable) for block in blocks]
        stacked = np.stack(pooled, axis=1) if pooled else np.empty((len(values), 0, *values.shape[2:]))
        variables[name] = (("block", *dims), stacked.reshape(-1, *stacked.shape[2:]))
    for label, array in summary.data_vars.items():
        if "block" in array.dims:
            variables[str(label)] = (
                array.dims[1:],
                array.values.reshape(array.shape[0] * array.shape[1], *array.shape[2:]),
            )
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
    for name, variable in _pooled(summary).items():
        values = summary[name].values[:, first:]
        values = values.reshape(len(values), n_windows, n_window, *values.shape[2:])
        variables[name] = (("time", *variable.dims), _reduce(values, (0, 2), variable))
    middle = summary["time"].values[first:].reshape(n_windows, n_window).mean(axis=1)
    n_values = float(n_window * summary.sizes["sample"] * summary.attrs["n_points"])
    variables["n_values"] = ("time", np.full(n_windows, n_values))
    return xr.Dataset(variables, coords={"time": middle, **_coordinates(summary)})


def _coordinates(summary: xr.Dataset) -> dict[Any, Any]:
    return {name: coord.variable for name, coord in summary.coords.items() if name != "time"}


def _reduce(values: NDArray[Any], axis: int | tuple[int, int], variable: Variable) -> NDArray[np.float64]:
    """Sum or mean over frames; the one step that is not a number, a trajectory's first, does not count."""
    if variable.pool == "sum":
        return values.sum(axis=axis, dtype=np.float64)
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0.0).sum(axis=axis, dtype=np.float64) / known.sum(axis=axis)
