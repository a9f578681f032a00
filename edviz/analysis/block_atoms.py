"""The atoms of one block of frames, found in its density: what the scorecard's rows `atoms_*` compare.

Sites of every frame and their assignment from frame to frame are those of `edviz.analysis.atoms`; g(r) and the mean
squared displacement those of `edviz.analysis.pairs` and `edviz.analysis.motion`, of all atoms alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edviz.analysis.atoms import MIN_FOUND, SITE_KINDS, Tracker, found_fraction
from edviz.analysis.motion import LAG_WINDOW, mean_squared_displacement
from edviz.analysis.pairs import pair_distribution
from edviz.errors import MissingDataError
from edviz.grid import PeriodicGrid
from edviz.trajectory import DensityTrajectory

__all__ = ["BlockAtoms", "atoms_to_find", "msd_lags", "pair_distances"]

DR = 0.05  # angstrom: width of a shell of g(r)
N_CHECKED = 24  # reference frames in which holes are compared with the stored atoms
N_PATIENCE = 8  # frames after which a density that shows less than half of its atoms is no longer searched


def atoms_to_find(reference: DensityTrajectory) -> tuple[int, str]:
    """How many atoms to look for in this density, and why not (empty if they are to be looked for).

    Maxima of a total density are its atoms. Holes of a valence or pseudo density are only where they agree with the
    stored positions: at least `MIN_FOUND` of the atoms in `N_CHECKED` frames spread evenly.
    """
    if reference.density_kind not in SITE_KINDS:
        return 0, f"the field of kind '{reference.density_kind}' shows no atoms"
    if "numbers" not in reference.ds:
        return 0, "the reference does not say how many atoms there are (it has no numbers)"
    n_atoms = reference.ds.sizes["atom"]
    if n_atoms < 2:
        return n_atoms, "a pair distribution takes two atoms"
    if reference.density_kind == "total":
        return n_atoms, ""
    if "positions" not in reference.ds:
        return n_atoms, f"holes of the {reference.density_kind} density count only where stored positions confirm them"
    chosen = np.unique(np.linspace(0, len(reference) - 1, N_CHECKED).round().astype(int))
    found = float(found_fraction(reference.isel(chosen)).mean())
    if found < MIN_FOUND:
        return n_atoms, (
            f"only {found:.1%} of the atoms are holes of the {reference.density_kind} density in AIMD "
            f"({MIN_FOUND:.0%} needed)"
        )
    return n_atoms, ""


def pair_distances(grid: PeriodicGrid) -> NDArray[np.float64]:
    """Middles of the shells of g(r) up to the largest sphere in the cell, angstrom."""
    n_shells = int(np.floor(0.5 * float(grid.heights.min()) / DR + 1e-9))
    return DR * (np.arange(n_shells, dtype=np.float64) + 0.5)


def msd_lags(n_frames: int, interval: float) -> NDArray[np.float64]:
    """Lags of the mean squared displacement, fs; none if a block is too short for the line that D is the slope of."""
    longest = int(LAG_WINDOW[1] / interval + 1e-6) if interval > 0 else 0
    n_lags = longest + 1 if longest < n_frames and (LAG_WINDOW[1] - LAG_WINDOW[0]) / interval >= 2 else 0
    return interval * np.arange(n_lags, dtype=np.float64)


class BlockAtoms:
    """Follows the atoms through one block, frame by frame.

    Parameters
    ----------
    grid
        Of the density.
    density_kind
        It says what the atoms are: maxima or holes.
    n_atoms, n_frames
        How many to expect.
    interval
        Between frames, fs.
    """

    def __init__(self, grid: PeriodicGrid, density_kind: str, n_atoms: int, n_frames: int, interval: float) -> None:
        self.grid = grid
        self.kind = SITE_KINDS[density_kind]
        self.n_atoms = n_atoms
        self.time = interval * np.arange(n_frames, dtype=np.float64)
        self.interval = interval
        self._tracker: Tracker | None = None
        self._n_seen = 0
        self._lost = False

    def follow(self, field: NDArray[np.float32]) -> None:
        """Take the next frame."""
        frame, self._n_seen = self._n_seen, self._n_seen + 1
        if self._lost:
            return
        if self._tracker is None:
            same = np.zeros(self.n_atoms, dtype=np.int64)  # g(r) and D are those of all atoms alike
            try:
                self._tracker = Tracker(self.grid, same, self.kind, field, None, None, len(self.time))
            except MissingDataError:
                self._lost = True
                return
        self._tracker.follow(field, frame, self.time)
        if frame + 1 == N_PATIENCE:
            self._lost = bool(self._tracker.found[: frame + 1].mean() < 0.5)

    def measure(self) -> dict[str, NDArray[Any]]:
        """`pair_distribution` (r), `msd` (msd_lag), `atoms_found` (share); zeros before the first frame or if lost."""
        lags = msd_lags(len(self.time), self.interval)
        g, msd, found = np.zeros(len(pair_distances(self.grid))), np.zeros(len(lags)), np.zeros(())
        if self._tracker is not None and not self._lost:
            track = self._tracker.positions(self.time)[: self._n_seen]
            found = np.array(self._tracker.found[: self._n_seen].mean())
            if np.isfinite(track).all():
                g = pair_distribution(track, self.grid.cell, dr=DR, n_block=len(track))["g"].values
                if 0 < len(lags) <= len(track):
                    msd = mean_squared_displacement(track, self.interval, float(lags[-1]), len(track))["msd"].values
        return {"pair_distribution": g, "msd": msd, "atoms_found": found}
