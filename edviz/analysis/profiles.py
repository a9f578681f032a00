"""The field along a line, averaged over planes, and integrated over a sphere.

All three take the field as what its Fourier series says between the grid points (the trigonometric interpolation of
`edviz.grid.fourier_resample`, even axes included), so they are exact at grid points and for every field that the grid
carries, in any cell and across its borders. The integral over a sphere is exact too: the Fourier transform of a ball
of radius R is 4 pi (sin kR - kR cos kR) / k^3.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from edviz.analysis.frames import TrajectoryLike, as_given, as_trajectory, batches, mean_density
from edviz.errors import ArgumentError
from edviz.grid import PeriodicGrid
from edviz.trajectory import DensityTrajectory

__all__ = ["integrate_sphere", "line_profile", "planar_average"]

POINTS_AT_ONCE = 64  # of a line: more would need more memory than the frames themselves
_AXES = {"a": 0, "b": 1, "c": 2}


def planar_average(traj: TrajectoryLike, axis: int | str = "c") -> xr.DataArray:
    """The field averaged over the planes that two lattice vectors span.

    Parameters
    ----------
    traj
        A trajectory or its dataset, of any kind of field, in a cell that does not change.
    axis
        0, 1, 2 or "a", "b", "c": the lattice vector that leaves the planes.

    Returns
    -------
    ([sample,] time, position) in the field's unit, one value a grid plane. Coordinates: `position`, height of the plane
    above the cell's floor, along the normal, in angstrom; `fractional` along the axis. Attribute `area` of a plane
    in angstrom^2: times a density's average it is electrons per angstrom. ``result.edviz.plot()`` draws it.

    Raises
    ------
    ArgumentError
        No such axis.
    GridMismatchError
        If the cell changes in time.
    """
    traj = as_trajectory(traj)
    normal = _AXES.get(axis, -1) if isinstance(axis, str) else axis
    if normal not in (0, 1, 2):
        raise ArgumentError(f"axis is {axis!r}; choose 0, 1, 2 or 'a', 'b', 'c'")
    grid = traj.grid
    others = tuple(2 + i for i in range(3) if i != normal)
    values = _each_frame(traj, lambda batch: batch.mean(axis=others, dtype=np.float64))
    first, second = (grid.cell[i] for i in range(3) if i != normal)
    area = float(np.linalg.norm(np.cross(first, second)))
    fractional = np.arange(grid.shape[normal]) / grid.shape[normal]
    coords = {
        "position": ("position", fractional * grid.volume / area, {"units": "angstrom", "long_name": "height"}),
        "fractional": ("position", fractional, {"units": "1"}),
    }
    name = "abc"[normal]
    attrs = {**_field_attrs(traj), "long_name": f"average over the planes along {name}", "axis": name, "area": area}
    return _result(traj, values, ("position",), coords, "planar_average", attrs)


def line_profile(
    traj: TrajectoryLike, start: ArrayLike, stop: ArrayLike, n: int = 101, *, cartesian: bool = False
) -> xr.DataArray:
    """The field along a straight line, by Fourier interpolation.

    Parameters
    ----------
    traj
        A trajectory or its dataset, of any kind of field, in a cell that does not change.
    start, stop
        (3,) ends of the line, included; fractional coordinates of the grid (0 is the first grid point), of any size:
        the field is periodic and the line may leave the cell.
    n
        Number of points, at least two.
    cartesian
        The ends are in angstrom, relative to the first grid point.

    Returns
    -------
    ([sample,] time, point) in the field's unit; exact where a point of the line is a grid point. Coordinates:
    `distance` from the start, angstrom, and `fractional_a`, `fractional_b`, `fractional_c`.
    ``result.edviz.plot()`` draws it.

    Raises
    ------
    ArgumentError
        If an end is not three finite numbers, both are the same, or n is below two.
    GridMismatchError
        If the cell changes in time.
    """
    traj = as_trajectory(traj)
    grid = traj.grid
    ends = np.stack([_point(end, name) for end, name in ((start, "start"), (stop, "stop"))])
    if cartesian:
        ends = grid.to_fractional(ends)
    if n < 2 or int(n) != n:
        raise ArgumentError(f"a line takes two points or more; n is {n}")
    length = float(np.linalg.norm(grid.to_cartesian(ends[1] - ends[0])))
    if not length > 0:
        raise ArgumentError("start and stop of the line are the same point")
    way = np.linspace(0.0, 1.0, int(n))
    fractional = ends[0] + way[:, None] * (ends[1] - ends[0])
    along = [_interpolation(fractional[:, i], grid.shape[i]) for i in range(3)]

    def at_points(values: NDArray[np.float32]) -> NDArray[np.float64]:
        parts = []
        for first in range(0, len(fractional), POINTS_AT_ONCE):
            at_a, at_b, at_c = (weights[first : first + POINTS_AT_ONCE] for weights in along)
            partial = values.astype(np.float64) @ at_c.T  # (sample, frame, a, b, point)
            partial = np.einsum("stabp,pb->stap", partial, at_b)
            parts.append(np.einsum("stap,pa->stp", partial, at_a))
        return np.concatenate(parts, axis=-1)

    values = _each_frame(traj, at_points)
    coords = {
        "distance": ("point", way * length, {"units": "angstrom", "long_name": "distance along the line"}),
        **{f"fractional_{name}": ("point", fractional[:, i], {"units": "1"}) for name, i in _AXES.items()},
    }
    attrs = {**_field_attrs(traj), "long_name": "along a line"}
    return _result(traj, values, ("point",), coords, "line_profile", attrs)


def integrate_sphere(
    traj: TrajectoryLike, center: ArrayLike, radius: ArrayLike, *, fractional: bool = False
) -> xr.DataArray:
    """Electrons within a sphere, exactly: not voxel by voxel but wave by wave.

    Parameters
    ----------
    traj
        A trajectory or its dataset, an electron density in a cell that does not change.
    center
        (3,) in angstrom, relative to the first grid point; or (time, 3) to follow something, such as an atom:
        ``traj.ds["positions"][:, 5]`` (minus the origin, where the trajectory has one).
    radius
        Angstrom; one number or (radius,), which gives the charge as a function of it. A sphere that is larger than the
        cell reaches into its periodic images.
    fractional
        The center is in fractional coordinates.

    Returns
    -------
    ([sample,] time[, radius]) in electrons. ``result.edviz.plot()`` draws it.

    Raises
    ------
    ArgumentError
        If center or radius has another shape or is not finite, or a radius is negative.
    SchemaError
        If the field is not an electron density.
    GridMismatchError
        If the cell changes in time.

    Notes
    -----
    Exact for the field that the grid carries. A density sharper than its grid (an unsmoothed core) rings beyond its own
    extent; spheres of a few grid spacings are then off by as much as the ringing.
    """
    traj = as_trajectory(traj)
    mean_density(traj)
    grid = traj.grid
    radii = np.asarray(radius, dtype=np.float64)
    if radii.ndim > 1 or not radii.size or not np.isfinite(radii).all() or (radii < 0).any():
        raise ArgumentError(f"radius must be a number or (radius,), not negative, in angstrom; got {radius!r}")
    centers = np.asarray(center, dtype=np.float64)
    if centers.shape not in ((3,), (len(traj), 3)) or not np.isfinite(centers).all():
        raise ArgumentError(
            f"center must be three finite numbers, or one such triple for each of the {len(traj)} frames; got shape "
            f"{centers.shape}"
        )
    if not fractional:
        centers = grid.to_fractional(centers)
    several = np.atleast_1d(radii)
    if centers.ndim == 1:
        weights = _ball_weights(grid, centers, several).reshape(len(several), -1).T
        values = _each_frame(traj, lambda v: v.reshape(*v.shape[:2], -1).astype(np.float64) @ weights)
    else:
        parts = []
        for frames, batch in batches(traj):
            for number, frame in zip(range(frames.start, frames.stop), np.moveaxis(batch, 1, 0), strict=True):
                weights = _ball_weights(grid, centers[number], several).reshape(len(several), -1).T
                parts.append(frame.reshape(len(frame), -1).astype(np.float64) @ weights)
        values = np.stack(parts, axis=1)
    coords: dict[str, Any] = {}
    dims: tuple[str, ...] = ("radius",)
    attrs: dict[str, Any] = {"units": "e", "long_name": "electrons in the sphere"}
    if radii.ndim == 0:
        values, dims = values[..., 0], ()
        attrs["radius"] = float(radii)
    else:
        coords["radius"] = ("radius", several, {"units": "angstrom", "long_name": "radius"})
    return _result(traj, values, dims, coords, "integrate_sphere", attrs)


def _ball_weights(grid: PeriodicGrid, center: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """(radius, a, b, c) such that the sum of weights times values is the integral over the ball, angstrom^3.

    The weights are the ball's indicator, band-limited. A wave n/2 of an even axis of n points is a cosine: the mean of
    both signs, hence the sum over the signs of all axes.
    """
    na, nb, nc = grid.shape
    waves = [np.fft.fftfreq(na, 1 / na), np.fft.fftfreq(nb, 1 / nb), np.fft.rfftfreq(nc, 1 / nc)]
    total = np.zeros((len(radii), na, nb, nc // 2 + 1), dtype=np.complex128)
    even = [n % 2 == 0 for n in grid.shape]
    signs = list(product(*((1, -1) if is_even else (1,) for is_even in even)))
    for sign in signs:
        m = [wave.copy() for wave in waves]
        for axis, s in enumerate(sign):
            if even[axis]:
                m[axis][grid.shape[axis] // 2] *= s
        index = np.stack(np.meshgrid(*m, indexing="ij"), axis=-1)
        phase = np.exp(-2j * np.pi * (index @ center))
        k = np.linalg.norm(index @ grid.reciprocal, axis=-1)
        for row, radius in enumerate(radii):
            total[row] += phase * _ball_transform(k, radius)
    return np.fft.irfftn(total / len(signs), s=grid.shape, axes=(1, 2, 3))


def _ball_transform(k: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Integral of exp(i k r) over a ball about the origin, angstrom^3."""
    x = k * radius
    safe = np.where(x < 1e-2, 1.0, x)
    series = 1 - x**2 / 10 + x**4 / 280
    return 4 * np.pi * radius**3 * np.where(x < 1e-2, series / 3, (np.sin(safe) - safe * np.cos(safe)) / safe**3)


def _interpolation(x: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """(point, n) values at fractional coordinates x as a combination of the n values of a periodic axis."""
    offset = x[:, None] - np.arange(n) / n
    offset -= np.rint(offset)
    waves = np.sin(np.pi * n * offset)
    on_point = np.abs(offset) < 1e-12
    below = np.where(on_point, 1.0, n * (np.tan(np.pi * offset) if n % 2 == 0 else np.sin(np.pi * offset)))
    return np.where(on_point, 1.0, waves / below)


def _point(values: ArrayLike, name: str) -> NDArray[np.float64]:
    point = np.asarray(values, dtype=np.float64)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise ArgumentError(f"{name} must be three finite numbers; got {values!r}")
    return point


def _each_frame(
    traj: DensityTrajectory, function: Callable[[NDArray[np.float32]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """function((sample, frame, a, b, c)) -> (sample, frame, ...), over all frames."""
    return np.concatenate([function(values) for _, values in batches(traj)], axis=1)


def _field_attrs(traj: DensityTrajectory) -> dict[str, Any]:
    return {"units": str(traj.density.attrs["units"]), "density_kind": traj.density_kind}


def _result(
    traj: DensityTrajectory,
    values: NDArray[np.float64],
    dims: tuple[str, ...],
    coords: dict[str, Any],
    name: str,
    attrs: dict[str, Any],
) -> xr.DataArray:
    coords = {"time": ("time", traj.time, {"units": "fs"}), **coords}
    result = xr.DataArray(values, dims=("sample", "time", *dims), coords=coords, name=name, attrs=attrs)
    return as_given(result, traj)
