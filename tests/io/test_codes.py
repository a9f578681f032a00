"""Cube and XSF files that real codes wrote, against what the codes say themselves."""

from __future__ import annotations

import gzip

import ase.io
import numpy as np
import pytest
from oracles import BOHR, FIXTURES, assert_same_digits, packed_cube, packed_xsf

import edviz
from edviz.errors import ArgumentError, FileFormatError

CP2K = FIXTURES / "cp2k"


def test_cp2k_density_has_the_electrons_that_cp2k_counts() -> None:
    traj = edviz.open(CP2K / "lih-ELECTRON_DENSITY-1_0.cube.gz")
    electrons = traj.frame(0).sum(dtype=np.float64) * traj.grid.voxel_volume
    # "Electronic density on regular grids: -4.0001469497"; the cube has five digits.
    assert electrons == pytest.approx(4.0001469497, abs=2e-5)
    printed, atoms = packed_cube("cp2k/lih-ELECTRON_DENSITY-1_0.cube.gz")
    assert_same_digits(traj.frame(0) * BOHR**3, printed, 5)
    np.testing.assert_allclose(traj.ds["positions"][0], atoms.positions, atol=2e-6)
    assert traj.ds["numbers"].values.tolist() == [3, 1]


def test_cp2k_spin_density_is_not_taken_for_a_density() -> None:
    # Up minus down of a doublet integrates to 1, like one electron: its title tells.
    path = CP2K / "lih-spin-SPIN_DENSITY-1_0.cube.gz"
    with pytest.raises(ArgumentError, match=r"SPIN_DENSITY.*may be no density"):
        edviz.open(path)
    printed, _ = packed_cube("cp2k/lih-spin-SPIN_DENSITY-1_0.cube.gz")
    traj = edviz.open(path, density_kind="valence")
    assert_same_digits(traj.frame(0) * BOHR**3, printed, 5)
    assert traj.frame(0).sum(dtype=np.float64) * traj.grid.voxel_volume == pytest.approx(1, abs=1e-4)


def test_cp2k_molecular_dynamics_becomes_a_trajectory() -> None:
    traj = edviz.open(CP2K / "md" / "*.cube.gz", timestep=1.0)
    assert traj.time.tolist() == [0, 1, 2, 3]
    frames = ase.io.read(CP2K / "md" / "lih-md-pos-1.xyz", index=":")
    # CP2K's own trajectory is unwrapped; so are ours.
    np.testing.assert_allclose(traj.ds["positions"], [atoms.positions for atoms in frames], atol=2e-6)
    for i in range(4):
        printed, _ = packed_cube(f"cp2k/md/lih-md-ELECTRON_DENSITY-1_{i}.cube.gz")
        assert_same_digits(traj.frame(i) * BOHR**3, printed, 5)


def test_cp2k_appends_the_frames_of_a_run_to_one_file(tmp_path) -> None:
    """With COMMON_ITERATION_LEVELS 2 and APPEND in E_DENSITY_CUBE, CP2K's one file is these files in a row."""
    paths = [CP2K / "md" / f"lih-md-ELECTRON_DENSITY-1_{i}.cube.gz" for i in range(4)]
    appended = tmp_path / "lih-md-ELECTRON_DENSITY.cube"
    appended.write_bytes(b"".join(gzip.decompress(path.read_bytes()) for path in paths))
    traj, apart = edviz.open(appended, timestep=1.0), edviz.open(paths, timestep=1.0)
    np.testing.assert_array_equal(traj.density, apart.density)
    np.testing.assert_array_equal(traj.ds["positions"], apart.ds["positions"])
    np.testing.assert_array_equal(traj.time, apart.time)
    packed = tmp_path / "packed.cube.gz"
    packed.write_bytes(gzip.compress(appended.read_bytes()))
    with pytest.raises(FileFormatError, match=r"packed.cube.gz, line 729: more follows the values.*packed"):
        edviz.open(packed)


def test_pp_x_of_quantum_espresso() -> None:
    by_folder = edviz.open(FIXTURES / "qe" / "lih.save")
    cube = edviz.open(FIXTURES / "qe" / "lih-rho.cube.gz")
    assert_same_digits(by_folder.frame(0), cube.frame(0).astype(np.float64), 5)
    np.testing.assert_allclose(cube.ds["positions"], by_folder.ds["positions"], atol=2e-6)
    xsf = edviz.open(FIXTURES / "qe" / "lih-gamma-rho.xsf.gz")
    printed, atoms = packed_xsf("qe/lih-gamma-rho.xsf.gz")
    np.testing.assert_allclose(xsf.ds["cell"], atoms.cell.array, atol=1e-8)
    assert xsf.density.shape[1:] == printed.shape
