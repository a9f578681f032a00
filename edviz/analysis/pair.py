"""Correlations of the density between points in space, and wave by wave for crystals.

By the Wiener-Khinchin theorem the correlation of deviations from the mean, < delta rho(r) delta rho(r + R) > over all
points r of the cell, is the inverse Fourier transform of |rho_k|^2; it is exact at every grid vector R and is then
averaged over directions. A crystal's Bragg peaks would be smeared by averaging over shells of wave vectors, so
`structure_factor_vectors` keeps each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
import xarray as xr
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from edviz._processors import available_processors
from edviz.analysis.correlation import squared, waves
from edviz.analysis.frames import TrajectoryLike, as_given, as_trajectory, batches, mean_density
from edviz.errors import ArgumentError, GridMismatchError
from edviz.grid import PeriodicGrid
from edviz.trajectory import DensityTrajectory

__all__ = ["largest_sphere", "structure_factor_vectors", "two_point_correlation"]


def largest_sphere(grid: PeriodicGrid) -> float:
    """Radius of the largest sphere inside the Wigner-Seitz cell: half the shortest lattice vector, angstrom."""
    reduced, _ = minkowski_reduce(grid.cell)
    return float(np.linalg.norm(reduced, axis=1).min() / 2)


def _mean_power(traj: DensityTrajectory, progress: Any = None) -> NDArray[np.float64]:
    """|rho_k|^2 averaged over frames, (sample, a, b, c // 2 + 1), in (e/angstrom^3)^2 of the discrete transform."""
    na, nb, nc = traj.grid.shape
    total = np.zeros((traj.n_samples, na, nb, nc // 2 + 1))
    workers = available_processors()
    for _, values in batches(traj, progress):
        total += squared(waves(values, workers)).sum(axis=1)
    return total / len(traj)


def two_point_correlation(
    traj: TrajectoryLike, r_max: float | None = None, dr: float | None = None, progress: Any = None
) -> xr.DataArray:
    """Two-point correlation of the density, < delta rho(r) delta rho(r + R) > / rho_mean^2, by distance.

    delta rho is the deviation from the frame's mean and rho_mean = N_e / V. At R = 0 it is the squared contrast
    (variance over squared mean); over the whole cell it averages to zero.

    Parameters
    ----------
    traj
        A trajectory or its dataset; any cell that does not change in time.
    r_max
        Keep bins that end at most here, angstrom; without it, up to the largest sphere inside the Wigner-Seitz cell:
        beyond, a distance is no longer that of the nearest image.
    dr
        Width of the bins, which are centred on its multiples, angstrom; without it the largest grid spacing.
    progress
        A tqdm bar that counts frames.

    Returns
    -------
    ([sample,] r), dimensionless: coordinates `r` (centre of the bin), `r_mean` (mean distance of its grid vectors),
    both in angstrom, `n_vectors`. Bins without a grid vector are left out.

    Raises
    ------
    SchemaError
        If the field is not an electron density.
    GridMismatchError
        If the cell changes in time.
    ArgumentError
        If `dr` is not positive or `r_max` exceeds the largest sphere or is shorter than half a bin.
    """
    traj = as_trajectory(traj)
    mean = mean_density(traj)
    grid = traj.grid
    limit = largest_sphere(grid)
    width = float(grid.spacings.max()) if dr is None else dr
    if not width > 0:
        raise ArgumentError(f"the width of the bins dr must be positive; got {dr!r}")
    radius = limit if r_max is None else r_max
    if radius > limit * (1 + 1e-9):
        raise ArgumentError(
            f"r_max = {radius:g} angstrom reaches out of the largest sphere in the cell: at most {limit:.6g} angstrom"
        )
    if not radius >= width / 2:
        raise ArgumentError(
            f"no bin of width {width:.3g} angstrom ends within {radius:.3g} angstrom: take a smaller dr"
        )
    index, distance = _vectors_within(grid, radius)
    number = np.rint(distance / width).astype(np.int64)
    inside = number <= int(np.floor(radius / width - 0.5 + 1e-9))
    order = np.argsort(number[inside], kind="stable")
    index, distance, number = index[inside][order], distance[inside][order], number[inside][order]
    numbers, starts, counts = np.unique(number, return_index=True, return_counts=True)
    power = _mean_power(traj, progress)
    products = scipy.fft.irfftn(power, s=grid.shape, axes=(-3, -2, -1)) / grid.n_points
    chosen = products.reshape(traj.n_samples, -1)[:, index]
    units = {"units": "angstrom"}
    result = xr.DataArray(
        np.add.reduceat(chosen, starts, axis=1) / counts / mean**2,
        dims=("sample", "r"),
        coords={
            "r": ("r", numbers * width, units),
            "r_mean": ("r", np.add.reduceat(distance, starts) / counts, units),
            "n_vectors": ("r", counts),
        },
        name="two_point_correlation",
        attrs={"units": "1", "long_name": "<delta rho(0) delta rho(r)> / rho_mean^2"},
    )
    return as_given(result, traj)


def _vectors_within(grid: PeriodicGrid, radius: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All grid vectors R up to `radius`: flat index of R (mod cell) on the grid, and its length."""
    sizes = np.array(grid.shape)
    # |R . b_i| <= |R| |b_i| bounds each coefficient. Inside the Wigner-Seitz cell no point is met twice.
    bounds = np.floor(radius * np.linalg.norm(grid.reciprocal, axis=1) / (2 * np.pi) * sizes + 1e-9).astype(int)
    steps = np.stack(np.meshgrid(*(np.arange(-b, b + 1) for b in bounds), indexing="ij"), axis=-1).reshape(-1, 3)
    distance = np.linalg.norm(grid.to_cartesian(steps / sizes), axis=1)
    near = distance <= radius * (1 + 1e-9)
    index = np.ravel_multi_index(tuple((steps[near] % sizes).T), grid.shape)
    return np.asarray(index, dtype=np.int64), distance[near]


def structure_factor_vectors(traj: TrajectoryLike, k_max: float | None = None, progress: Any = None) -> xr.DataArray:
    """Structure factor S(k) = < |rho_k|^2 > / N_e wave vector by wave vector, averaged over frames.

    Parameters
    ----------
    traj
        A trajectory or its dataset; any cell that does not change in time.
    k_max
        Largest |k|, 1/angstrom; without it, all below the Nyquist planes of the grid.
    progress
        A tqdm bar that counts frames.

    Returns
    -------
    ([sample,] vector), dimensionless, by increasing |k|: one of each pair k, -k, which have the same S(k) (Friedel),
    and not k = 0. Coordinates `h`, `k`, `l`, integers along the reciprocal vectors of the (super)cell, and `k_norm`,
    |k| in 1/angstrom.

    Raises
    ------
    SchemaError
        If the field is not an electron density.
    GridMismatchError
        If the cell changes in time or the grid does not carry every wave up to `k_max`.
    ArgumentError
        If no wave vector of the cell is as short as `k_max`.
    """
    traj = as_trajectory(traj)
    mean_density(traj)  # an electron density, in a fixed cell
    grid = traj.grid
    limit = float((np.pi / grid.spacings).min())
    if k_max is not None and k_max >= limit:
        raise GridMismatchError(
            f"the grid carries every wave only below {limit:.4g} 1/angstrom, k_max is {k_max:g}. Pass a smaller one, "
            "or resample the density to more points with resample_grid()."
        )
    norms = grid.k_norms(half=True).ravel()
    na, nb, nc = grid.shape
    axes = (np.fft.fftfreq(na, 1 / na), np.fft.fftfreq(nb, 1 / nb), np.arange(nc // 2 + 1))
    h, k, l = (m.ravel().astype(np.int64) for m in np.meshgrid(*axes, indexing="ij"))  # noqa: E741
    below = norms < limit * (1 - 1e-9) if k_max is None else norms <= k_max * (1 + 1e-9)
    one_of_two = (l > 0) | ((l == 0) & ((k > 0) | ((k == 0) & (h > 0))))
    chosen = np.flatnonzero(below & one_of_two)
    if not chosen.size:
        raise ArgumentError(
            f"no wave vector of the cell is as short as {limit if k_max is None else k_max:.4g} 1/angstrom"
        )
    chosen = chosen[np.lexsort((l[chosen], k[chosen], h[chosen], norms[chosen].round(9)))]
    power = _mean_power(traj, progress).reshape(traj.n_samples, -1)[:, chosen]
    result = xr.DataArray(
        power * grid.voxel_volume**2 / traj.n_electrons,
        dims=("sample", "vector"),
        coords={
            "h": ("vector", h[chosen]),
            "k": ("vector", k[chosen]),
            "l": ("vector", l[chosen]),
            "k_norm": ("vector", norms[chosen], {"units": "1/angstrom"}),
        },
        name="structure_factor_vectors",
        attrs={"units": "1", "long_name": "S(k)"},
    )
    return as_given(result, traj)
