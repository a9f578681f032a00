"""The static structure factor of a density.

S(k) = < |rho_k|^2 > / N_e with rho_k = (V / N_grid) sum_r rho(r) exp(-i k r), averaged over the wave vectors of a
shell. For atoms with one form factor f (f(0) electrons an atom, f(0) N = N_e) it is f(k)^2 / f(0) times the structure
factor of the atoms.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import scipy.fft
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from edviz._processors import available_processors
from edviz.analysis.frames import TrajectoryLike, as_given, as_trajectory, batches, mean_density
from edviz.errors import GridMismatchError
from edviz.grid import PeriodicGrid

__all__ = [
    "K_MAX",
    "Shells",
    "relative_rmse",
    "shell_ratios",
    "squared",
    "structure_factor",
    "waves",
]

EMPTY = 1e-12  # of the largest shell of S(k): less is the rounding of float32
K_MAX = 6.0  # 1/angstrom: the largest shell that the protocol scores


class Shells:
    """Shells of width dk = 2 pi / V^(1/3) in reciprocal space, centred on the integer multiples of dk, k != 0.

    Only shells that the grid carries whole are kept, and of those only the ones that hold a wave vector.

    Parameters
    ----------
    grid
        The grid.
    k_max
        Keep shells whose centre is at most this, 1/angstrom; without it all that the grid carries.
    k_min
        Keep shells whose centre is at least this, 1/angstrom.

    Raises
    ------
    GridMismatchError
        If no shell is left: the grid is too coarse, or the cell too small for one between `k_min` and `k_max`.
    """

    def __init__(self, grid: PeriodicGrid, k_max: float | None = None, k_min: float = 0.0) -> None:
        self.grid = grid
        self.width = 2 * np.pi / grid.volume ** (1 / 3)
        # |k| >= pi / spacing_i on the Nyquist plane of axis i, in any cell: below the smallest no wave vector is
        # missing.
        self.limit = float((np.pi / grid.spacings).min())
        norms = grid.k_norms(half=True).ravel()
        number = np.rint(norms / self.width).astype(np.int64)
        whole = int(np.floor(self.limit / self.width - 0.5 + 1e-9))
        if k_max is not None:
            whole = min(whole, int(np.floor(k_max / self.width + 1e-9)))
        lowest = int(np.ceil(k_min / self.width - 1e-9))
        chosen = np.flatnonzero((number <= whole) & (number >= lowest) & (norms > 0))
        if not chosen.size and (k_min > 0 or k_max is not None):
            raise GridMismatchError(
                f"no shell of wave vectors lies between {k_min:g} and {'any' if k_max is None else format(k_max, 'g')} "
                f"1/angstrom: shells are {self.width:.3g} 1/angstrom apart and the grid carries waves up to "
                f"{self.limit:.3g}. Ask for another range, or resample to more points with resample_grid()."
            )
        if not chosen.size:
            raise GridMismatchError(
                f"the grid carries waves up to {self.limit:.3g} 1/angstrom: too coarse for one whole shell of width "
                f"{self.width:.3g} 1/angstrom. Resample it to more points with resample_grid()."
            )
        self._index = chosen[np.argsort(number[chosen], kind="stable")]
        numbers, self._starts = np.unique(number[self._index], return_index=True)
        self._weights = np.broadcast_to(grid.half_weights(), grid.k_norms(half=True).shape).ravel()[self._index]
        self.numbers = numbers
        self.n_vectors = np.add.reduceat(self._weights, self._starts)
        self.k_mean = np.add.reduceat(self._weights * norms[self._index], self._starts) / self.n_vectors

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def centers(self) -> NDArray[np.float64]:
        """(shell,) 1/angstrom."""
        return self.numbers * self.width

    @property
    def slices(self) -> list[slice]:
        """Where the waves of each shell stand in `modes`, one slice a shell."""
        ends = [*self._starts[1:], len(self._index)]
        return [slice(int(start), int(end)) for start, end in zip(self._starts, ends, strict=True)]

    @property
    def weights(self) -> NDArray[np.int64]:
        """(wave,) how many wave vectors each wave of `modes` stands for: 2 if it counts for its opposite too."""
        return self._weights

    def modes(self, values: NDArray[np.float32], workers: int = 1) -> NDArray[np.complex64]:
        """rho_k of the waves of all shells, shell after shell: (..., a, b, c) to (..., wave), electrons."""
        return self.modes_of(waves(values, workers))

    def modes_of(self, transformed: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """The same from `waves` of the values, for whoever needs them twice."""
        chosen = transformed.reshape(*transformed.shape[:-3], -1)[..., self._index]
        chosen *= np.float32(self.grid.voxel_volume)
        return chosen

    def power(self, values: NDArray[np.float32], workers: int = 1) -> NDArray[np.float64]:
        """Mean of |rho_k|^2 over each shell, (n_frames, a, b, c) to (n_frames, shell), electrons^2."""
        return self.power_of(waves(values, workers))

    def power_of(self, transformed: NDArray[np.complex64]) -> NDArray[np.float64]:
        """The same from `waves` of the values."""
        chosen = transformed.reshape(len(transformed), -1)[:, self._index]
        sums = np.add.reduceat(squared(chosen) * self._weights, self._starts, axis=1)
        return sums / self.n_vectors * self.grid.voxel_volume**2

    def coordinates(self) -> dict[str, tuple[str, NDArray[np.float64], dict[str, str]]]:
        """Coordinates `k`, `k_mean` (mean |k| of the shell) and `n_vectors` along `k`."""
        units = {"units": "1/angstrom"}
        return {
            "k": ("k", self.centers, units),
            "k_mean": ("k", self.k_mean, units),
            "n_vectors": ("k", self.n_vectors, {}),
        }


def waves(values: NDArray[np.float32], workers: int = 1) -> NDArray[np.complex64]:
    """Half of the discrete Fourier transform of each frame's deviation from its mean, as `scipy.fft.rfftn` orders it.

    (..., a, b, c) to (..., a, b, c // 2 + 1) in the unit of the values, not multiplied by the voxel's volume.
    `workers` threads: more than one only where nothing else runs in parallel (`available_processors`).
    """
    # The mean is the wave left out; without it float32 transforms keep small waves exact.
    centred = values - values.mean(axis=(-3, -2, -1), keepdims=True, dtype=np.float64).astype(values.dtype)
    return scipy.fft.rfftn(centred, axes=(-3, -2, -1), overwrite_x=True, workers=workers)


def squared(amplitudes: NDArray[np.complex64]) -> NDArray[np.float64]:
    """|rho_k|^2 in double precision."""
    return amplitudes.real.astype(np.float64) ** 2 + amplitudes.imag.astype(np.float64) ** 2


def structure_factor(traj: TrajectoryLike, k_max: float | None = None, per_frame: bool = False) -> xr.DataArray:
    """Static structure factor S(k) of the density, averaged over shells and frames.

    Parameters
    ----------
    traj
        A trajectory or its dataset; any cell that does not change in time.
    k_max
        Largest shell, 1/angstrom; without it all shells that the grid carries whole.
    per_frame
        Keep the dimension `time`.

    Returns
    -------
    ([sample,] [time,] k), dimensionless, with coordinates `k` (centre of the shell, 1/angstrom), `k_mean`,
    `n_vectors`.

    Raises
    ------
    SchemaError
        If the field is not an electron density.
    GridMismatchError
        If the cell changes in time or the grid is too coarse for one shell.
    """
    traj = as_trajectory(traj)
    mean_density(traj)  # an electron density, in a fixed cell
    shells = Shells(traj.grid, k_max)
    parts = []
    workers = available_processors()
    for _, values in batches(traj):
        power = shells.power(values.reshape(-1, *values.shape[2:]), workers).reshape(*values.shape[:2], -1)
        parts.append(power if per_frame else power.sum(axis=1, keepdims=True))
    power = np.concatenate(parts, axis=1)
    if not per_frame:
        power = power.sum(axis=1, keepdims=True) / len(traj)
    result = xr.DataArray(
        power / traj.n_electrons,
        dims=("sample", "time", "k"),
        coords=shells.coordinates(),
        name="structure_factor",
        attrs={"units": "1", "long_name": "S(k)"},
    )
    result = result.assign_coords(time=("time", traj.time, {"units": "fs"})) if per_frame else result.isel(time=0)
    return as_given(result, traj)


def shell_ratios(values: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """S(k) over a reference's, (..., k) to (..., k); not a number in shells that the reference leaves empty.

    Empty: below `EMPTY` of its largest shell, which is rounding alone. A uniform density has no other shells.
    """
    reference = np.asarray(reference, dtype=np.float64)
    empty = reference <= EMPTY * reference.max()
    return np.asarray(values, dtype=np.float64) / np.where(empty, np.nan, reference)


def relative_rmse(values: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """Root of the mean over the last axis of ((values - reference) / reference)^2: every shell counts the same.

    Shells that the reference leaves empty do not count; not a number if there is no other.
    """
    squares = (shell_ratios(values, reference) - 1) ** 2
    counted = np.isfinite(shell_ratios(reference, reference))
    if not counted.any():
        return np.full(squares.shape[:-1], np.nan)
    return np.sqrt(squares[..., counted].mean(axis=-1))
