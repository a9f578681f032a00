import numpy as np
import pytest

from edviz.errors import FileFormatError, NonFiniteError, UnitsError
from edviz.io.fields import checked, grid_of, number_of, same_file


def test_labels_of_atoms() -> None:
    found = [number_of(label, "f") for label in ("H", "Fe", "Fe1", "fe_up", "H2", "C", " Cl ", "Hx")]
    assert found == [1, 26, 26, 26, 1, 6, 17, 1]
    with pytest.raises(FileFormatError, match="f: 'Qq' names no chemical element"):
        number_of("Qq", "f")


def test_impossible_grids_and_cells() -> None:
    for shape in ((0, 4, 4), (4, -1, 4), (10**4, 10**4, 10**4)):
        with pytest.raises(FileFormatError, match=r"f: a grid of .* points is not possible"):
            grid_of(np.eye(3), shape, "f")
    for cell in (-np.eye(3), np.zeros((3, 3)), np.full((3, 3), np.nan)):
        with pytest.raises(FileFormatError, match="f: the cell"):
            grid_of(cell, (2, 2, 2), "f")


def test_checked_fields() -> None:
    grid = grid_of(2 * np.eye(3), (2, 3, 4), "f")
    values = np.full((2, 3, 4), 0.5)
    assert checked("f", "density", values, grid, 4.0).dtype == np.float32
    with pytest.raises(UnitsError, match="f: the density integrates to 4"):
        checked("f", "density", values, grid, 4.2)
    for bad in (np.nan, 1e300):
        values[1, 2, 3] = bad
        with pytest.raises(NonFiniteError, match="f: magnetization"):
            checked("f", "magnetization", values[None], grid)


def test_same_file(tmp_path) -> None:
    from edviz.io.lazy import identity

    path = tmp_path / "x"
    path.write_text("one")
    known = identity(path)
    same_file(str(path), known)
    path.write_text("three")
    with pytest.raises(FileFormatError, match="replaced since it was opened"):
        same_file(str(path), known)
