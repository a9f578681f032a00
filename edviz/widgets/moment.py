"""What the present moment says of atoms and motion: g(r) of one frame, F(k,t) of the time about it. Remembers both.

The functions are those of `edviz.analysis`; here they get one frame, or a window, instead of a whole trajectory. A
correlation in time has no value in a single frame, so F(k,t) is that of a window of `WINDOW_FS` about it. Windows start
at whole quarters of their length: a moment of the same quarter has the same curve, and only the first is waited for.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from edviz.analysis.atoms import MIN_FOUND, site_kind
from edviz.analysis.block_atoms import atoms_to_find
from edviz.analysis.frames import even_interval
from edviz.analysis.pairs import pair_distribution
from edviz.analysis.scattering import intermediate_scattering
from edviz.analysis.sites import find_sites
from edviz.errors import MissingDataError

if TYPE_CHECKING:
    import xarray as xr

    from edviz.trajectory import DensityTrajectory

__all__ = ["WINDOW_FS", "Moments"]

#: Length of the windows of F(k,t): ten times as long as a liquid metal's density remembers itself.
WINDOW_FS = 1000.0
MAX_LAG_FS = 200.0
#: Width of a shell of one frame's g(r), angstrom: some fifty atoms make few pairs a shell.
FRAME_DR = 0.2


class Moments:
    """Measures moments of some trajectories.

    Parameters
    ----------
    trajectories : label -> DensityTrajectory
        Single or ensemble.
    reference : str
        Label of the one, single, that says how many atoms there are and whether the density shows them.
    """

    def __init__(self, trajectories: Mapping[str, DensityTrajectory], reference: str) -> None:
        self._trajectories = dict(trajectories)
        self._reference = reference
        self._pairs: dict[tuple[str, int, int], xr.DataArray] = {}
        self._scattering: dict[tuple[str, int, int], xr.DataArray] = {}

    @cached_property
    def _atoms(self) -> tuple[int, str]:
        return atoms_to_find(self._trajectories[self._reference])

    def pair_distribution(self, label: str, sample: int, frame: int) -> xr.DataArray:
        """g(r) of the atoms found in one frame, (r,).

        Raises
        ------
        MissingDataError
            If the density does not show its atoms, or this frame less than 99 % of them.
        """
        n_atoms, why_not = self._atoms
        if why_not:
            raise MissingDataError(why_not)
        key = (label, sample, frame)
        if key not in self._pairs:
            traj = self._trajectories[label]
            sites = find_sites(traj.sample(sample).frame(frame), traj.grid, n_atoms, site_kind(traj))
            if len(sites) < max(2, MIN_FOUND * n_atoms):
                raise MissingDataError(f"{label} at {traj.time[frame]:g} fs shows {len(sites)} of {n_atoms} atoms")
            self._pairs[key] = pair_distribution(sites[None], traj.grid.cell, dr=FRAME_DR)["g"]
        return self._pairs[key]

    def window(self, label: str, frame: int) -> slice:
        """The frames about one: `WINDOW_FS` long, or the whole trajectory if that is shorter."""
        traj = self._trajectories[label]
        length = min(len(traj), 1 + round(WINDOW_FS / even_interval(traj)))
        step = max(1, length // 4)
        start = min(max(0, step * round((frame - length // 2) / step)), len(traj) - length)
        return slice(start, start + length)

    def scattering(self, label: str, sample: int, frame: int) -> xr.DataArray:
        """F(k,t) of the window about a frame, (k, lag); times up to a third of the window.

        Raises
        ------
        MissingDataError
            Frames uneven in time, or too few.
        """
        window = self.window(label, frame)
        key = (label, sample, window.start)
        if key not in self._scattering:
            traj = self._trajectories[label].sample(sample)[window]
            span = float(traj.time[-1] - traj.time[0])
            self._scattering[key] = intermediate_scattering(traj, t_max=min(MAX_LAG_FS, span / 3))
        return self._scattering[key]
