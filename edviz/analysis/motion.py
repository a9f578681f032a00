"""How far atoms go: mean squared displacement and diffusion coefficient.

The average over all time origins comes from autocorrelations by fast Fourier transform (V. Calandrini et al.,
Collection SFN 12, 201 (2011), section 4.2). The drift of the centre of mass is taken out first: a thermostat kicks it.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from edviz.analysis.floors import Estimate, cut_blocks
from edviz.analysis.intervals import mean_of_blocks
from edviz.analysis.pairs import samples_of
from edviz.errors import ArgumentError, MissingDataError

__all__ = ["LAG_WINDOW", "diffusion_coefficient", "mean_squared_displacement"]

LAG_WINDOW = (200.0, 500.0)  # fs: past the ballistic motion of a liquid metal, short enough for many time origins
_ATOMS = 64  # transformed at a time


def _fft_msd(positions: NDArray[np.float64], n_lags: int) -> NDArray[np.float64]:
    """(frame, atom, 3) to (lag,): mean over atoms and time origins, lags 0 to n_lags - 1."""
    n_frames, n_atoms = positions.shape[:2]
    # Only differences count: starting each atom at zero keeps small numbers small.
    moved = positions - positions[:1]
    total = np.zeros(n_lags)
    counts = n_frames - np.arange(n_lags)
    for start in range(0, n_atoms, _ATOMS):
        x = moved[:, start : start + _ATOMS].reshape(n_frames, -1)
        waves = np.fft.rfft(x, 2 * n_frames, axis=0)
        products = np.fft.irfft((waves.real**2 + waves.imag**2).sum(axis=1), 2 * n_frames)[:n_lags]
        squares = (x**2).sum(axis=1)
        cumulative = np.concatenate([[0.0], np.cumsum(squares)])
        # sum over origins of x(t)^2 + x(t + lag)^2 - 2 x(t) x(t + lag)
        total += cumulative[counts] + cumulative[-1] - cumulative[:n_lags] - 2 * products
    result = np.maximum(total / counts / n_atoms, 0.0)
    result[0] = 0.0
    return result


def mean_squared_displacement(
    positions: ArrayLike,
    interval: float,
    t_max: float | None = None,
    n_block: int | None = None,
    masses: ArrayLike | None = None,
) -> xr.Dataset:
    """Mean squared displacement of atoms relative to their centre of mass.

    Parameters
    ----------
    positions
        ([sample,] frame, atom, 3) in angstrom, unwrapped, evenly spaced in time.
    interval
        Time between frames, fs (`edviz.analysis.frames.even_interval` checks that there is one).
    t_max
        Longest lag, fs; by default the upper end of `LAG_WINDOW`, or half the duration if that is shorter.
    n_block
        Frames a block for the intervals; by default twice the longest lag. At least the longest lag.
    masses
        (atom,) weights of the centre of mass; equal by default.

    Returns
    -------
    Dataset over `lag` (fs): `msd` (angstrom^2; over all time origins of the whole trajectory), its 95 % interval `low`
    and `high` (Student's t over disjoint blocks, not a number with fewer than two), and `blocks` (block, lag).

    Raises
    ------
    ArgumentError
        Wrong shapes, an interval that is not positive, or lags longer than the trajectory.
    """
    samples = samples_of(positions)
    n_frames, n_atoms = samples.shape[1:3]
    if not interval > 0:
        raise ArgumentError(f"the interval between frames must be positive, in fs; got {interval}")
    if t_max is None:
        t_max = min(LAG_WINDOW[1], 0.5 * (n_frames - 1) * interval)
    n_lags = int(np.floor(t_max / interval + 1e-9)) + 1
    if n_lags < 2 or n_lags > n_frames:
        raise ArgumentError(
            f"lags up to {t_max:g} fs need between 2 and {n_frames} frames {interval:g} fs apart; that is {n_lags}"
        )
    weights = np.ones(n_atoms) if masses is None else np.asarray(masses, dtype=np.float64)
    if weights.shape != (n_atoms,) or not (weights > 0).all():
        raise ArgumentError(f"masses must be {n_atoms} positive numbers; got shape {weights.shape}")
    centre = np.einsum("a,sfax->sfx", weights / weights.sum(), samples)
    relative = samples - centre[:, :, None]
    length = 2 * n_lags if n_block is None else n_block
    if length < n_lags:
        raise ArgumentError(f"blocks of {length} frames are shorter than the longest lag, {n_lags} frames")
    whole = np.mean([_fft_msd(sample, n_lags) for sample in relative], axis=0)
    blocks = [_fft_msd(sample[block], n_lags) for sample in relative for block in cut_blocks(n_frames, length)]
    values = np.array(blocks).reshape(-1, n_lags)
    half = mean_of_blocks(values).half_width
    units = {"units": "angstrom^2"}
    return xr.Dataset(
        {
            "msd": ("lag", whole, {**units, "long_name": "mean squared displacement"}),
            "low": ("lag", whole - half, units),
            "high": ("lag", whole + half, units),
            "blocks": (("block", "lag"), values, units),
        },
        coords={"lag": ("lag", interval * np.arange(n_lags), {"units": "fs"})},
    )


def diffusion_coefficient(msd: xr.Dataset, window: tuple[float, float] = LAG_WINDOW) -> Estimate:
    """Slope of the mean squared displacement over a window of lags, divided by six, in angstrom^2/ps.

    Parameters
    ----------
    msd
        From `mean_squared_displacement`.
    window
        First and last lag of the straight line, fs. Before it atoms fly or rattle; long lags have few independent
        origins. D belongs to the window: quote both.

    Returns
    -------
    Value from the whole trajectory, 95 % interval of Student's t over the blocks' slopes (not a number with fewer
    than two blocks), `values` of the blocks.

    Raises
    ------
    MissingDataError
        If fewer than three lags lie in the window.
    """
    lag = msd["lag"].values
    inside = (lag >= window[0] - 1e-6) & (lag <= window[1] + 1e-6)
    if inside.sum() < 3:
        raise MissingDataError(
            f"only {int(inside.sum())} lags lie between {window[0]:g} and {window[1]:g} fs; the mean squared "
            f"displacement goes up to {lag[-1]:g} fs: take a longer t_max or another window"
        )
    centred = lag[inside] - lag[inside].mean()
    line = centred / (centred @ centred) * 1000 / 6
    value = float(msd["msd"].values[inside] @ line)
    values = msd["blocks"].values[:, inside] @ line
    half = float(mean_of_blocks(values).half_width)
    return Estimate(value, value - half, value + half, values)
