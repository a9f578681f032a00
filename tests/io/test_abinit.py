import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from mutations import BINARY, check_reader
from oracles import BOHR, FIXTURES, packed_cube, unpacked
from scipy.io import netcdf_file

import edviz
from edviz.errors import FileFormatError, TruncatedFileError, UnitsError

ABINIT = FIXTURES / "abinit"
#: cut3d, ABINIT's own reader, prints values (e/bohr^3) and voxel vectors (bohr) with six decimals.
DECIMALS = 0.51e-6


def test_density_is_the_one_of_cut3d() -> None:
    traj = edviz.open(ABINIT / "liho_DEN")
    printed, atoms = packed_cube("abinit/lih.cube.gz")
    assert traj.density.shape == (1, 10, 12, 15)
    np.testing.assert_allclose(traj.frame(0) * BOHR**3, printed, atol=DECIMALS)
    np.testing.assert_allclose(traj.ds["cell"], atoms.cell.array, atol=15 * DECIMALS)
    np.testing.assert_allclose(traj.ds["positions"][0], atoms.positions, atol=1e-8)
    assert traj.ds["numbers"].values.tolist() == atoms.numbers.tolist() == [3, 1]
    assert traj.density_kind == "valence"
    assert traj.n_electrons == 2  # nelect in the output of the run
    assert traj.grid.voxel_volume * traj.frame(0).sum(dtype=np.float64) == pytest.approx(2, abs=1e-6)
    assert traj.ds.attrs["source"] == "ABINIT 9.6.2"
    assert traj.ds["energy"].dims == ("time",)


def test_collinear_spin() -> None:
    traj = edviz.open(ABINIT / "lih-spino_DEN")
    magnetization = traj.ds["magnetization"].values
    np.testing.assert_allclose(
        magnetization[0, 0] * BOHR**3, packed_cube("abinit/lih-spin-m.cube.gz")[0], atol=DECIMALS
    )
    total = magnetization.sum(dtype=np.float64) * traj.grid.voxel_volume
    assert total == pytest.approx(1, abs=1e-6)  # "Magnetization (Bohr magneton)" of the run with 2 electrons
    assert traj.n_electrons == 2


def test_non_collinear_spin() -> None:
    traj = edviz.open(ABINIT / "lih-noncollinearo_DEN")
    magnetization = traj.ds["magnetization"].values
    printed = packed_cube("abinit/lih-noncollinear-my.cube.gz")[0]
    np.testing.assert_allclose(magnetization[1, 0] * BOHR**3, printed, atol=DECIMALS)
    moment = magnetization.sum(axis=(1, 2, 3, 4), dtype=np.float64) * traj.grid.voxel_volume
    np.testing.assert_allclose(moment, [0.666465, 0.333450, 0.666811], atol=2e-6)  # "Total magnetization (exact)"


@pytest.mark.parametrize("name", ["lih", "lih-spin"])
def test_netcdf_is_the_same_density(name: str, tmp_path: Path) -> None:
    # The same input, run again with iomode 3.
    binary, netcdf = edviz.open(ABINIT / f"{name}o_DEN"), edviz.open(unpacked(f"abinit/{name}-nco_DEN.nc.gz", tmp_path))
    for variable in binary.ds.variables:
        np.testing.assert_allclose(netcdf.ds[variable], binary.ds[variable], rtol=1e-5, atol=1e-7)
    assert netcdf.ds.attrs["source"] == "ABINIT 9.6.2"
    assert netcdf.n_electrons == binary.n_electrons


def classic_copy(path: Path, target: Path) -> Path:
    """The variables edviz needs, in classic netCDF, as ABINIT builds without netCDF-4 write them."""
    with h5py.File(path) as source, netcdf_file(target, "w") as file:
        file.abinit_version = "9.6.2"
        needed = "density primitive_vectors reduced_atom_positions atom_species atomic_numbers nelect etot usepaw"
        for name in needed.split():
            values = source[name][()]
            dims = [f"{name}_{i}" for i in range(np.ndim(values))]
            for dim, n in zip(dims, np.shape(values), strict=True):
                file.createDimension(dim, n)
            variable = file.createVariable(name, values.dtype, dims)
            variable[...] = values
    return target


def test_classic_netcdf(tmp_path: Path) -> None:
    netcdf4 = unpacked("abinit/lih-spin-nco_DEN.nc.gz", tmp_path)
    expected = edviz.open(netcdf4).ds
    found = edviz.open(classic_copy(netcdf4, tmp_path / "classic_DEN.nc")).ds
    for variable in expected.variables:
        np.testing.assert_array_equal(found[variable], expected[variable])


# What must not be read ------------------------------------------------------------------------------------------


def changed(name: str, offset: int, replacement: bytes, folder: Path) -> Path:
    data = bytearray((ABINIT / name).read_bytes())
    data[offset : offset + len(replacement)] = replacement
    path = folder / name
    path.write_bytes(data)
    return path


def test_other_headers_and_other_fields_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"header of version 57 .*reads version 80"):
        edviz.open(changed("liho_DEN", 12, np.array(57, "<i4").tobytes(), tmp_path))
    with pytest.raises(FileFormatError, match=r"holds no density \(its fform is 102"):
        edviz.open(changed("liho_DEN", 16, np.array(102, "<i4").tobytes(), tmp_path))


def test_absurd_counts(tmp_path: Path) -> None:
    sizes = 24 + 4  # the second record: bantot, date, intxc, ixc, natom, ngfft(3), nkpt, ...
    for place, value in ((4, 2_000_000_000), (5, 1_000_000), (5, 11), (7, -3), (8, 1 << 30), (9, 3), (12, 1 << 30)):
        path = changed("liho_DEN", sizes + 4 * place, np.array(value, "<i4").tobytes(), tmp_path)
        with pytest.raises(FileFormatError, match="liho_DEN"):
            edviz.open(path)


def test_cut_off(tmp_path: Path) -> None:
    data = (ABINIT / "liho_DEN").read_bytes()
    path = tmp_path / "o_DEN"
    for length in (40, 200, 700, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(TruncatedFileError, match=r"o_DEN, record \d"):
            edviz.open(path)
    packed = unpacked("abinit/lih-nco_DEN.nc.gz", tmp_path)
    packed.write_bytes(packed.read_bytes()[:50_000])
    with pytest.raises(TruncatedFileError, match=r"lih-nco_DEN\.nc cannot be read"):
        edviz.open(packed)


def test_wrong_number_of_electrons(tmp_path: Path) -> None:
    path = unpacked("abinit/lih-nco_DEN.nc.gz", tmp_path)
    with h5py.File(path, "r+") as file:
        file["nelect"][...] = 4.0
    with pytest.raises(UnitsError, match=r"lih-nco_DEN\.nc.*integrates to 2 electrons, n_electrons says 4"):
        edviz.open(path).frame(0)


def test_netcdf_of_abinit_without_density(tmp_path: Path) -> None:
    path = unpacked("abinit/lih-nco_DEN.nc.gz", tmp_path)
    with h5py.File(path, "r+") as file:
        del file["density"]
    with pytest.raises(FileFormatError, match=r"holds no density: open the file that ends in _DEN\.nc"):
        edviz.open(path)


def test_paw_densities_are_called_pseudo(tmp_path: Path) -> None:
    path = unpacked("abinit/lih-nco_DEN.nc.gz", tmp_path)
    with h5py.File(path, "r+") as file:
        file["usepaw"][...] = 1
    assert edviz.open(path).density_kind == "pseudo"


def test_series(tmp_path: Path) -> None:
    for i in (9, 10):
        shutil.copy(ABINIT / "liho_DEN", tmp_path / f"run_TIM{i}_DEN")
    traj = edviz.open(tmp_path / "run_TIM*_DEN", timestep=0.5)
    assert traj.time.tolist() == [0, 0.5]


# Damaged files --------------------------------------------------------------------------------------------------


def everything(traj: edviz.DensityTrajectory) -> dict[str, np.ndarray]:
    return {str(name): variable.values for name, variable in traj.ds.variables.items()}


@pytest.mark.parametrize(("name", "n_spin"), [("lih", 1), ("lih-spin", 2)])
def test_mutated_binary(name: str, n_spin: int, tmp_path: Path) -> None:
    """The oracle takes the numbers from where they lie in the undamaged file."""
    path = tmp_path / f"{name}o_DEN"
    good = (ABINIT / path.name).read_bytes()
    n_points = 10 * 12 * 15
    fields = len(good) - n_spin * (8 * n_points + 8)  # where the first component starts
    cell_at = 24 + 4 + 4 * 18 + 8 * 7
    third = 24 + 240 + 8
    fourth = third + int(np.frombuffer(good, "<i4", 1, third)[0]) + 8

    def agrees(found: dict[str, np.ndarray], content: bytes) -> bool:
        components = [
            np.frombuffer(content, "<f8", n_points, fields + 4 + i * (8 * n_points + 8)).reshape(15, 12, 10).T
            for i in range(n_spin)
        ]
        cell = np.frombuffer(content, "<f8", 9, cell_at).reshape(3, 3) * BOHR
        fractional = np.frombuffer(content, "<f8", 6, fourth + 4 + 8).reshape(2, 3)
        same = (
            np.allclose(found["density"][0], components[0] / BOHR**3, rtol=1e-6)
            and np.allclose(found["cell"], cell, rtol=1e-12)
            and np.allclose(found["positions"][0], fractional @ cell, rtol=1e-12)
        )
        if n_spin == 2:
            magnetization = (2 * components[1] - components[0]) / BOHR**3
            same = same and np.allclose(found["magnetization"][0, 0], magnetization, rtol=1e-4, atol=1e-6)
        return bool(same)

    counts = check_reader(good, lambda p: everything(edviz.open(p)), agrees, path, mutations=BINARY, seed=3)
    assert min(counts.values()) > 0


def test_mutated_classic_netcdf(tmp_path: Path) -> None:
    good = classic_copy(unpacked("abinit/lih-spin-nco_DEN.nc.gz", tmp_path), tmp_path / "good.nc").read_bytes()
    path = tmp_path / "classic_DEN.nc"

    def agrees(found: dict[str, np.ndarray], content: bytes) -> bool:
        """By xarray's own reader."""
        path.write_bytes(content)
        with xr.open_dataset(path, engine="scipy", mask_and_scale=False) as ds:
            total, up = ds["density"].values[..., 0].transpose(0, 3, 2, 1) / BOHR**3
            cell = ds["primitive_vectors"].values * BOHR
            return bool(
                np.allclose(found["density"][0], total, rtol=1e-6)
                and np.allclose(found["magnetization"][0, 0], 2 * up - total, rtol=1e-4, atol=1e-6)
                and np.allclose(found["cell"], cell, rtol=1e-12)
                and np.allclose(found["positions"][0], ds["reduced_atom_positions"].values @ cell, rtol=1e-12)
            )

    counts = check_reader(good, lambda p: everything(edviz.open(p)), agrees, path, mutations=BINARY, seed=4)
    assert min(counts.values()) > 0
