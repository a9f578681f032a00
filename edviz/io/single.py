"""What formats of one frame a file ask of a trajectory before they write it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edviz.errors import ArgumentError
from edviz.schema import check_finite

if TYPE_CHECKING:
    from edviz.trajectory import DensityTrajectory

__all__ = ["one_frame"]


def one_frame(traj: DensityTrajectory, path: Path) -> DensityTrajectory:
    """The one frame of a trajectory, in memory and checked.

    Raises
    ------
    ArgumentError
        If there are several frames or samples, saying how to choose one.
    NonFiniteError
        If it holds a NaN.
    """
    if traj.is_ensemble and traj.n_samples > 1:
        raise ArgumentError(f"{path} holds one frame: choose a sample first, traj.sample(0)")
    traj = traj.sample(0)
    if len(traj) != 1:
        raise ArgumentError(
            f"{path} holds one frame and the trajectory has {len(traj)}: choose one, traj[0].to_file(...); "
            "a series is written by edviz convert with %04d in the name"
        )
    ds = traj.ds.compute()
    for name in ("density", "magnetization"):
        if name in ds:
            check_finite(ds[name].values, name, str(path))
    return type(traj)._from_valid(ds)
