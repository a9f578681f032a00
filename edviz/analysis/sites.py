"""Where a periodic field has its maxima or minima, to a small fraction of the grid spacing.

A field on a grid is the trigonometric polynomial through its values (`edviz.grid.fourier_resample` uses the same one).
Grid points that no neighbour exceeds start Newton's method on that polynomial, whose value, gradient and Hessian at a
point are sums over the grid with one-dimensional weights along each axis (the periodic cardinal function, J.-P. Berrut
and L. N. Trefethen, SIAM Rev. 46, 501 (2004), section 6, as a sum of cosines) in any cell. Near a maximum Newton's
method runs on ln rho, for which one step is exact at a Gaussian; near a minimum, where rho may be zero, on rho.

An extremum counts by its prominence, what topography calls the drop to the highest saddle on the way to higher ground;
the way is taken as the straight line to each of the nearest higher extrema, so that the drop is an upper bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, maximum_filter

from edviz.errors import ArgumentError, NonFiniteError
from edviz.grid import PeriodicGrid

__all__ = [
    "MIN_PROMINENCE",
    "Kind",
    "count_holes",
    "count_maxima",
    "find_sites",
    "hole_level",
    "interpolate",
    "refine_maxima",
]

Kind = Literal["maxima", "holes"]

MIN_PROMINENCE = 0.3  # of the largest prominence in the frame
MAX_CANDIDATES = 4096  # more extrema than this are noise, not atoms
_TOLERANCE = 1e-4  # angstrom: Newton's last step
_MAX_STEPS = 20
_NEIGHBOURS = 12  # higher extrema to which the straight lines are followed
_POINTS = 9  # on each line
_LEVELS = np.geomspace(1e-3, 1.0, 601)  # of the mean, to look for the one that parts holes of atoms from others
_STEADY = 0.99  # of the frames must have the same number of holes below it


@lru_cache(maxsize=16)
def _cosines(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """2 pi h, and c_h cos(2 pi h i / n) / n, c_h sin(2 pi h i / n) / n; (waves,), (waves, n), (waves, n)."""
    h = np.arange(n // 2 + 1, dtype=np.float64)
    share = np.where((h == 0) | (2 * h == n), 1.0, 2.0)[:, None] / n
    phase = 2 * np.pi * np.outer(h, np.arange(n)) / n
    return 2 * np.pi * h, share * np.cos(phase), share * np.sin(phase)


def _weights(n: int, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the n grid values for value, first and second derivative at fractional coordinates x: (site, 3, n)."""
    omega, cosine, sine = _cosines(n)
    c, s = np.cos(np.outer(x, omega)), np.sin(np.outer(x, omega))
    along = np.stack([c, -omega * s, -(omega**2) * c], axis=1)
    across = np.stack([s, omega * c, -(omega**2) * s], axis=1)
    result: NDArray[np.float64] = along @ cosine + across @ sine
    return result


def interpolate(
    values: NDArray[np.floating], grid: PeriodicGrid, positions: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Value, gradient and Hessian of the trigonometric polynomial through a field.

    Parameters
    ----------
    values
        (na, nb, nc).
    grid
        Its grid.
    positions
        (n, 3) in angstrom.

    Returns
    -------
    (n,), (n, 3) and (n, 3, 3): the field's unit, per angstrom, per angstrom^2.
    """
    na, nb, nc = grid.shape
    fractional = grid.to_fractional(positions)
    a, b, c = (_weights(n, fractional[:, i]) for i, n in enumerate(grid.shape))
    n_sites = len(fractional)
    lines = values.reshape(na * nb, nc) @ c.reshape(-1, nc).T.astype(values.dtype, copy=False)
    planes = np.ascontiguousarray(lines.reshape(na, nb, n_sites, 3).transpose(2, 3, 0, 1))
    single = a.astype(values.dtype, copy=False), b.astype(values.dtype, copy=False)
    # sums[site, r, p, q]: derivative of order p along a, q along b, r along c
    sums = (single[0][:, None] @ planes @ single[1].transpose(0, 2, 1)[:, None]).astype(np.float64)
    value = sums[:, 0, 0, 0]
    gradient = np.stack([sums[:, 0, 1, 0], sums[:, 0, 0, 1], sums[:, 1, 0, 0]], axis=-1)
    ab, ac, bc = sums[:, 0, 1, 1], sums[:, 1, 1, 0], sums[:, 1, 0, 1]
    hessian = np.stack([sums[:, 0, 2, 0], ab, ac, ab, sums[:, 0, 0, 2], bc, ac, bc, sums[:, 2, 0, 0]], axis=-1).reshape(
        -1, 3, 3
    )
    inverse = np.linalg.inv(grid.cell)
    return value, gradient @ inverse.T, inverse @ hessian @ inverse.T


def _newton_steps(
    value: NDArray[np.float64], gradient: NDArray[np.float64], hessian: NDArray[np.float64], logarithmic: bool
) -> NDArray[np.float64]:
    """Steps uphill: Newton's, with the sign of every curvature that is not negative reversed."""
    if logarithmic:
        gradient = gradient / value[:, None]
        hessian = hessian / value[:, None, None] - gradient[:, :, None] * gradient[:, None, :]
    curvature, axes = np.linalg.eigh(hessian)
    along = np.einsum("nij,ni->nj", axes, gradient)
    scale = np.maximum(np.abs(curvature), 1e-12 + 1e-3 * np.abs(curvature).max(axis=1, keepdims=True))
    return np.einsum("nij,nj->ni", axes, along / scale)


def refine_maxima(
    values: NDArray[np.floating], grid: PeriodicGrid, starts: NDArray[np.float64], logarithmic: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Maxima of the trigonometric polynomial reached from the starts, and the values there; those that converge."""
    positions = starts.copy()
    heights = np.full(len(starts), np.nan)
    cap = 0.5 * float(grid.spacings.min())
    active = np.arange(len(starts))
    for _ in range(_MAX_STEPS):
        value, gradient, hessian = interpolate(values, grid, positions[active])
        take_log = logarithmic and bool((value > 0).all())
        steps = _newton_steps(value, gradient, hessian, take_log)
        length = np.linalg.norm(steps, axis=1)
        steps *= np.minimum(1.0, cap / np.maximum(length, 1e-300))[:, None]
        positions[active] += steps
        # Newton converges quadratically: after a step this small the next one is below the tolerance.
        done = length < (0.02 * cap if take_log else _TOLERANCE)
        if done.any():
            heights[active[done]] = value[done] + 0.5 * (gradient[done] * steps[done]).sum(axis=1)
        active = active[~done]
        if not active.size:
            break
    known = np.isfinite(heights)
    return positions[known], heights[known]


def _distinct(grid: PeriodicGrid, positions: NDArray[np.float64], within: float) -> NDArray[np.intp]:
    """Numbers of the sites that no earlier one lies within this distance of."""
    if len(positions) < 2:
        return np.arange(len(positions))
    fractional = grid.to_fractional(positions)
    difference = fractional[:, None] - fractional[None]
    difference -= np.rint(difference)
    close = np.tril(np.linalg.norm(difference @ grid.cell, axis=-1) < within, -1)
    keep = np.ones(len(positions), dtype=bool)
    for number in np.flatnonzero(close.any(axis=1)):
        keep[number] = not (close[number] & keep).any()
    return np.flatnonzero(keep)


def _prominences(
    values: NDArray[np.floating], grid: PeriodicGrid, positions: NDArray[np.float64], heights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Drop from each site (the highest first) to the highest of the lowest points on straight lines to higher sites."""
    n = len(heights)
    lowest = float(values.min())
    result = heights - lowest
    if n < 2:
        return result
    fractional = grid.to_fractional(positions)
    difference = fractional[None] - fractional[:, None]
    difference -= np.rint(difference)
    squared = ((difference @ grid.cell) ** 2).sum(axis=-1)
    squared[np.triu_indices(n)] = np.inf  # only to higher sites
    m = min(_NEIGHBOURS, n - 1)
    near = np.argpartition(squared, m - 1, axis=1)[:, :m]
    rows = np.arange(n)[:, None]
    share = np.linspace(0, 1, _POINTS + 2)[1:-1]
    points = fractional[:, None, None] + share[:, None] * difference[rows, near][:, :, None]
    indices = np.moveaxis(points * np.array(grid.shape), -1, 0)
    along = map_coordinates(values, indices.reshape(3, -1), order=1, mode="grid-wrap").reshape(n, m, _POINTS)
    saddles = np.where(np.isfinite(squared[rows, near]), along.min(axis=-1), lowest).max(axis=1)
    saddles[0] = lowest
    return np.maximum(heights - saddles, 0.0)


def _maxima(fields: NDArray[np.floating], above: float | NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which points of (..., a, b, c) are the highest among their 27, across the boundary, and higher than `above`."""
    neighbours = (1,) * (fields.ndim - 3) + (3, 3, 3)
    return (maximum_filter(fields, size=neighbours, mode="wrap") == fields) & (fields > above)


def count_maxima(densities: NDArray[np.floating], least: float = 0.3) -> NDArray[np.intp]:
    """How many grid points of each frame are the highest among their 27, fast: atoms of a total density.

    Only those of at least `least` times the frame's highest value count. In 615 frames of liquid lithium with its cores
    every frame has 54, the lowest of them 0.77 times the highest, and no other maxima at all.

    Parameters
    ----------
    densities
        (..., a, b, c), any unit, positive.

    Returns
    -------
    (...) of int.
    """
    peaks = _maxima(densities, least * densities.max((-3, -2, -1), keepdims=True))
    return np.asarray(peaks.sum((-3, -2, -1)), np.intp)


def count_holes(densities: NDArray[np.floating], level: float) -> NDArray[np.intp]:
    """How many grid points of each frame are the lowest among their 27 and below `level` times its mean, fast.

    With the right level (`hole_level`) these are the atoms of a valence density.

    Parameters
    ----------
    densities
        (..., a, b, c), any unit, positive.
    level
        In units of each frame's mean.

    Returns
    -------
    (...) of int.
    """
    below = level * densities.mean((-3, -2, -1), keepdims=True)
    return np.asarray(_maxima(-densities, -below).sum((-3, -2, -1)), np.intp)


def hole_level(frames: Iterable[NDArray[np.floating]]) -> float | None:
    """The level below which all frames have the same number of holes: it parts those at atoms from those between.

    In 634 frames of the valence density of liquid lithium at 800 K, every one has exactly 54 holes below 0.265 of the
    mean, its atoms; the deepest other one lies at 0.278, the shallowest atom at 0.252.

    Parameters
    ----------
    frames
        Each (a, b, c), any unit, positive.

    Returns
    -------
    In units of the mean: the middle, in the logarithm, of the widest range of levels at which 99 of 100 frames agree.
    None where they agree at none, or there are no holes: the holes then say nothing of the atoms.
    """
    counts = []
    for frame in frames:
        minima = np.sort(frame[_maxima(-frame, -np.inf)]) / frame.mean()
        counts.append(np.searchsorted(minima, _LEVELS))
    if not counts:
        return None
    found = np.array(counts)
    usual = np.median(found, axis=0)
    agreed = np.where((found == usual).mean(axis=0) >= _STEADY, usual, 0)
    starts = np.flatnonzero(np.diff(agreed, prepend=0))
    ends = np.append(starts[1:], len(agreed)) - 1
    widths = np.where(agreed[starts] > 0, ends - starts, -1)
    if not (widths >= 0).any():
        return None
    widest = int(np.argmax(widths))
    return float(np.sqrt(_LEVELS[starts[widest]] * _LEVELS[ends[widest]]))


def find_sites(
    values: NDArray[np.floating],
    grid: PeriodicGrid,
    n_expected: int | None = None,
    kind: Kind = "maxima",
    min_prominence: float | None = None,
) -> NDArray[np.float64]:
    """Positions of the maxima or the holes (minima) of one frame, the most prominent first.

    Parameters
    ----------
    values
        (na, nb, nc), any unit.
    grid
        Its grid, any cell.
    n_expected
        Give at most this many. Without it all whose prominence passes `min_prominence`.
    kind
        "maxima" or "holes".
    min_prominence
        Keep sites of at least this share of the largest prominence; by default `MIN_PROMINENCE`, or nothing if
        n_expected is given. Prominence is the drop of ln rho for the maxima of a positive field, else of rho.

    Returns
    -------
    (n, 3) in angstrom, inside the cell. None at all in a constant field.

    Raises
    ------
    ArgumentError
        Another kind, or a shape that is not the grid's.
    NonFiniteError
        A NaN or an infinity.
    """
    if kind not in ("maxima", "holes"):
        raise ArgumentError(f"kind must be 'maxima' or 'holes'; got {kind!r}")
    values = np.asarray(values)
    if values.shape != grid.shape:
        raise ArgumentError(f"the values have shape {values.shape}, the grid {grid.shape}")
    if not np.isfinite(values).all():
        raise NonFiniteError("the field has NaN or infinite values: drop this frame or repair it where it was written")
    field: NDArray[np.floating] = np.ascontiguousarray(values, np.float32 if values.dtype == np.float32 else np.float64)
    if kind == "holes":
        field = np.negative(field)
    low, high = float(field.min()), float(field.max())
    if not high - low > 1e-6 * max(abs(low), abs(high)):
        return np.empty((0, 3))
    peaks = np.argwhere(_maxima(field, low))
    if len(peaks) > MAX_CANDIDATES:
        peaks = peaks[np.argsort(-field[tuple(peaks.T)], kind="stable")[:MAX_CANDIDATES]]
    logarithmic = kind == "maxima" and low > 0
    starts = grid.to_cartesian(peaks / np.array(grid.shape))
    positions, heights = refine_maxima(field, grid, starts, logarithmic)
    order = np.argsort(-heights, kind="stable")
    positions, heights = positions[order], heights[order]
    chosen = _distinct(grid, positions, 0.5 * float(grid.spacings.min()))
    positions, heights = positions[chosen], heights[chosen]
    if not len(heights):
        return np.empty((0, 3))
    if logarithmic:
        prominence = _prominences(np.log(field), grid, positions, np.log(heights))
    else:
        prominence = _prominences(field, grid, positions, heights)
    order = np.argsort(-prominence, kind="stable")
    share = min_prominence if min_prominence is not None else (MIN_PROMINENCE if n_expected is None else 0.0)
    order = order[prominence[order] >= share * prominence[order[0]]]
    return grid.wrap(positions[order[:n_expected]])
