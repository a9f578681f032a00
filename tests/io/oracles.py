"""Independent readers of the files that other codes wrote, for comparison with edviz's own."""

from __future__ import annotations

import gzip
from pathlib import Path

import ase
import numpy as np
from ase.io.cube import read_cube
from ase.io.xsf import read_xsf
from numpy.typing import NDArray

import edviz

FIXTURES = Path(__file__).parent / "fixtures"
BOHR = 0.529177210544


def packed_cube(name: str) -> tuple[NDArray[np.float64], ase.Atoms]:
    """Values as they stand in a cube.gz of the fixtures, and its atoms, by ASE."""
    with gzip.open(FIXTURES / name, "rt") as file:
        found = read_cube(file)
    return found["data"], found["atoms"]


def packed_xsf(name: str) -> tuple[NDArray[np.float64], ase.Atoms]:
    """Values as they stand in an xsf.gz of the fixtures, without the repeated planes, and its atoms, by ASE."""
    with gzip.open(FIXTURES / name, "rt") as file:
        data, _, _, atoms = read_xsf(file, read_data=True)
    return data[:-1, :-1, :-1], atoms


def unpacked(name: str, folder: Path) -> Path:
    """A file of the fixtures that is kept packed, unpacked into a folder."""
    path = folder / Path(name).name.removesuffix(".gz")
    path.write_bytes(gzip.decompress((FIXTURES / name).read_bytes()))
    return path


def assert_same_structure(traj: edviz.DensityTrajectory, atoms: ase.Atoms, atol: float) -> None:
    """Cell, atoms and the positions of the first frame agree to `atol` angstrom."""
    np.testing.assert_allclose(traj.grid.cell, atoms.cell.array, atol=atol)
    np.testing.assert_allclose(traj.ds["positions"].values[0], atoms.positions, atol=atol)
    assert traj.ds["numbers"].values.tolist() == atoms.numbers.tolist()


def assert_same_digits(found: NDArray[np.floating], printed: NDArray[np.float64], digits: int) -> None:
    """Every value agrees with one printed with this many significant digits (and float32 between them)."""
    allowed = np.maximum(0.5 * 10.0 ** (1 - digits), 2e-7) * np.maximum(np.abs(printed), 1e-12)
    worst = np.max(np.abs(found - printed) / allowed)
    assert worst <= 1.01, f"off by {worst:.3g} times the last digit"
