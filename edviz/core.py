"""The frozen 1s core: what turns a valence density into the density of all electrons.

Each atom adds two electrons in a hydrogen-like 1s orbital of exponent zeta, whose form factor is
``f(k) = 2 / (1 + (k / 2 zeta)^2)^2`` (k in 1/bohr), times ``exp(-k^2 sigma^2 / 2)`` so that a grid of spacing
sigma can carry it. The exponent is Clementi and Raimondi's best single-zeta value for the element (J. Chem.
Phys. 38, 2686 (1963)). The sum over atoms is taken in reciprocal space, where the phase factor of a wave (h,
k, l) is a product of three one-dimensional ones in fractional coordinates, whatever the cell: ``exp(-2 pi i
(h x + k y + l z))``.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edviz.errors import MissingDataError, SchemaError
from edviz.grid import PeriodicGrid, Shape
from edviz.schema import BOHR

__all__ = ["CORE_ELECTRONS", "ZETA_1S", "add_core", "check_elements", "core_density"]

#: Atomic number -> exponent of the 1s orbital in 1/bohr, for elements whose core is 1s2.
ZETA_1S: dict[int, float] = {3: 2.6906}
CORE_ELECTRONS = 2


def check_elements(numbers: NDArray[np.integer]) -> None:
    """Raise MissingDataError naming the elements that have no tabulated core."""
    missing = sorted(set(int(z) for z in numbers) - set(ZETA_1S))
    if missing:
        from ase.data import chemical_symbols

        names = ", ".join(chemical_symbols[z] for z in missing)
        known = ", ".join(chemical_symbols[z] for z in ZETA_1S)
        raise MissingDataError(f"no frozen core is tabulated for {names} (only for {known})")


def form_factor(k: NDArray[np.float64], number: int, sigma: float) -> NDArray[np.float64]:
    """Fourier transform of one smoothed core; k in 1/angstrom, sigma in angstrom; 2 at k = 0."""
    reduced = k * BOHR / (2 * ZETA_1S[number])
    return CORE_ELECTRONS / (1 + reduced**2) ** 2 * np.exp(-0.5 * (k * sigma) ** 2)


def _waves(n: int) -> NDArray[np.int64]:
    """-n//2 ... n//2: every wave an axis of n points carries, both signs of the Nyquist wave if n is even."""
    return np.arange(-(n // 2), n // 2 + 1)


@lru_cache(maxsize=16)
def _form_factors(cell: bytes, shape: Shape, number: int, sigma: float) -> NDArray[np.float64]:
    grid = PeriodicGrid(np.frombuffer(cell).reshape(3, 3), shape)
    axes = (_waves(shape[0]), _waves(shape[1]), np.arange(shape[2] // 2 + 1))
    hkl = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return form_factor(np.linalg.norm(hkl @ grid.reciprocal, axis=-1), number, sigma)


def _fold(waves: NDArray[np.complex128], n: int, axis: int) -> NDArray[np.complex128]:
    """Waves -n//2 ... n//2 along an axis to fft order; on the grid both Nyquist waves are the same, so they add."""
    waves = np.moveaxis(waves, axis, 0)
    folded = np.roll(waves[: n if n % 2 else -1], -(n // 2), axis=0)
    if n % 2 == 0:
        folded[n // 2] += waves[-1]
    return np.moveaxis(folded, 0, axis)


def core_density(
    positions: NDArray[np.floating], numbers: NDArray[np.integer], grid: PeriodicGrid, sigma: float
) -> NDArray[np.float64]:
    """Density of the frozen 1s cores on a grid.

    Parameters
    ----------
    positions
        (atom, 3) in angstrom; need not lie inside the cell.
    numbers
        (atom,) atomic numbers.
    grid
        The grid.
    sigma
        Width of the smoothing Gaussian, angstrom.

    Returns
    -------
    (na, nb, nc) in e/angstrom^3, real, integrating to two electrons an atom exactly. It is the sum of all
    waves up to and including both Nyquist waves of even axes, so it agrees with `fourier_resample` of a finer
    grid's.

    Raises
    ------
    MissingDataError
        For an element without a tabulated core.
    """
    numbers = np.asarray(numbers)
    check_elements(numbers)
    fractional = grid.to_fractional(positions)
    na, nb, nc = grid.shape
    total = np.zeros((len(_waves(na)), len(_waves(nb)), nc // 2 + 1), dtype=np.complex128)
    for number in np.unique(numbers):
        x, y, z = fractional[numbers == number].T
        phase_a = np.exp(-2j * np.pi * np.outer(_waves(na), x))
        phase_b = np.exp(-2j * np.pi * np.outer(_waves(nb), y))
        phase_c = np.exp(-2j * np.pi * np.outer(z, np.arange(nc // 2 + 1)))
        pairs = (phase_a[:, None, :] * phase_b[None, :, :]).reshape(-1, x.size)
        total += (pairs @ phase_c).reshape(total.shape) * _form_factors(
            grid.cell.tobytes(), grid.shape, int(number), float(sigma)
        )
    total = _fold(_fold(total, na, 0), nb, 1)
    if nc % 2 == 0:
        total[..., -1] *= 2  # the inverse transform counts this plane once and takes its real part: the mean of +- nc/2
    return np.fft.irfftn(total, s=grid.shape, axes=(0, 1, 2)) * (grid.n_points / grid.volume)


def add_core(
    density: NDArray[np.floating],
    positions: NDArray[np.floating],
    cell: NDArray[np.floating],
    frame: NDArray[np.integer],
    *,
    numbers: NDArray[np.integer],
    sigma: float,
) -> NDArray[np.float32]:
    """Valence density plus frozen cores, frame by frame.

    Parameters
    ----------
    density
        (..., na, nb, nc) in e/angstrom^3.
    positions, cell, frame
        (..., atom, 3) in angstrom, (..., 3, 3) in angstrom and (...) frame numbers for messages; leading axes
        broadcast.
    numbers, sigma
        As in `core_density`.

    Returns
    -------
    (..., na, nb, nc) float32.

    Raises
    ------
    SchemaError
        If a value of the sum is negative: nothing is clipped.
    """
    shape = density.shape[-3:]
    lead = density.shape[:-3]
    positions = np.broadcast_to(positions, (*lead, *positions.shape[-2:]))
    cell = np.broadcast_to(cell, (*lead, 3, 3))
    frame = np.broadcast_to(frame, lead)
    result = np.empty(density.shape, dtype=np.float32)
    for index in np.ndindex(*lead):
        grid = PeriodicGrid(cell[index].astype(np.float64), shape)
        result[index] = density[index] + core_density(positions[index], numbers, grid, sigma)
        if result[index].min() < 0:
            raise SchemaError(
                f"frame {int(frame[index])}: valence + core has negative values, down to {result[index].min():.3g} "
                f"e/angstrom^3 (core_sigma {sigma:.3g} angstrom). Positions and density may not belong together, or "
                "the valence density is itself negative there; a larger sigma smooths the core more."
            )
    return result
