"""Periodic grids: where the values of a density sit, and the Fourier transforms between them.

Value ``[i, j, k]`` of a field on a grid of shape ``(na, nb, nc)`` lies at the fractional coordinates
``(i/na, j/nb, k/nc)`` of the cell. Rows of the cell matrix are the lattice vectors, so a point with
fractional coordinates ``x`` is at ``x @ cell``. The method is textbook trigonometric interpolation; the
treatment of the Nyquist planes of even grids is that of `scipy.signal.resample`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edviz.errors import SchemaError

__all__ = ["PeriodicGrid", "apply_symmetry", "fourier_resample", "symmetry_index"]

Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class PeriodicGrid:
    """A regular grid in a periodic cell.

    Parameters
    ----------
    cell
        (3, 3), rows are the lattice vectors a, b, c in angstrom; right-handed.
    shape
        Number of points along a, b and c.

    Raises
    ------
    SchemaError
        If the cell is not a finite (3, 3) matrix of positive determinant or a size is not a positive integer.
    """

    cell: NDArray[np.float64]
    shape: Shape

    def __post_init__(self) -> None:
        cell = np.array(self.cell, dtype=np.float64)
        if cell.shape != (3, 3) or not np.isfinite(cell).all() or not np.linalg.det(cell) > 0:
            raise SchemaError(
                "a cell is a finite (3, 3) matrix in angstrom, rows a, b, c, right-handed (positive determinant); got "
                f"{np.array2string(cell, precision=4)}"
            )
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1 or any(n != m for n, m in zip(shape, self.shape, strict=True)):
            raise SchemaError(f"a grid has three positive integer sizes; got {self.shape}")
        cell.setflags(write=False)
        object.__setattr__(self, "cell", cell)
        object.__setattr__(self, "shape", shape)

    def __repr__(self) -> str:
        lengths = " x ".join(f"{x:.4f}" for x in np.linalg.norm(self.cell, axis=1))
        return f"PeriodicGrid({lengths} angstrom, {' x '.join(map(str, self.shape))} points)"

    @cached_property
    def volume(self) -> float:
        """Volume of the cell in angstrom^3."""
        return float(np.linalg.det(self.cell))

    @property
    def n_points(self) -> int:
        """Number of grid points."""
        na, nb, nc = self.shape
        return na * nb * nc

    @property
    def voxel_volume(self) -> float:
        """Volume that belongs to one grid point, angstrom^3."""
        return self.volume / self.n_points

    @cached_property
    def spacings(self) -> NDArray[np.float64]:
        """(3,) distance between neighbouring points along a, b, c: ``|a_i| / n_i``, angstrom."""
        return np.asarray(np.linalg.norm(self.cell, axis=1) / np.array(self.shape), dtype=np.float64)

    @cached_property
    def reciprocal(self) -> NDArray[np.float64]:
        """(3, 3) rows are the reciprocal lattice vectors, ``a_i . b_j = 2 pi delta_ij``, 1/angstrom."""
        return np.asarray(2 * np.pi * np.linalg.inv(self.cell).T, dtype=np.float64)

    @cached_property
    def heights(self) -> NDArray[np.float64]:
        """(3,) distance between the faces that a, b, c join, ``2 pi / |b_i|``, angstrom."""
        return np.asarray(2 * np.pi / np.linalg.norm(self.reciprocal, axis=1), dtype=np.float64)

    def k_vectors(self, half: bool = False) -> NDArray[np.float64]:
        """Wave vectors of the discrete Fourier transform.

        Parameters
        ----------
        half
            False: the order of `numpy.fft.fftn`. True: that of `numpy.fft.rfftn`, whose last axis holds
            ``nc // 2 + 1`` planes (see `half_weights`).

        Returns
        -------
        (na, nb, nc or nc // 2 + 1, 3) in 1/angstrom. On an even axis the Nyquist plane has the sign that
        numpy gives it: minus in full axes, plus in the halved one.
        """
        na, nb, nc = self.shape
        last = np.fft.rfftfreq(nc, 1 / nc) if half else np.fft.fftfreq(nc, 1 / nc)
        axes = (np.fft.fftfreq(na, 1 / na), np.fft.fftfreq(nb, 1 / nb), last)
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ self.reciprocal

    def k_norms(self, half: bool = False) -> NDArray[np.float64]:
        """Lengths of `k_vectors`, (na, nb, nc or nc // 2 + 1) in 1/angstrom."""
        return np.linalg.norm(self.k_vectors(half), axis=-1)

    def half_weights(self) -> NDArray[np.int64]:
        """(nc // 2 + 1,) how often each plane of an `rfftn` stands for in the full transform: 1 or 2."""
        nc = self.shape[2]
        weights = np.full(nc // 2 + 1, 2)
        weights[0] = 1
        if nc % 2 == 0:
            weights[-1] = 1
        return weights

    def to_fractional(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Cartesian (..., 3) in angstrom to fractional coordinates (..., 3)."""
        return np.asarray(positions, dtype=np.float64) @ np.linalg.inv(self.cell)

    def to_cartesian(self, fractional: ArrayLike) -> NDArray[np.float64]:
        """Fractional coordinates (..., 3) to Cartesian (..., 3) in angstrom."""
        return np.asarray(fractional, dtype=np.float64) @ self.cell

    def wrap(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Positions (..., 3) in angstrom moved by lattice vectors into the cell."""
        fractional = self.to_fractional(positions)
        fractional -= np.floor(fractional)
        fractional[fractional >= 1.0] = 0.0  # -1e-17 - floor(-1e-17) rounds to 1
        return self.to_cartesian(fractional)

    def nearest_image(self, differences: NDArray[np.float64]) -> NDArray[np.float64]:
        """The shortest periodic image of each difference (..., 3), in any cell, angstrom."""
        fractional = self.to_fractional(differences)
        result: NDArray[np.float64] = (fractional - np.rint(fractional)) @ self.cell
        # Rounding gives the shortest image if it is shorter than half the smallest height of the cell.
        doubtful = (result**2).sum(axis=-1) > (0.5 * self.heights.min()) ** 2
        if doubtful.any():
            flat = result[doubtful]
            reach = np.sqrt((flat**2).sum(axis=-1).max())
            bounds = np.floor(reach / self.heights + 0.5).astype(int)
            shifts = np.stack(np.meshgrid(*[np.arange(-b, b + 1) for b in bounds], indexing="ij"), axis=-1)
            vectors = shifts.reshape(-1, 3) @ self.cell
            best = flat.copy()
            for vector in vectors:
                image = flat + vector
                shorter = (image**2).sum(axis=-1) < (best**2).sum(axis=-1)
                best[shorter] = image[shorter]
            result[doubtful] = best
        return result

    def matches(self, other: PeriodicGrid, tol: float = 1e-4) -> bool:
        """Whether the other grid has the same shape and, within `tol` angstrom, the same cell."""
        return self.shape == other.shape and bool(np.abs(self.cell - other.cell).max() <= tol)

    def symmetries(self, tol: float = 1e-4) -> NDArray[np.int64]:
        """Rotations and reflections of the lattice that also map grid points to grid points.

        Parameters
        ----------
        tol
            Largest relative deviation of the metric that still counts as equal.

        Returns
        -------
        (n, 3, 3) integer matrices W, the identity first, that act on fractional coordinates, ``x' = W x``.
        They satisfy ``W^T M W = M`` with the metric ``M = cell cell^T`` and ``n_i W_ij / n_j`` is an integer.
        48 of them for a cube with equal sizes. They are symmetries of the empty cell, not of the atoms in it.
        """
        metric = self.cell @ self.cell.T
        lengths = np.sqrt(np.diag(metric))
        # An image of a lattice vector is a lattice vector v of the same length: |v . b_i| / 2 pi bounds its
        # coefficients.
        bounds = np.floor(lengths.max() * np.linalg.norm(self.reciprocal, axis=1) / (2 * np.pi) * (1 + tol)).astype(int)
        vectors = np.array(list(product(*(range(-b, b + 1) for b in bounds))))
        squared = np.einsum("ni,ij,nj->n", vectors, metric, vectors)
        columns = [vectors[np.abs(squared - metric[i, i]) <= 2 * tol * metric[i, i]] for i in range(3)]
        sizes = np.array(self.shape)
        found = []
        for triple in product(*columns):
            matrix = np.stack(triple, axis=1)
            deviation = np.abs(matrix.T @ metric @ matrix - metric) / np.outer(lengths, lengths)
            on_grid = not ((sizes[:, None] * matrix) % sizes[None, :]).any()
            if on_grid and deviation.max() <= 2 * tol and round(abs(np.linalg.det(matrix))) == 1:
                found.append(matrix)
        found.sort(key=lambda matrix: (not np.array_equal(matrix, np.eye(3)), matrix.ravel().tolist()))
        return np.array(found, dtype=np.int64)


@lru_cache(maxsize=128)
def _symmetry_index(matrix: tuple[int, ...], shape: Shape) -> NDArray[np.int64]:
    W = np.array(matrix).reshape(3, 3)
    sizes = np.array(shape)
    scaled = sizes[:, None] * W
    if (scaled % sizes[None, :]).any():
        raise SchemaError(f"the symmetry {W.tolist()} does not map the points of a {shape} grid to grid points")
    on_indices = scaled // sizes[None, :]
    source = np.indices(shape).reshape(3, -1)
    target = (on_indices @ source) % sizes[:, None]
    index = np.empty(source.shape[1], dtype=np.int64)
    index[np.ravel_multi_index(tuple(target), shape)] = np.arange(source.shape[1])
    index.setflags(write=False)
    return index


def symmetry_index(W: ArrayLike, shape: Shape) -> NDArray[np.int64]:
    """The permutation that `apply_symmetry` applies, for arrays of any library.

    Returns
    -------
    (na * nb * nc,) such that ``values.reshape(..., -1)[..., index].reshape(values.shape)`` is the transformed
    field. Read-only and cached: copy before handing it to torch.

    Raises
    ------
    SchemaError
        If W does not map grid points to grid points.
    """
    matrix = tuple(int(w) for w in np.asarray(W).ravel())
    return _symmetry_index(matrix, (int(shape[0]), int(shape[1]), int(shape[2])))


def apply_symmetry(values: NDArray[Any], W: ArrayLike) -> NDArray[Any]:
    """Rotate or reflect a field on its grid, exactly: ``values'[x'] = values[x]`` with ``x' = W x``.

    Parameters
    ----------
    values
        (..., na, nb, nc).
    W
        (3, 3) integers, one of `PeriodicGrid.symmetries`.

    Returns
    -------
    (..., na, nb, nc), a permutation of the values.

    Raises
    ------
    SchemaError
        If W does not map grid points to grid points.
    """
    values = np.asarray(values)
    index = symmetry_index(W, values.shape[-3:])  # type: ignore[arg-type]
    return values.reshape(*values.shape[:-3], -1)[..., index].reshape(values.shape)


def fourier_resample(values: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Band-limited (trigonometric) resampling of periodic fields to another grid.

    Waves that both grids carry are kept exactly, those too short for the new grid are dropped. The mean,
    hence the charge, is kept. A positive density may come out slightly negative near sharp features (Gibbs);
    nothing is clipped.

    On an even axis of n points the wave n/2 can only be a cosine. Going up, it is shared equally between +n/2
    and -n/2; going down, both fold into one. Each axis is thus a real linear map that commutes with
    inversion, so the result is real, down-then-up of a band-limited field is exact, and a symmetric field
    stays symmetric.

    Parameters
    ----------
    values
        (..., na, nb, nc), real.
    shape
        The new (na, nb, nc).

    Returns
    -------
    (..., *shape) with the dtype of `values` (float64 for integers); the transforms run in float64.

    Raises
    ------
    SchemaError
        If `values` has fewer than three axes or a size is not a positive integer.
    """
    values = np.asarray(values)
    if values.ndim < 3 or len(shape) != 3 or any(int(n) != n or n < 1 for n in shape):
        raise SchemaError(f"resampling needs (..., na, nb, nc) and three positive sizes; got {values.shape} to {shape}")
    dtype = values.dtype if np.issubdtype(values.dtype, np.floating) else np.dtype(np.float64)
    result = values.astype(np.float64)
    # Shrink first, grow last: fewer points to transform.
    for axis in sorted(range(-3, 0), key=lambda axis: shape[axis] - values.shape[axis]):
        result = _resample_axis(result, int(shape[axis]), axis)
    return result.astype(dtype)


def _resample_axis(values: NDArray[np.float64], m: int, axis: int) -> NDArray[np.float64]:
    n = values.shape[axis]
    if m == n:
        return values
    waves = np.fft.rfft(values, axis=axis)
    smaller = min(m, n)
    waves = np.moveaxis(waves, axis, -1)[..., : smaller // 2 + 1].copy()
    if smaller % 2 == 0:
        # irfft takes twice the real part of a wave inside the band but only once that of its Nyquist wave.
        waves[..., -1] *= 2.0 if m < n else 0.5
    return np.moveaxis(np.fft.irfft(waves, n=m, axis=-1) * (m / n), -1, axis)
