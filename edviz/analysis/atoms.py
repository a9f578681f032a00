"""Find the atoms in a density and follow them: positions for a trajectory that has none, or other than its own.

The nuclei are the maxima of the total density and, with pseudopotentials, holes (minima) of the valence density
(`edviz.analysis.sites`). From frame to frame atoms are matched with sites by the assignment of least total distance
(H. W. Kuhn, Naval Res. Logist. Q. 2, 83 (1955), in the form of `scipy.optimize.linear_sum_assignment`) between sites
and where each atom would be at constant velocity, nearest images, in any cell. What the positions say about the liquid
is measured in `edviz.analysis.pairs` and `edviz.analysis.motion`, reachable from here too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from edviz.analysis.frames import TrajectoryLike, as_given, as_trajectory, batches, check_kind
from edviz.analysis.motion import diffusion_coefficient, mean_squared_displacement
from edviz.analysis.pairs import first_peak, pair_distribution
from edviz.analysis.sites import Kind, find_sites, interpolate
from edviz.errors import ArgumentError, MissingDataError
from edviz.grid import PeriodicGrid
from edviz.trajectory import DensityTrajectory

__all__ = [
    "diffusion_coefficient",
    "find_atoms",
    "find_sites",
    "first_peak",
    "found_fraction",
    "mean_squared_displacement",
    "pair_distribution",
]

REACH = 0.4  # of (volume per atom)^(1/3): farther from where it should be, a site is another atom's
MIN_FOUND = 0.99  # share of atoms found over all frames below which there are no positions
FOUND_RADIUS = 0.5  # angstrom

#: Kind of density -> what the atoms are in it.
SITE_KINDS: dict[str, Kind] = {"total": "maxima", "valence": "holes", "pseudo": "holes"}


def site_kind(traj: DensityTrajectory) -> Kind:
    """What the atoms are in this density: "maxima" of a total one, "holes" of a valence or pseudo one.

    Raises
    ------
    SchemaError
        If the field is not an electron density.
    """
    check_kind(traj, SITE_KINDS, "atoms are found in")
    return SITE_KINDS[traj.density_kind]


def find_atoms(
    traj: TrajectoryLike,
    n_atoms: int | None = None,
    numbers: ArrayLike | None = None,
    kind: Kind | None = None,
    reach: float | None = None,
    min_found: float = MIN_FOUND,
    progress: Any = None,
) -> DensityTrajectory:
    """Find the atoms in every frame and follow them from frame to frame.

    Parameters
    ----------
    traj
        A trajectory or its dataset, single or ensemble, in a cell that does not change in time. One pass over its
        frames.
    n_atoms
        How many there are; by default as many as `numbers`, as the trajectory's own numbers, or else as there are
        prominent sites in the first frame.
    numbers
        Atomic numbers, (atom,) or one for all; by default the trajectory's own.
    kind
        "maxima" or "holes"; by default what the kind of density says (`site_kind`).
    reach
        Farthest that a site may lie from where an atom is expected, angstrom. By default 0.4 (V / n_atoms)^(1/3), and
        no more than half the smallest distance between atoms in the first frame.
    min_found
        Least share of atoms that must be found over all frames (of each sample).
    progress
        A tqdm bar to update by one a frame and sample.

    Returns
    -------
    The trajectory with `positions` ([sample,] time, atom, xyz) in angstrom, unwrapped, its `numbers`, and the attribute
    `found_fraction`; without the velocities and forces it may have had. An atom that is not found in a frame gets the
    linear interpolation in time between those where it is (before the first and after the last: the nearest one).
    Where the trajectory has positions of its own they number the atoms of the first frame and choose their images, and
    serve nothing else. Without them atoms of several elements are told apart by the height of their maxima.

    Raises
    ------
    MissingDataError
        If the elements are unknown or cannot be told apart, if the first frame has fewer sites than atoms, or if
        less than `min_found` of the atoms are found: the density has no such sites, or its frames are too far apart
        in time to follow them.
    ArgumentError
        If n_atoms and numbers contradict each other.
    SchemaError
        If the field is not an electron density.
    """
    traj = as_trajectory(traj)
    kind = kind or site_kind(traj)
    elements = _elements(traj, n_atoms, numbers)
    count = n_atoms if elements is None else len(elements) if np.ndim(elements) else n_atoms
    trackers: list[Tracker] = []
    for frames, values in batches(traj, progress):
        if not trackers:
            if count is None:
                count = len(find_sites(values[0, 0], traj.grid, kind=kind))
            if elements is None:
                raise MissingDataError(
                    f"find_atoms() found {count} sites in the first frame but does not know their element: give "
                    "numbers, such as numbers=3 for lithium"
                )
            elements = np.full(count, int(elements)) if np.ndim(elements) == 0 else np.asarray(elements)
            trackers = [
                Tracker(traj.grid, elements, kind, values[s, 0], _stored_start(traj, s, count), reach, len(traj))
                for s in range(len(values))
            ]
        for s, tracker in enumerate(trackers):
            for frame, field in zip(range(frames.start, frames.stop), values[s], strict=True):
                tracker.follow(field, frame, traj.time)
    tracks = [tracker.positions(traj.time) for tracker in trackers]
    shares = [float(tracker.found.mean()) for tracker in trackers]
    worst = int(np.argmin(shares))
    if shares[worst] < min_found:
        first = int(np.argmin(trackers[worst].found.all(axis=1)))
        of_sample = f" of sample {worst}" if traj.is_ensemble else ""
        raise MissingDataError(
            f"only {shares[worst]:.2%} of the atoms{of_sample} were found as {kind} of the {traj.density_kind} "
            f"density ({min_found:.2%} needed; first missing in frame {first} at {traj.time[first]:g} fs). Frames may "
            "be too far apart in time to follow atoms, or the density has no such sites; min_found= accepts fewer."
        )
    stacked = np.stack(tracks) if traj.is_ensemble else tracks[0]
    dims = ("sample", "time", "atom", "xyz") if traj.is_ensemble else ("time", "atom", "xyz")
    ds = traj.ds.drop_vars(["positions", "numbers", "velocities", "forces"], errors="ignore")
    ds = ds.assign(
        positions=(dims, stacked, {"units": "angstrom"}), numbers=("atom", np.asarray(elements, dtype=np.int64))
    )
    ds.attrs = {**ds.attrs, "found_fraction": min(shares)}
    return traj._derived(ds, f"positions of {count} atoms found as {kind} of the {traj.density_kind} density")


def found_fraction(
    traj: TrajectoryLike, radius: float = FOUND_RADIUS, kind: Kind | None = None, progress: Any = None
) -> xr.DataArray:
    """Share of the stored atoms that the density shows, frame by frame.

    As many sites as atoms, the most prominent, are matched one to one with the stored positions at least total
    distance; an atom is found if its site lies within `radius`.

    Parameters
    ----------
    traj
        With positions.
    radius
        angstrom.
    kind
        "maxima" or "holes"; by default what the kind of density says.
    progress
        A tqdm bar.

    Returns
    -------
    ([sample,] time), dimensionless, 0 to 1; ``float(found_fraction(traj).mean())`` is the share of all.

    Raises
    ------
    MissingDataError
        Without positions.
    """
    traj = as_trajectory(traj)
    kind = kind or site_kind(traj)
    if "positions" not in traj.ds:
        raise MissingDataError("found_fraction() compares with stored positions and the trajectory has none")
    positions = traj.ds["positions"]
    positions = positions if "sample" in positions.dims else positions.expand_dims(sample=traj.n_samples)
    stored = positions.values
    result = np.zeros((traj.n_samples, len(traj)))
    for frames, values in batches(traj, progress):
        for s, f in np.ndindex(values.shape[:2]):
            truth = stored[s, frames.start + f]
            sites = find_sites(values[s, f], traj.grid, len(truth), kind)
            if len(sites):
                distances = _assign(traj.grid, truth, sites)[2]
                result[s, frames.start + f] = (distances <= radius).sum() / len(truth)
    found = xr.DataArray(
        result,
        dims=("sample", "time"),
        coords={"time": ("time", traj.time, {"units": "fs"})},
        name="found_fraction",
        attrs={"units": "1", "long_name": "share of the atoms found", "radius": radius, "kind": kind},
    )
    return as_given(found, traj)


class Tracker:
    """Follows the atoms of one sample."""

    def __init__(
        self,
        grid: PeriodicGrid,
        elements: NDArray[np.int64],
        kind: Kind,
        first: NDArray[np.float32],
        stored: NDArray[np.float64] | None,
        reach: float | None,
        n_frames: int,
    ) -> None:
        self.grid, self.kind, self.n = grid, kind, len(elements)
        sites = find_sites(first, grid, self.n, kind)
        if len(sites) < self.n or not self.n:
            raise MissingDataError(f"the first frame has {len(sites)} {kind} but there are {self.n} atoms")
        self.reach = REACH * (grid.volume / self.n) ** (1 / 3) if reach is None else reach
        if reach is None and self.n > 1:
            apart = np.linalg.norm(grid.nearest_image(sites[:, None] - sites[None]), axis=-1)
            self.reach = min(self.reach, 0.5 * float(apart[np.triu_indices(self.n, 1)].min()))
        self.start = _numbered(grid, sites, elements, kind, first, stored, self.reach)
        self.track = np.full((n_frames, self.n, 3), np.nan)
        self.found = np.zeros((n_frames, self.n), dtype=bool)
        self.last = self.start
        self.velocity = np.zeros((self.n, 3))
        self.last_frame = 0

    def follow(self, field: NDArray[np.float32], frame: int, time: NDArray[np.float64]) -> None:
        """Match the atoms with the sites of the next frame."""
        elapsed = float(time[frame] - time[self.last_frame])
        expected = self.last + elapsed * self.velocity
        sites = find_sites(field, self.grid, self.n, self.kind)
        moved = np.zeros((self.n, 3))
        if len(sites):
            atoms, chosen, distances = _assign(self.grid, expected, sites)
            near = distances <= self.reach
            atoms, chosen = atoms[near], chosen[near]
            moved[atoms] = self.grid.nearest_image(sites[chosen] - expected[atoms])
            self.found[frame, atoms] = True
        found = self.found[frame]
        position = np.where(found[:, None], expected + moved, self.last)
        if elapsed > 0:
            # A lost atom is looked for where it was last seen.
            self.velocity = np.where(found[:, None], (position - self.last) / elapsed, 0.0)
        self.track[frame] = position
        self.last, self.last_frame = position, frame

    def positions(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """(time, atom, 3): what was found, interpolated in time where nothing was."""
        for atom in np.flatnonzero(~self.found.all(axis=0)):
            known = self.found[:, atom]
            if known.any():
                for axis in range(3):
                    self.track[~known, atom, axis] = np.interp(time[~known], time[known], self.track[known, atom, axis])
        return self.track


def _elements(traj: DensityTrajectory, n_atoms: int | None, numbers: ArrayLike | None) -> Any:
    """Atomic numbers (atom,), one for all, or None if nobody says."""
    if n_atoms is not None and n_atoms < 1:
        raise ArgumentError(f"n_atoms must be at least 1; got {n_atoms}")
    if numbers is None and "numbers" in traj.ds:
        numbers = traj.ds["numbers"].values
        if n_atoms is not None and n_atoms != len(numbers):
            raise ArgumentError(f"n_atoms is {n_atoms}, the trajectory has {len(numbers)} numbers: give numbers too")
    if numbers is None:
        return None
    given = np.asarray(numbers)
    if given.dtype.kind not in "iu" or given.ndim > 1 or given.min(initial=1) < 1 or given.max(initial=1) > 118:
        raise ArgumentError(f"numbers must be one or a list of atomic numbers, 1 to 118; got {numbers!r}")
    if given.ndim == 1 and n_atoms is not None and len(given) != n_atoms:
        raise ArgumentError(f"n_atoms is {n_atoms} but there are {len(given)} numbers")
    return given if given.ndim else int(given) if n_atoms is None else np.full(n_atoms, int(given))


def _stored_start(traj: DensityTrajectory, sample: int, n_atoms: int) -> NDArray[np.float64] | None:
    """Stored positions of the first frame, if there are as many as atoms."""
    if "positions" not in traj.ds or traj.ds.sizes["atom"] != n_atoms:
        return None
    first = traj.ds["positions"].isel(time=0)
    return np.asarray(first.isel(sample=sample).values if "sample" in first.dims else first.values, dtype=np.float64)


def _numbered(
    grid: PeriodicGrid,
    sites: NDArray[np.float64],
    elements: NDArray[np.int64],
    kind: Kind,
    field: NDArray[np.float32],
    stored: NDArray[np.float64] | None,
    reach: float,
) -> NDArray[np.float64]:
    """The sites of the first frame in the order of the atoms."""
    if stored is not None:
        _, chosen, distances = _assign(grid, stored, sites)
        if distances.max() <= reach:
            return stored + grid.nearest_image(sites[chosen] - stored)
    if len(np.unique(elements)) == 1:
        return sites
    if kind != "maxima":
        raise MissingDataError(
            "holes of several elements look alike: find_atoms() needs stored positions in the first frame to tell "
            "them apart"
        )
    heights = interpolate(np.asarray(field, dtype=np.float64), grid, sites)[0]
    ordered = np.empty_like(sites)
    ordered[np.argsort(-elements, kind="stable")] = sites[np.argsort(-heights, kind="stable")]
    return ordered


def _assign(
    grid: PeriodicGrid, points: NDArray[np.float64], sites: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """One-to-one matches of least total distance: numbers of points, of sites, and how far apart."""
    distances = np.linalg.norm(grid.nearest_image(points[:, None] - sites[None]), axis=-1)
    rows, columns = linear_sum_assignment(distances)
    return rows, columns, distances[rows, columns]
