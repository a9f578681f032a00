"""Pseudo-atoms: a density as a sum of one spherical function an atom, fitted to real frames.

The oldest model of a condensed density (superposed atoms; with fitted functions, X-ray crystallography's pseudo-atoms,
Stewart, Acta Cryst. A 32, 565 (1976)). In reciprocal space rho_k = f(abs(k)) sum_j exp(-i k r_j): the form factor f is
linear in its values at knots and follows from one small least-squares problem. It is a yardstick: what an autoencoder
must beat, and what dresses the atoms of a classical potential with a density.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edviz.analysis.frames import TrajectoryLike, as_trajectory, check_single
from edviz.errors import ArgumentError, MissingDataError
from edviz.grid import PeriodicGrid
from edviz.trajectory import DensityTrajectory

__all__ = ["PseudoAtoms", "fit_pseudo_atoms", "structure_amplitude"]

KNOT_SPACING = 0.25  # of the form factor, 1/angstrom: resolves a function of 4 pi / 0.25 = 50 angstrom


def structure_amplitude(positions: NDArray[np.floating], grid: PeriodicGrid) -> NDArray[np.complex128]:
    """Sum over atoms of exp(-i k r), in the order of `numpy.fft.rfftn`; zero on the Nyquist planes of even axes.

    Parameters
    ----------
    positions
        (atom, 3) in angstrom, inside the cell or not.
    grid
        The grid whose waves are meant.
    """
    x, y, z = grid.to_fractional(positions).T
    na, nb, nc = grid.shape
    waves = (np.fft.fftfreq(na, 1 / na), np.fft.fftfreq(nb, 1 / nb), np.fft.rfftfreq(nc, 1 / nc))
    a, b, c = (
        np.where(2 * abs(h) == n, 0, np.exp(-2j * np.pi * np.outer(u, h)))
        for h, u, n in zip(waves, (x, y, z), grid.shape, strict=True)
    )
    pairs = (a[:, :, None] * b[:, None, :]).reshape(len(x), -1)
    return (pairs.T @ c).reshape(na, nb, -1)


@dataclass(frozen=True, eq=False)
class PseudoAtoms:
    """A form factor and the superposition of atoms that have it.

    Attributes
    ----------
    knots
        (n,) abs(k) in 1/angstrom.
    form_factor
        (n,) electrons; linear between the knots. The first is the electrons an atom.
    """

    knots: NDArray[np.float64]
    form_factor: NDArray[np.float64]

    def density(self, positions: NDArray[np.floating], grid: PeriodicGrid) -> NDArray[np.float64]:
        """The superposition on a grid, e/angstrom^3; holds (electrons an atom) x (atoms) exactly.

        Not clipped: a fit of finite resolution may be slightly negative where the density is almost zero.

        Parameters
        ----------
        positions
            (atom, 3) in angstrom.
        grid
            Where to evaluate.
        """
        factor = np.interp(grid.k_norms(half=True), self.knots, self.form_factor, right=0.0)
        waves = structure_amplitude(positions, grid) * factor
        return np.fft.irfftn(waves, s=grid.shape, axes=(0, 1, 2)) * (grid.n_points / grid.volume)

    def dress(self, like: DensityTrajectory, positions: NDArray[np.floating], time: Any) -> DensityTrajectory:
        """Densities of atoms that move: positions ([sample,] time, atom, 3) in angstrom, cell and grid of `like`.

        Values that come out negative are raised to zero, and the frame is scaled back to its electrons; the share of
        such values is told in its history. A density below zero would be none.

        Returns
        -------
        DensityTrajectory
            ([sample,] time, a, b, c), with the atoms.
        """
        grid = like.grid
        lead = positions.shape[:-2]
        values = np.empty((*lead, *grid.shape), dtype=np.float32)
        clipped = 0
        for index in np.ndindex(*lead):
            rho = self.density(positions[index], grid)
            clipped += int((rho < 0).sum())
            rho = rho.clip(0.0)
            values[index] = rho * (like.n_electrons / (rho.mean() * grid.volume))
        return DensityTrajectory.from_arrays(
            values,
            grid.cell,
            time=time,
            numbers=like.ds["numbers"].values,
            density_kind=like.density_kind,
            n_electrons=like.n_electrons,
            source="fitted pseudo-atoms",
            history=f"superposition of pseudo-atoms, {clipped / values.size:.2g} of the values clipped at zero",
        )


def fit_pseudo_atoms(trajectory: TrajectoryLike, spacing: float = KNOT_SPACING) -> PseudoAtoms:
    """The form factor whose superposition is nearest to the frames, in the sense of least squares.

    Parameters
    ----------
    trajectory
        Frames with positions, one element; never the frames that the fit is tested on.
    spacing
        Of the form factor's knots, 1/angstrom.

    Raises
    ------
    MissingDataError
        Without positions.
    ArgumentError
        With more than one element, or a spacing that is not positive.
    """
    traj = as_trajectory(trajectory)
    check_single(traj, "the trajectory that pseudo-atoms are fitted to")
    if "positions" not in traj.ds or "numbers" not in traj.ds:
        raise MissingDataError(
            "pseudo-atoms need `positions` and `numbers` beside the density; the trajectory has none"
        )
    numbers = np.unique(traj.ds["numbers"].values)
    if len(numbers) > 1:
        raise ArgumentError(f"one form factor is fitted for one element; the trajectory has {numbers.tolist()}")
    if not spacing > 0:
        raise ArgumentError(f"spacing = {spacing} must be positive (1/angstrom)")
    grid = traj.grid
    norms = grid.k_norms(half=True).ravel()
    knots = np.arange(0.0, norms.max() + 2 * spacing, spacing)
    left = (norms / spacing).astype(int)
    right_share = norms / spacing - left
    multiplicity = np.broadcast_to(grid.half_weights(), (*grid.shape[:2], grid.shape[2] // 2 + 1)).ravel()
    n = len(knots)
    matrix, target = np.zeros((n, n)), np.zeros(n)
    parts = ((left, 1 - right_share), (left + 1, right_share))
    for i in range(len(traj)):
        atoms = structure_amplitude(traj.ds["positions"].values[i], grid).ravel()
        waves = np.fft.rfftn(traj.frame(i).astype(np.float64)).ravel() * grid.voxel_volume
        power, overlap = multiplicity * np.abs(atoms) ** 2, multiplicity * (atoms.conj() * waves).real
        for p, u in parts:
            target += np.bincount(p, u * overlap, minlength=n)
            for q, v in parts:
                matrix += np.bincount(p * n + q, u * v * power, minlength=n * n).reshape(n, n)
    # f(0) is the electrons an atom, exactly: the charge is no matter of fitting.
    factor = np.zeros(n)
    factor[0] = traj.n_electrons / traj.ds.sizes["atom"]
    known = matrix.diagonal() > 0
    known[0] = False
    free = np.flatnonzero(known)
    factor[free] = np.linalg.lstsq(matrix[np.ix_(free, free)], target[free] - matrix[free, 0] * factor[0])[0]
    return PseudoAtoms(knots, factor)
