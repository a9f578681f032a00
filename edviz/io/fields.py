"""What the readers of binary formats have in common once they hold the numbers of a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edviz import schema
from edviz.errors import FileFormatError
from edviz.grid import PeriodicGrid
from edviz.io.lazy import identity

__all__ = ["ELEMENTS", "checked", "grid_of", "number_of", "same_file"]

#: More grid points than this is a damaged count, not a calculation (2^33 float32 values are 32 GiB).
_MAX_POINTS = 1 << 33


def _elements() -> dict[str, int]:
    from ase.data import chemical_symbols

    return {symbol: number for number, symbol in enumerate(chemical_symbols) if number}


ELEMENTS: dict[str, int] = _elements()


def number_of(label: str, where: str) -> int:
    """Atomic number of a label such as "Fe", "Fe1" or "fe_up".

    Raises
    ------
    FileFormatError
        If it starts with no element.
    """
    letters = label.strip()[:2].capitalize()
    for symbol in (letters, letters[:1]):
        if symbol in ELEMENTS:
            return ELEMENTS[symbol]
    raise FileFormatError(f"{where}: '{label}' names no chemical element")


def grid_of(cell: NDArray[np.float64], shape: tuple[int, int, int], where: str) -> PeriodicGrid:
    """The grid, once cell and sizes have been found possible.

    Raises
    ------
    FileFormatError
        If a size is not positive or absurd, or the cell is not finite, right-handed and of positive volume.
    """
    if min(shape) < 1 or shape[0] * shape[1] * shape[2] > _MAX_POINTS:
        raise FileFormatError(f"{where}: a grid of {' x '.join(map(str, shape))} points is not possible")
    if not np.isfinite(cell).all() or not np.linalg.det(cell) > 0:
        raise FileFormatError(
            f"{where}: the cell {np.round(cell, 4).tolist()} (angstrom) is not right-handed with a positive "
            "volume. If it is left-handed, exchange two lattice vectors in the calculation."
        )
    return PeriodicGrid(cell, shape)


def same_file(path: str, known: tuple[int, int, int]) -> None:
    """Raise FileFormatError if the path holds another file than when it was opened."""
    if identity(path) != known:
        raise FileFormatError(f"{path} was replaced since it was opened: open it again")


def checked(
    path: str, name: str, values: NDArray[np.float64], grid: PeriodicGrid, n_electrons: float | None = None
) -> NDArray[np.float32]:
    """A field of a frame as float32, once it has been found possible.

    Parameters
    ----------
    path
        For messages.
    name
        "density" or "magnetization".
    values
        (na, nb, nc) or (component, na, nb, nc) e/angstrom^3.
    grid
        Of the frame.
    n_electrons
        What the file says that the density integrates to.

    Raises
    ------
    NonFiniteError
        At a NaN or an infinity.
    UnitsError
        If the integral of the density is off `n_electrons` by more than 1 %.
    """
    with np.errstate(over="ignore"):
        field = np.ascontiguousarray(values, dtype=np.float32)
    schema.check_finite(field[None], name, path)
    if name == "density" and n_electrons is not None:
        schema.check_electrons(float(values.mean() * grid.volume), n_electrons, grid.volume, path)
    return field
