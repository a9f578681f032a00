"""Damaged HDF5 files of other codes: ABINIT's netCDF-4, Quantum ESPRESSO's charge-density.hdf5, VASP's vaspwave.h5.

The oracle is h5py itself, reading the named data sets without edviz's checks: it tells what the damaged file says.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
from isolated import check_in_child, same_arrays
from mutations import BINARY
from oracles import BOHR, FIXTURES, unpacked
from test_vaspout import vaspwave

import edviz


def everything(path: Path) -> dict[str, np.ndarray]:
    return {str(name): variable.values for name, variable in edviz.open(path).ds.variables.items()}


def test_mutated_abinit_netcdf4(tmp_path: Path) -> None:
    # Without the 2 MB of input text that hide the rest from the mutations.
    full = unpacked("abinit/lih-spin-nco_DEN.nc.gz", tmp_path)
    good = tmp_path / "good.nc"
    with h5py.File(full) as source, h5py.File(good, "w") as target:
        target.attrs["abinit_version"] = source.attrs["abinit_version"]
        for name in source:
            if name != "input_string" and not name.startswith(("number_of", "input_len")):
                target[name] = source[name][()]
    path = tmp_path / "o_DEN.nc"

    def agrees(found: dict[str, np.ndarray], content: bytes) -> bool:
        path.write_bytes(content)
        with h5py.File(path) as file:
            total, up = file["density"][..., 0].transpose(0, 3, 2, 1) / BOHR**3
            cell = file["primitive_vectors"][()] * BOHR
            positions = file["reduced_atom_positions"][()] @ cell
        expected = {"density": total[None], "magnetization": (2 * up - total)[None, None], "cell": cell}
        return same_arrays(found, expected | {"positions": positions[None]})

    counts = check_in_child(good.read_bytes(), everything, agrees, path, mutations=BINARY, seed=6)
    assert min(counts.values()) > 0


def test_mutated_qe_hdf5(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURES / "qe" / "lih-gamma-hdf5.save", tmp_path / "lih.save"))
    path = folder / "charge-density.hdf5"

    def agrees(found: dict[str, np.ndarray], content: bytes) -> bool:
        path.write_bytes(content)
        with h5py.File(path) as file:
            miller = file["MillerIndices"][()]
            rho = file["rhotot_g"][()].view(np.complex128)
        waves = [np.exp(2j * np.pi * np.outer(np.arange(n) / n, h)) for n, h in zip((9, 12, 15), miller.T, strict=True)]
        half = np.einsum("xg,yg,zg,g->xyz", *waves, rho, optimize=True)
        density = (2 * half.real - rho[(miller == 0).all(axis=1)].real.sum()) / BOHR**3
        return same_arrays(found, {"density": density[None]})

    counts = check_in_child(path.read_bytes(), everything, agrees, path, mutations=BINARY, seed=7)
    assert min(counts.values()) > 0


def test_mutated_vaspwave(tmp_path: Path) -> None:
    good = vaspwave(tmp_path / "good.h5", 2).read_bytes()
    path = tmp_path / "vaspwave.h5"

    def agrees(found: dict[str, np.ndarray], content: bytes) -> bool:
        path.write_bytes(content)
        with h5py.File(path) as file:
            group = file["structure/positions"]
            scale = group["scale"][()]
            cell = group["lattice_vectors"][()]
            cell = cell * (scale if scale > 0 else (-scale / abs(np.linalg.det(cell))) ** (1 / 3))
            positions = group["position_ions"][()]
            if group["direct_coordinates"][()] == 1:
                positions = positions @ cell
            density, magnetization = file["charge/charge"][()].transpose(0, 3, 2, 1) / np.linalg.det(cell)
        expected = {"density": density[None], "magnetization": magnetization[None, None], "cell": cell}
        return same_arrays(found, expected | {"positions": positions[None]})

    counts = check_in_child(good, everything, agrees, path, mutations=BINARY, seed=8)
    assert min(counts.values()) > 0
