"""What every frame must keep: the number of electrons, and a density that is nowhere negative."""

from __future__ import annotations

import numpy as np
import xarray as xr

from edviz.analysis.frames import TrajectoryLike, as_given, as_trajectory, batches, mean_density

__all__ = ["conservation"]


def conservation(traj: TrajectoryLike) -> xr.Dataset:
    """Electrons and smallest value of every frame.

    Returns
    -------
    Dataset with `electrons`, `charge_error` (electrons minus the attribute n_electrons) and `minimum` (e/angstrom^3),
    each ([sample,] time).

    Raises
    ------
    SchemaError
        If the field is not an electron density.
    """
    traj = as_trajectory(traj)
    mean_density(traj)
    electrons, minimum = [], []
    for _, values in batches(traj):
        electrons.append(values.sum(axis=(-3, -2, -1), dtype=np.float64) * traj.grid.voxel_volume)
        minimum.append(values.min(axis=(-3, -2, -1)))
    dims = ("sample", "time")
    total = np.concatenate(electrons, axis=1)
    ds = xr.Dataset(
        {
            "electrons": (dims, total, {"units": "e"}),
            "charge_error": (dims, total - traj.n_electrons, {"units": "e"}),
            "minimum": (dims, np.concatenate(minimum, axis=1), {"units": "e/angstrom^3"}),
        },
        coords={"time": ("time", traj.time, {"units": "fs"})},
    )
    return as_given(ds, traj)
