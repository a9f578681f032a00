"""How waves of the density move: the intermediate scattering function and the dynamic structure factor.

C(k,t) = < Re rho_k(t0)* rho_k(t0 + t) > over time origins t0 and the wave vectors of a shell, in electrons^2, with
rho_k = (V / N_grid) sum_r rho(r) exp(-i k r). F(k,t) = C(k,t) / C(k,0), and S(k,omega) is the Fourier transform of
C(k,t) / N_e in time (J.-P. Hansen and I. R. McDonald, Theory of Simple Liquids, chapter 7). Atoms of one form factor
that move rigidly have the F(k,t) of their positions, and f(k)^2 / f(0) times their S(k,omega), up to how f varies over
a shell.

Nothing is subtracted: in a crystal F(k,t) goes to a plateau, in a liquid to zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.fft
import xarray as xr
from numpy.typing import NDArray

from edviz._processors import available_processors
from edviz.analysis.correlation import Shells
from edviz.analysis.frames import (
    TrajectoryLike,
    as_given,
    as_trajectory,
    batches,
    even_interval,
    mean_density,
)
from edviz.errors import ArgumentError, MissingDataError
from edviz.trajectory import DensityTrajectory

__all__ = ["WINDOWS", "dynamic_structure_factor", "intermediate_scattering", "n_lags", "shell_correlation"]

#: Name of a window -> its values at the lags as fractions of the first lag left out.
WINDOWS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "hann": lambda x: np.cos(np.pi / 2 * x) ** 2,
    "none": np.ones_like,
}

MIN_STRETCH = 64  # frames: shorter transforms in time cost more than they save
TRANSFORM_BYTES = 16 << 20  # of one transform in time


def shell_correlation(
    modes: NDArray[np.complex64], shells: Shells, n_lags: int, n_halo: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sums of Re rho_k(t0)* rho_k(t0 + lag) over pairs of frames, averaged over each shell.

    Parameters
    ----------
    modes
        (frame, wave) from `Shells.modes`, evenly spaced in time.
    shells
        The shells that the modes belong to.
    n_lags
        Lags 0 to n_lags - 1, in frames.
    n_halo
        The first frames of `modes` that were already counted: only pairs whose later frame comes after them count. A
        long trajectory is thus cut into stretches, each preceded by the n_lags - 1 frames before it, and the sums of
        the stretches add up to that of the whole.

    Returns
    -------
    (shell, lag) electrons^2 and (lag,) number of pairs: C(k,t) is the ratio of their totals.
    """
    n_frames = len(modes)
    # Wiener-Khinchin: padding by the longest lag keeps the ends of the stretch apart.
    size = scipy.fft.next_fast_len(n_frames + n_lags - 1)
    at_once = max(1, TRANSFORM_BYTES // (16 * size))  # waves
    sums = np.zeros((len(shells), n_lags))
    for number, shell in enumerate(shells.slices):
        for start in range(shell.start, shell.stop, at_once):
            part = slice(start, min(start + at_once, shell.stop))
            series = modes[:, part].astype(np.complex128)
            spectrum = scipy.fft.fft(series, size, axis=0)
            if n_halo:
                series[:n_halo] = 0
            later = scipy.fft.fft(series, size, axis=0) if n_halo else spectrum
            sums[number] += scipy.fft.ifft((later * spectrum.conj()) @ shells.weights[part])[:n_lags].real
    counts = n_frames - np.maximum(np.arange(n_lags), n_halo)
    return sums / shells.n_vectors[:, None], np.maximum(counts, 0)


def n_lags(traj: DensityTrajectory, t_max: float) -> int:
    """How many lags 0, dt, 2 dt, ... there are up to `t_max` fs, both ends included.

    Raises
    ------
    MissingDataError
        If frames are uneven, or no two of them are `t_max` apart.
    ArgumentError
        If `t_max` is not positive.
    """
    if not t_max > 0:
        raise ArgumentError(f"t_max must be a positive time in fs; got {t_max!r}")
    interval = even_interval(traj)
    longest = int(t_max / interval + 1e-6)
    if longest >= len(traj):
        span = (len(traj) - 1) * interval
        raise MissingDataError(
            f"the trajectory spans {span:g} fs: no two of its {len(traj)} frames are t_max = {t_max:g} fs apart. Pass "
            "a shorter t_max, or a longer trajectory."
        )
    if longest < 1:
        raise MissingDataError(f"frames are {interval:g} fs apart: none lies within t_max = {t_max:g} fs of another")
    return longest + 1


def _correlation(traj: DensityTrajectory, shells: Shells, lags: int, progress: Any) -> NDArray[np.float64]:
    """C(k,t), (sample, shell, lag) in electrons^2; holds the modes of a few times `lags` frames."""
    stretch = max(4 * lags, MIN_STRETCH)
    sums = np.zeros((traj.n_samples, len(shells), lags))
    counts = np.zeros(lags, dtype=np.int64)
    halo = np.empty((traj.n_samples, 0, len(shells.weights)), dtype=np.complex64)
    waiting: list[NDArray[np.complex64]] = []
    workers = available_processors()
    for frames, values in batches(traj, progress):
        waiting.append(shells.modes(values, workers))
        if sum(part.shape[1] for part in waiting) < stretch and frames.stop < len(traj):
            continue
        modes = np.concatenate([halo, *waiting], axis=1)
        for sample, own in enumerate(modes):
            added, pairs = shell_correlation(own, shells, lags, halo.shape[1])
            sums[sample] += added
        counts += pairs
        halo, waiting = modes[:, max(0, modes.shape[1] - lags + 1) :], []
    return sums / counts


def _result(
    values: NDArray[np.float64], shells: Shells, traj: DensityTrajectory, dim: str, coordinate: Any, **names: Any
) -> xr.DataArray:
    result = xr.DataArray(
        values, dims=("sample", "k", dim), coords=shells.coordinates() | {dim: (dim, *coordinate)}, **names
    )
    return as_given(result, traj)


def intermediate_scattering(
    traj: TrajectoryLike, k_min: float = 1.0, k_max: float = 4.0, t_max: float = 200.0, progress: Any = None
) -> xr.DataArray:
    """Intermediate scattering function F(k,t) of the density: how long a wave remembers itself.

    Parameters
    ----------
    traj
        A trajectory or its dataset, evenly spaced in time; any cell that does not change in time. Larger than memory:
        only rho_k of the chosen shells is kept, and only of a few times t_max.
    k_min, k_max
        Centres of the smallest and largest shell, 1/angstrom. Shells (width 2 pi / V^(1/3)) that the grid does not
        carry whole are left out.
    t_max
        Longest lag, fs.
    progress
        A tqdm bar that counts frames.

    Returns
    -------
    ([sample,] k, lag), dimensionless, F(k,0) = 1; not a number on a shell without any wave. Coordinates `k`, `k_mean`
    (1/angstrom), `n_vectors`, `lag` (fs).

    Raises
    ------
    SchemaError
        If the field is not an electron density.
    GridMismatchError
        If the cell changes in time, or no shell lies in the range.
    MissingDataError
        If frames are uneven or too few for `t_max`.
    """
    traj = as_trajectory(traj)
    mean_density(traj)  # an electron density, in a fixed cell
    lags = n_lags(traj, t_max)
    shells = Shells(traj.grid, k_max, k_min)
    found = _correlation(traj, shells, lags, progress)
    with np.errstate(invalid="ignore"):
        found /= found[..., :1]
    return _result(
        found,
        shells,
        traj,
        "lag",
        (even_interval(traj) * np.arange(lags), {"units": "fs"}),
        name="intermediate_scattering",
        attrs={"units": "1", "long_name": "F(k,t)"},
    )


def dynamic_structure_factor(
    traj: TrajectoryLike,
    k_min: float = 0.0,
    k_max: float = 4.0,
    t_max: float = 500.0,
    window: str = "hann",
    progress: Any = None,
) -> xr.DataArray:
    """Dynamic structure factor S(k,omega) of the density: at which frequencies its waves move.

    S(k,omega) = 1 / (2 pi N_e) times the integral of w(t) C(k,t) exp(i omega t) over t from -t_max to t_max. It is even
    in omega and its integral over all omega is S(k): with the frequencies returned,
    ``(2 * s.sum("omega") - s.isel(omega=0)) * d_omega`` is exactly `structure_factor`.

    Parameters
    ----------
    traj, k_min, k_max, progress
        See `intermediate_scattering`.
    t_max
        Longest lag, fs. Lines closer than about 2 pi / t_max are not told apart.
    window
        w(t): "hann", cos^2(pi t / 2 T) with T one interval after t_max, or "none", which rings where C(k,t) has not
        decayed by then. Both are 1 at t = 0.

    Returns
    -------
    ([sample,] k, omega) in fs, with `omega` in rad/fs from 0 to just under pi / dt, 2 pi / ((2 n + 1) dt) apart for n
    intervals in t_max. Estimated from a finite trajectory it may come out slightly negative where it is small.

    Raises
    ------
    SchemaError, GridMismatchError, MissingDataError
        See `intermediate_scattering`.
    ArgumentError
        If the window is unknown.
    """
    if window not in WINDOWS:
        raise ArgumentError(f"the window must be one of {', '.join(WINDOWS)}; got {window!r}")
    traj = as_trajectory(traj)
    mean_density(traj)  # an electron density, in a fixed cell
    lags = n_lags(traj, t_max)
    shells = Shells(traj.grid, k_max, k_min)
    interval = even_interval(traj)
    found = _correlation(traj, shells, lags, progress) / traj.n_electrons
    found *= WINDOWS[window](np.arange(lags) / lags)
    both = np.concatenate([found, found[..., :0:-1]], axis=-1)  # lags 0 to t_max, then -t_max to -dt
    spectrum = scipy.fft.rfft(both, axis=-1).real * (interval / (2 * np.pi))
    omega = 2 * np.pi * scipy.fft.rfftfreq(both.shape[-1], interval)
    return _result(
        spectrum,
        shells,
        traj,
        "omega",
        (omega, {"units": "rad/fs"}),
        name="dynamic_structure_factor",
        attrs={"units": "fs", "long_name": "S(k,omega)", "window": window},
    )
