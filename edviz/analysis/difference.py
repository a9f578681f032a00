"""One trajectory minus another, frame by frame at the times that both have."""

from __future__ import annotations

import numpy as np
import xarray as xr

from edviz.analysis.forecast import nmae
from edviz.analysis.frames import TrajectoryLike, as_trajectory, matching_frames, mean_density
from edviz.errors import MissingDataError
from edviz.trajectory import DensityTrajectory

__all__ = ["difference", "difference_trajectory"]


def difference(traj: TrajectoryLike, other: TrajectoryLike) -> xr.DataArray:
    """The difference of two densities at the times that both have, ``traj - other``.

    Parameters
    ----------
    traj
        Single or ensemble.
    other
        One trajectory of the same cell, grid, kind and frame interval, such as the AIMD that a rollout continues.

    Returns
    -------
    ([sample,] time, a, b, c) in e/angstrom^3, lazy if either is lazy. Coordinates: `time` (fs), `nmae` ([sample,]
    time), mean abs(difference) / mean density in per cent. Attribute `cell`: the nine numbers of the lattice vectors,
    angstrom. ``result.edviz.plot()`` draws a plane of one frame.

    Raises
    ------
    GridMismatchError
        If the two do not share cell, grid, kind and frame interval.
    MissingDataError
        If they share no time, or the other is an ensemble.
    SchemaError
        If the fields are not electron densities.
    NonFiniteError
        At a NaN or an infinity, naming the frame.

    Notes
    -----
    The nmae takes one pass over the shared frames; the difference itself is only formed where it is used.
    """
    traj, other = as_trajectory(traj), as_trajectory(other)
    mean_density(traj)
    if other.is_ensemble:
        raise MissingDataError("a difference is taken from one trajectory: take a sample, other.sample(0)")
    error = nmae(traj, other)
    interval = (traj if len(traj) > 1 else other).frame_interval if max(len(traj), len(other)) > 1 else 1.0
    ours, theirs = matching_frames(traj.time, other.time, interval)
    first, second = traj.density.isel(time=ours), other.density.isel(time=theirs)
    result = first - second.assign_coords(time=first["time"])
    result = result.transpose(*traj.density.dims).rename("difference")
    time = ("time", traj.time[ours], {"units": "fs"})
    result = result.assign_coords(time=time, nmae=(error.dims, error.values, {"units": "%"}))
    result.attrs = {
        "units": str(traj.density.attrs["units"]),
        "long_name": "Δρ",
        "density_kind": traj.density_kind,
        "cell": traj.grid.cell.ravel().tolist(),
    }
    return result


def difference_trajectory(result: xr.DataArray) -> DensityTrajectory:
    """The result of `difference` as a trajectory, to be drawn like one: without atoms, of 0 electrons."""
    ds = xr.Dataset(
        {
            "density": result.drop_vars("nmae"),
            "cell": (("vector", "xyz"), np.reshape(result.attrs["cell"], (3, 3)), {"units": "angstrom"}),
        },
        attrs={
            "density_kind": str(result.attrs["density_kind"]),
            "n_electrons": 0.0,
            "periodic": [1, 1, 1],
            "origin": [0.0, 0.0, 0.0],
        },
    )
    return DensityTrajectory._from_valid(ds)
