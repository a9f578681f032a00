"""What pictures draw: one frame of a trajectory, checked; or several trajectories, named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from tqdm.auto import tqdm

from edviz.analysis.frames import TrajectoryLike, as_trajectory, batches
from edviz.errors import ArgumentError, FrameIndexError
from edviz.plotting.theme import field_name
from edviz.trajectory import DensityTrajectory

__all__ = ["Frame", "Trajectories", "named", "one_frame", "periodic_images", "thinned"]

READ_ONCE_BYTES = 1 << 30

#: One trajectory, several, or several with the names they get in the legend.
Trajectories = TrajectoryLike | Sequence[TrajectoryLike] | Mapping[str, TrajectoryLike]


@dataclass(frozen=True, eq=False)
class Frame:
    """What a picture of one frame needs.

    Attributes
    ----------
    values : (a, b, c) float64
        The field, in ``units``.
    cell : (3, 3) float64, angstrom
        Lattice vectors in rows.
    time : float, fs
    index : int
        Number of the frame, not negative.
    density_kind, units : str
    numbers : (atom,) int or None
        Atomic numbers, known without positions too.
    fractional : (atom, 3) float64 or None
        Fractional coordinates of the atoms relative to the first grid point, in [0, 1). None without positions.
    """

    values: NDArray[np.float64]
    cell: NDArray[np.float64]
    time: float
    index: int
    density_kind: str
    units: str
    numbers: NDArray[np.int64] | None
    fractional: NDArray[np.float64] | None

    @property
    def formula(self) -> str:
        """Chemical formula with Unicode subscripts, such as ``Li₅₄``; empty without atoms."""
        if self.numbers is None:
            return ""
        from ase.symbols import Symbols

        return str(Symbols(self.numbers).get_chemical_formula()).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))

    @property
    def title(self) -> str:
        """What it shows, such as ``Li₅₄ valence density, t = 5070 fs``."""
        what = " ".join(filter(None, [self.formula, field_name(self.density_kind)]))
        return f"{what[0].upper()}{what[1:]}, t = {self.time:.6g} fs"


def named(trajs: Trajectories) -> dict[str, DensityTrajectory]:
    """Give trajectories the names they have in a legend.

    Without names, what `DensityEmulator.rollout` made is called "generated" and everything else "AIMD", numbered if
    there are several.
    """
    if isinstance(trajs, Mapping) and not isinstance(trajs, xr.Dataset):
        result = {str(name): as_trajectory(traj) for name, traj in trajs.items()}
    else:
        several = [trajs] if isinstance(trajs, (DensityTrajectory, xr.Dataset)) else list(trajs)
        result = {}
        for traj in map(as_trajectory, several):
            name = "generated" if str(traj.ds.attrs.get("source", "")).startswith("edviz emulator") else "AIMD"
            number = sum(given == name or given.startswith(f"{name} ") for given in result) + 1
            result[name if number == 1 else f"{name} {number}"] = traj
    if not result:
        raise ArgumentError("there is no trajectory to draw")
    return result


def thinned(traj: DensityTrajectory, max_frames: int | None, name: str = "") -> DensityTrajectory:
    """At most so many frames, evenly spread, first and last included (all with None), read once if they fit in memory.

    Reading is slower than measuring, and a measurement may take several passes.
    """
    if max_frames is not None and traj.n_frames > max_frames:
        traj = traj.isel(np.linspace(0, traj.n_frames - 1, max_frames).round().astype(int))
    if traj.density.chunks is None or traj.density.nbytes > READ_ONCE_BYTES:
        return traj
    values = np.empty(traj.density.shape, dtype=np.float32)
    with tqdm(total=traj.n_samples * len(traj), desc=f"read {name}".strip(), unit="frame", delay=2, leave=False) as bar:
        for frames, part in batches(traj, bar, name):
            values[..., frames, :, :, :] = part if traj.is_ensemble else part[0]
    return DensityTrajectory(traj.ds.assign(density=traj.density.copy(data=values)))


def one_frame(data: TrajectoryLike, frame: int, sample: int = 0) -> Frame:
    """Read one frame of a trajectory, of one sample if it is an ensemble.

    Raises
    ------
    FrameIndexError
        If there is no such frame or sample. Negative numbers count from the end.
    """
    traj = as_trajectory(data)
    _check_index("sample", sample, traj.n_samples, "")
    _check_index("frame", frame, traj.n_frames, f" ({traj.time[0]:g} to {traj.time[-1]:g} fs)")
    chosen = traj.sample(sample)[frame]
    ds = chosen.ds
    grid = chosen.grid
    numbers = fractional = None
    if "numbers" in ds:
        numbers = np.asarray(ds["numbers"].values, dtype=np.int64)
    if "positions" in ds:
        fractional = grid.to_fractional(ds["positions"].values[0] - np.asarray(ds.attrs["origin"]))
        fractional = grid.to_fractional(grid.wrap(grid.to_cartesian(fractional)))
    return Frame(
        values=np.asarray(chosen.frame(0), dtype=np.float64),
        cell=np.asarray(grid.cell),
        time=float(chosen.time[0]),
        index=frame % traj.n_frames,
        density_kind=chosen.density_kind,
        units=str(chosen.density.attrs["units"]),
        numbers=numbers,
        fractional=fractional,
    )


def periodic_images(
    fractional: NDArray[np.float64], margin: float = 1e-3
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Atoms in a cell together with their images on opposite borders, so that a corner atom shows on all corners.

    Parameters
    ----------
    fractional : (atom, 3) in [0, 1)
    margin : float
        How near to a border, in fractional units, an atom counts as on it.

    Returns
    -------
    (n, 3) fractional coordinates and (n,) which atom each belongs to.
    """
    images, owners = [], []
    for shift in product((-1, 0, 1), repeat=3):
        moved = fractional + np.array(shift)
        inside = ((moved > -margin) & (moved < 1 + margin)).all(axis=1)
        images.append(moved[inside])
        owners.append(np.flatnonzero(inside))
    return np.concatenate(images), np.concatenate(owners)


def _check_index(what: str, index: int, count: int, span: str) -> None:
    if not isinstance(index, (int, np.integer)) or not -count <= index < count:
        raise FrameIndexError(
            f"there is no {what} {index}: the trajectory has {what}s 0 to {count - 1}{span}; "
            "negative numbers count from the end"
        )
