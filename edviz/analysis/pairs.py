"""The pair distribution g(r) of atoms, and its first peak.

g(r) is the number of pairs at distance r over that of an ideal gas of the same density, (N - 1) / V per atom, in shells
of exact volume (D. Frenkel and B. Smit, Understanding Molecular Simulation, section 4.4); all periodic images within
r_max count, in any cell.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from edviz.analysis.floors import Estimate, cut_blocks
from edviz.analysis.intervals import mean_of_blocks
from edviz.errors import ArgumentError, MissingDataError, NonFiniteError
from edviz.grid import PeriodicGrid

__all__ = ["first_peak", "fit_peak", "pair_distribution", "samples_of"]

DEFAULT_BLOCKS = 6
SMOOTHING = 0.1  # angstrom: of the curve in which the peak is looked for, not of the one that is fitted
FIT_SHARE = 0.8  # the peak is fitted where the smoothed curve is above this share of its height
_CHUNK = 1 << 21  # distances at a time


def pair_distribution(
    positions: ArrayLike,
    cell: ArrayLike,
    r_max: float | None = None,
    dr: float = 0.05,
    n_block: int | None = None,
) -> xr.Dataset:
    """Pair distribution of all atoms, averaged over frames (and samples).

    Parameters
    ----------
    positions
        ([sample,] frame, atom, 3) in angstrom, wrapped or not.
    cell
        (3, 3) in angstrom, rows are lattice vectors.
    r_max
        Largest distance, angstrom; by default the radius of the largest sphere in the cell. Beyond it images count.
    dr
        Width of a shell, angstrom.
    n_block
        Frames a block for the intervals; by default a sixth of the frames.

    Returns
    -------
    Dataset over `r` (middle of the shell, angstrom): `g`, its 95 % interval `low` and `high` (Student's t over the
    blocks, not a number with fewer than two), and `blocks` (block, r), samples in the outer order.

    Raises
    ------
    ArgumentError
        Wrong shapes, fewer than two atoms, or no shell.
    NonFiniteError
        A position that is not finite.
    """
    samples = samples_of(positions)
    grid = PeriodicGrid(np.asarray(cell, dtype=np.float64), (1, 1, 1))
    n_samples, n_frames, n_atoms = samples.shape[:3]
    if n_atoms < 2:
        raise ArgumentError(f"a pair distribution needs two atoms; there is {n_atoms}")
    heights = grid.heights
    r_max = 0.5 * float(heights.min()) if r_max is None else float(r_max)
    n_shells = int(np.floor(r_max / dr + 1e-9)) if dr > 0 else 0
    if n_shells < 1:
        raise ArgumentError(f"r_max = {r_max:g} and dr = {dr:g} angstrom leave no shell")
    edges = dr * np.arange(n_shells + 1, dtype=np.float64)
    counts = np.stack([_counts(frames, grid, heights, edges) for frames in samples])  # sample, frame, shell
    ideal = 0.5 * n_atoms * (n_atoms - 1) / grid.volume * 4 / 3 * np.pi * np.diff(edges**3)
    blocks = cut_blocks(n_frames, n_block or max(1, n_frames // DEFAULT_BLOCKS))
    g_blocks = np.array([sample[block].mean(axis=0) for sample in counts for block in blocks]).reshape(-1, n_shells)
    g_blocks = g_blocks / ideal
    g = counts.mean(axis=(0, 1)) / ideal
    half = mean_of_blocks(g_blocks).half_width
    return xr.Dataset(
        {
            "g": ("r", g, {"units": "1", "long_name": "g(r)"}),
            "low": ("r", g - half, {"units": "1"}),
            "high": ("r", g + half, {"units": "1"}),
            "blocks": (("block", "r"), g_blocks, {"units": "1"}),
        },
        coords={"r": ("r", 0.5 * (edges[1:] + edges[:-1]), {"units": "angstrom"})},
        attrs={"n_frames": n_samples * n_frames, "n_atoms": n_atoms},
    )


def samples_of(positions: ArrayLike) -> NDArray[np.float64]:
    """(sample, frame, atom, 3), finite."""
    array = np.asarray(positions, dtype=np.float64)
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.shape[-1] != 3 or not array.size:
        raise ArgumentError(f"positions must be ([sample,] frame, atom, 3); got shape {np.shape(positions)}")
    if not np.isfinite(array).all():
        frame = int(np.argwhere(~np.isfinite(array))[0][1])
        raise NonFiniteError(f"positions, frame {frame}: NaN or infinite values")
    return array


def _counts(
    frames: NDArray[np.float64], grid: PeriodicGrid, heights: NDArray[np.float64], edges: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Number of pairs in each shell of each frame, an atom's pairs with its own images left out; (frame, shell)."""
    n_frames, n_atoms = frames.shape[:2]
    n_shells, dr, r_max = len(edges) - 1, edges[1], edges[-1]
    first, second = np.triu_indices(n_atoms, 1)
    # |d| < r_max means fractional components below r_max / height: how many images beyond the nearest to add.
    bounds = np.floor(r_max / heights + 0.5 - 1e-12).astype(int)
    shifts = np.stack(np.meshgrid(*[np.arange(-b, b + 1) for b in bounds], indexing="ij"), axis=-1).reshape(-1, 3)
    fractional = grid.to_fractional(frames)
    result = np.zeros((n_frames, n_shells), dtype=np.int64)
    size = max(1, _CHUNK // len(first))
    for start in range(0, n_frames, size):
        chunk = fractional[start : start + size]
        difference = chunk[:, first] - chunk[:, second]
        difference -= np.rint(difference)
        rows = np.arange(len(chunk))[:, None] * (n_shells + 1)
        total = np.zeros(len(chunk) * (n_shells + 1), dtype=np.int64)
        for shift in shifts:
            distance = np.sqrt((((difference + shift) @ grid.cell) ** 2).sum(axis=-1))
            shell = np.minimum((distance / dr).astype(np.int64), n_shells) + rows
            total += np.bincount(shell.ravel(), minlength=total.size)
        result[start : start + size] = total.reshape(len(chunk), -1)[:, :n_shells]
    return result


def fit_peak(r: NDArray[np.float64], g: NDArray[np.float64]) -> tuple[float, float]:
    """Position and height of the first peak; not a number where there is none."""
    dr = float(r[1] - r[0])
    smooth = gaussian_filter1d(g, max(SMOOTHING / dr, 1e-9), mode="nearest")
    peaks, _ = find_peaks(smooth, height=1.0, prominence=0.1 * max(smooth.max(), 0))
    if not len(peaks):
        return np.nan, np.nan
    peak = int(peaks[0])
    high = smooth >= FIT_SHARE * smooth[peak]
    left = peak - int(np.argmin(np.append(high[: peak + 1][::-1], False))) + 1
    right = peak + int(np.argmin(np.append(high[peak:], False)))
    left, right = min(left, peak - 2), max(right, peak + 3)  # five points at least: a cubic has four coefficients
    window = slice(max(left, 0), min(right, len(r)))
    if window.stop - window.start < 5:
        return np.nan, np.nan
    x = r[window] - r[peak]
    d, c, b, a = np.polyfit(x, g[window], 3)
    root = np.sqrt(complex(c * c - 3 * b * d))
    if abs(root.imag) > 0:
        return np.nan, np.nan
    # The stationary point of negative curvature, 2 c + 6 d x = -2 root, in the form that survives d = 0.
    at = b / (-c + root.real) if -c + root.real != 0 else np.nan
    if not x[0] <= at <= x[-1]:
        return np.nan, np.nan
    return float(r[peak] + at), float(a + at * (b + at * (c + at * d)))


def first_peak(distribution: xr.Dataset) -> xr.Dataset:
    """Position and height of the first peak of g(r).

    The first maximum of g(r), smoothed with a Gaussian of 0.1 angstrom, that is above 1 and stands out by a tenth of
    the largest value; there a cubic is fitted to the counted g(r) by least squares, over the shells around it where the
    smoothed curve is above 0.8 of its height. A cubic, because a liquid's peak rises more steeply than it falls; the
    fit averages over the noise of single shells and its maximum lies between them.

    Parameters
    ----------
    distribution
        From `pair_distribution`.

    Returns
    -------
    Dataset of `position` (angstrom) and `height`, each over `estimate` = "value", "low", "high": from the whole
    g(r), with the 95 % interval of Student's t over fits to the blocks.

    Raises
    ------
    MissingDataError
        If there is no peak above 1.
    """
    r = distribution["r"].values
    position, height = fit_peak(r, distribution["g"].values) if len(r) > 5 else (np.nan, np.nan)
    if not np.isfinite(position):
        raise MissingDataError(
            f"g(r) has no peak above 1 up to {r[-1]:.3g} angstrom: a larger r_max or more frames may show one"
        )
    fits = np.array([fit_peak(r, block) for block in distribution["blocks"].values])
    half = mean_of_blocks(fits).half_width
    estimates = [
        Estimate(value, value - h, value + h, fits[:, i])
        for i, (value, h) in enumerate(zip((position, height), half, strict=True))
    ]
    return xr.Dataset(
        {
            name: ("estimate", [e.value, e.low, e.high], {"units": unit})
            for name, e, unit in zip(("position", "height"), estimates, ("angstrom", "1"), strict=True)
        },
        coords={"estimate": ["value", "low", "high"]},
    )
