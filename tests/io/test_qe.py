import re
import shutil
from pathlib import Path
from xml.dom import minidom

import ase.data
import numpy as np
import pytest
from mutations import BINARY, TEXT, check_reader
from oracles import BOHR, FIXTURES, assert_same_digits, packed_cube, packed_xsf

import edviz
from edviz.errors import FileFormatError, MissingDataError, NonFiniteError, TruncatedFileError, UnitsError
from edviz.io import qe

QE = FIXTURES / "qe"
# ASE's bohr and Quantum ESPRESSO's differ in the ninth digit; the files print six decimals of bohr.
DECIMALS = 2e-6


def copy_of(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(QE / name, folder / name))


def test_density_is_the_one_of_pp_x_in_a_cube() -> None:
    traj = edviz.open(QE / "lih.save")
    printed, atoms = packed_cube("qe/lih-rho.cube.gz")
    assert traj.density.shape == (1, 9, 12, 15)
    assert_same_digits(traj.frame(0) * BOHR**3, printed, 5)
    np.testing.assert_allclose(traj.ds["cell"], atoms.cell.array, atol=20 * DECIMALS)
    np.testing.assert_allclose(traj.ds["positions"][0], atoms.positions, atol=DECIMALS)
    assert traj.ds["numbers"].values.tolist() == atoms.numbers.tolist() == [3, 1]
    assert traj.density_kind == "valence"
    assert traj.n_electrons == 2
    assert traj.grid.voxel_volume * traj.frame(0).sum(dtype=np.float64) == pytest.approx(2, abs=1e-6)
    assert traj.ds.attrs["source"].startswith("Quantum ESPRESSO 6.7")


def test_half_sphere_of_a_gamma_only_run_is_completed() -> None:
    traj = edviz.open(QE / "lih-gamma.save")
    printed, atoms = packed_xsf("qe/lih-gamma-rho.xsf.gz")
    assert_same_digits(traj.frame(0) * BOHR**3, printed, 6)
    np.testing.assert_allclose(traj.ds["cell"], atoms.cell.array, atol=1e-8)
    np.testing.assert_allclose(traj.ds["positions"][0], atoms.positions, atol=1e-8)


def test_collinear_spin_is_sum_and_difference() -> None:
    traj = edviz.open(QE / "lih-spin.save")
    assert_same_digits(traj.frame(0) * BOHR**3, packed_cube("qe/lih-spin-rho.cube.gz")[0], 5)
    magnetization = traj.ds["magnetization"]
    assert magnetization.dims == ("component", "time", "a", "b", "c")
    assert_same_digits(magnetization.values[0, 0] * BOHR**3, packed_cube("qe/lih-spin-m.cube.gz")[0], 5)
    total = float(magnetization.values.sum(dtype=np.float64)) * traj.grid.voxel_volume
    assert total == pytest.approx(1, abs=1e-6)  # tot_magnetization of the input; the run has 2 electrons
    assert traj.n_electrons == 2


def test_non_collinear_spin_has_three_components() -> None:
    traj = edviz.open(QE / "lih-noncollinear.save")
    magnetization = traj.ds["magnetization"].values
    assert magnetization.shape == (3, 1, 9, 12, 15)
    assert_same_digits(magnetization[1, 0] * BOHR**3, packed_cube("qe/lih-noncollinear-my.cube.gz")[0], 5)
    moment = magnetization.sum(axis=(1, 2, 3, 4), dtype=np.float64) * traj.grid.voxel_volume
    np.testing.assert_allclose(moment, [0.71, 0.50, 0.50], atol=0.006)  # printed by pw.x


@pytest.mark.parametrize("name", ["lih-gamma", "lih-spin", "lih-noncollinear"])
def test_hdf5_of_another_build_is_the_same_density(name: str) -> None:
    # pw.x with HDF5 ran the same input again; both runs stop within the convergence threshold of each other.
    binary, hdf5 = edviz.open(QE / f"{name}.save"), edviz.open(QE / f"{name}-hdf5.save")
    tolerance = 2e-3 if name == "lih-noncollinear" else 2e-5
    np.testing.assert_allclose(hdf5.frame(0), binary.frame(0), atol=tolerance * binary.frame(0).max())
    np.testing.assert_allclose(hdf5.ds["cell"], binary.ds["cell"], rtol=1e-12)
    if "magnetization" in binary.ds:
        difference = hdf5.ds["magnetization"].values - binary.ds["magnetization"].values
        assert np.abs(difference).max() < tolerance * binary.frame(0).max()


def test_energy_and_forces_come_along() -> None:
    ds = edviz.open(QE / "lih.save").ds
    assert ds["energy"].dims == ("time",)
    assert ds["forces"].shape == (1, 2, 3)
    text = (QE / "lih.save" / "data-file-schema.xml").read_text()
    printed = float(text.split("<etot>")[-1].split("</etot>")[0])
    assert float(ds["energy"][0]) == pytest.approx(printed * 27.211386245981, rel=1e-12)
    np.testing.assert_allclose(ds["forces"].values.sum(axis=1), 0, atol=5e-3)


def test_density_file_may_be_named_itself() -> None:
    by_folder = edviz.open(QE / "lih.save").frame(0)
    np.testing.assert_array_equal(edviz.open(QE / "lih.save" / "charge-density.dat").frame(0), by_folder)
    hdf5 = edviz.open(QE / "lih-spin-hdf5.save" / "charge-density.hdf5")
    np.testing.assert_array_equal(hdf5.frame(0), edviz.open(QE / "lih-spin-hdf5.save").frame(0))


def test_big_endian_file(tmp_path: Path) -> None:
    folder = copy_of("lih-spin.save", tmp_path)
    data = (folder / "charge-density.dat").read_bytes()
    ngm = int(np.frombuffer(data[8:12], "<i4")[0])
    kinds = [("i4", 3), ("f8", 9), ("i4", 3 * ngm), ("f8", 2 * ngm), ("f8", 2 * ngm)]
    swapped, position = b"", 0
    for kind, count in kinds:
        size = count * int(kind[1])
        marker = np.array([size], ">i4").tobytes()
        body = np.frombuffer(data[position + 4 : position + 4 + size], "<" + kind).astype(">" + kind).tobytes()
        swapped += marker + body + marker
        position += size + 8
    assert position == len(data)
    (folder / "charge-density.dat").write_bytes(swapped)
    expected = edviz.open(QE / "lih-spin.save").ds
    xr_equal = edviz.open(folder).ds
    np.testing.assert_array_equal(xr_equal["density"], expected["density"])
    np.testing.assert_array_equal(xr_equal["magnetization"], expected["magnetization"])


def test_series_of_save_folders(tmp_path: Path) -> None:
    for name in ("step2.save", "step10.save"):
        shutil.copytree(QE / "lih.save", tmp_path / name)
    traj = edviz.open(tmp_path / "step*.save", timestep=2.0)
    assert traj.time.tolist() == [0, 2]
    assert traj.ds["energy"].shape == (2,)
    np.testing.assert_array_equal(traj.frame(1), edviz.open(QE / "lih.save").frame(0))


# What must not be read ------------------------------------------------------------------------------------------


def test_folder_without_density_or_xml(tmp_path: Path) -> None:
    folder = copy_of("lih.save", tmp_path)
    (folder / "charge-density.dat").rename(tmp_path / "elsewhere.dat")
    with pytest.raises(MissingDataError, match=r"lih\.save holds no charge-density\.dat"):
        edviz.open(folder)
    (tmp_path / "elsewhere.dat").rename(folder / "charge-density.dat")
    (folder / "data-file-schema.xml").unlink()
    with pytest.raises(MissingDataError, match=r"no data-file-schema\.xml"):
        edviz.open(folder)
    (folder / "data-file.xml").write_text("<Root/>")
    with pytest.raises(FileFormatError, match=r"6\.1 or older"):
        edviz.open(folder)


def test_two_densities_in_one_folder_are_ambiguous(tmp_path: Path) -> None:
    folder = copy_of("lih-gamma.save", tmp_path)
    shutil.copy(QE / "lih-gamma-hdf5.save" / "charge-density.hdf5", folder)
    with pytest.raises(FileFormatError, match=r"charge-density\.dat and charge-density\.hdf5"):
        edviz.open(folder)


def test_density_of_another_calculation(tmp_path: Path) -> None:
    folder = copy_of("lih.save", tmp_path)
    shutil.copy(QE / "lih-gamma.save" / "charge-density.dat", folder)
    with pytest.raises(FileFormatError, match="different calculations"):
        edviz.open(folder)


def test_cell_of_another_calculation(tmp_path: Path) -> None:
    folder = copy_of("lih.save", tmp_path)
    xml = folder / "data-file-schema.xml"
    text = xml.read_text()
    cell = text.split("<a1>")[-1].split("</a1>")[0]
    xml.write_text(text.replace(cell, cell.replace("5.48", "5.58")))
    with pytest.raises(FileFormatError, match=r"charge-density\.dat: its reciprocal lattice"):
        edviz.open(folder)


def test_wrong_number_of_electrons(tmp_path: Path) -> None:
    folder = copy_of("lih.save", tmp_path)
    xml = folder / "data-file-schema.xml"
    xml.write_text(xml.read_text().replace("<nelec>2.0", "<nelec>3.0"))
    with pytest.raises(UnitsError, match=r"lih\.save.*integrates to 2 electrons, n_electrons says 3"):
        edviz.open(folder).frame(0)


def damaged_density(folder: Path, offset: int, replacement: bytes) -> Path:
    path = copy_of("lih.save", folder) / "charge-density.dat"
    data = bytearray(path.read_bytes())
    data[offset : offset + len(replacement)] = replacement
    path.write_bytes(data)
    return path


# Records: 4 + 12 + 4 bytes, 4 + 72 + 4 bytes, then the Miller indices from byte 104 on.
MILLER = 104


@pytest.mark.parametrize(
    ("index", "message"), [((0, 0, 1), "listed twice"), ((4, 5, 6), "beyond the cut-off"), ((5, 0, 0), "FFT grid")]
)
def test_a_changed_miller_index_is_noticed(tmp_path: Path, index: tuple[int, int, int], message: str) -> None:
    path = damaged_density(tmp_path, MILLER + 12 * 10, np.array(index, "<i4").tobytes())
    with pytest.raises(FileFormatError, match=message) as error:
        edviz.open(path).frame(0)
    assert "charge-density.dat" in str(error.value)


def test_coefficients_of_no_real_density(tmp_path: Path) -> None:
    n = 621
    path = damaged_density(tmp_path, MILLER + 12 * n + 8 + 16 * 10, np.array([0.1, 0.1]).tobytes())
    with pytest.raises(FileFormatError, match="not real"):
        edviz.open(path).frame(0)


def test_nan_is_named(tmp_path: Path) -> None:
    path = damaged_density(tmp_path, MILLER + 12 * 621 + 8 + 16 * 10, np.array([np.nan]).tobytes())
    with pytest.raises((NonFiniteError, FileFormatError), match=r"charge-density\.dat"):
        edviz.open(path).frame(0)


def test_cut_off_files(tmp_path: Path) -> None:
    folder = copy_of("lih.save", tmp_path)
    data = (folder / "charge-density.dat").read_bytes()
    for length in (30, 110, 5000, len(data) - 2):
        (folder / "charge-density.dat").write_bytes(data[:length])
        with pytest.raises(TruncatedFileError, match=r"charge-density\.dat, record"):
            edviz.open(folder)
    (folder / "charge-density.dat").write_bytes(data)
    xml = (folder / "data-file-schema.xml").read_bytes()
    (folder / "data-file-schema.xml").write_bytes(xml[:-2000])
    with pytest.raises(TruncatedFileError, match=r"data-file-schema\.xml"):
        edviz.open(folder)


def test_entities_are_refused(tmp_path: Path) -> None:
    folder = copy_of("lih.save", tmp_path)
    xml = folder / "data-file-schema.xml"
    xml.write_text(xml.read_text().replace("?>\n", '?>\n<!DOCTYPE x [<!ENTITY a "b">]>\n', 1))
    with pytest.raises(FileFormatError, match="document type"):
        edviz.open(folder)


def test_a_file_that_was_replaced_is_not_mixed_in(tmp_path: Path) -> None:
    folder = copy_of("lih.save", tmp_path)
    (header,) = qe.headers(folder)
    (folder / "charge-density.dat").write_bytes((QE / "lih-gamma.save" / "charge-density.dat").read_bytes())
    with pytest.raises(FileFormatError, match="replaced since it was opened"):
        header.values("density")


# Damaged files --------------------------------------------------------------------------------------------------


def summed_up(data: bytes, cell: np.ndarray) -> np.ndarray:
    """The density of a Gamma-only charge-density.dat on 9 x 12 x 15 points by direct summation, e/angstrom^3."""
    ngm = int(np.frombuffer(data[8:12], "<i4")[0])
    miller = np.frombuffer(data, "<i4", 3 * ngm, MILLER).reshape(ngm, 3)
    rho = np.frombuffer(data, "<c16", ngm, MILLER + 12 * ngm + 8)
    waves = [np.exp(2j * np.pi * np.outer(np.arange(n) / n, h)) for n, h in zip((9, 12, 15), miller.T, strict=True)]
    half = np.einsum("xg,yg,zg,g->xyz", *waves, rho, optimize=True)
    return (2 * half.real - rho[(miller == 0).all(axis=1)].real.sum()) / BOHR**3


def everything(traj: edviz.DensityTrajectory) -> dict[str, np.ndarray]:
    return {str(name): variable.values for name, variable in traj.ds.variables.items()}


def test_mutated_charge_density(tmp_path: Path) -> None:
    path = copy_of("lih-gamma.save", tmp_path) / "charge-density.dat"
    cell = edviz.open(QE / "lih-gamma.save").grid.cell

    def agrees(found: dict[str, np.ndarray], content: bytes) -> bool:
        expected = summed_up(content, cell)
        return bool(np.allclose(found["density"][0], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()))

    counts = check_reader(
        path.read_bytes(), lambda p: everything(edviz.open(p)), agrees, path, mutations=BINARY, seed=1
    )
    assert min(counts.values()) > 0


def by_minidom(content: bytes) -> dict[str, np.ndarray]:
    """Cell, atoms, energy and forces of a data-file-schema.xml."""
    root = minidom.parseString(content).documentElement

    def child(node, *tags):
        for tag in tags:
            node = next(one for one in node.childNodes if one.nodeName == tag)
        return node

    def numbers(node) -> list[float]:
        text = "".join(one.data for one in node.childNodes if one.nodeType in (one.TEXT_NODE, one.CDATA_SECTION_NODE))
        return [float(word) for word in text.split()]

    output = child(root, "output")
    atoms = [one for one in child(output, "atomic_structure", "atomic_positions").childNodes if one.nodeName == "atom"]
    return {
        "cell": np.array([numbers(child(output, "atomic_structure", "cell", f"a{i}")) for i in (1, 2, 3)]) * BOHR,
        "positions": np.array([[numbers(atom) for atom in atoms]]) * BOHR,
        "symbols": np.array([re.match("[A-Za-z]+", atom.getAttribute("name").strip())[0] for atom in atoms]),
    }


def test_mutated_xml(tmp_path: Path) -> None:
    path = copy_of("lih.save", tmp_path) / "data-file-schema.xml"
    expected = edviz.open(QE / "lih.save").frame(0)

    def agrees(found: dict[str, np.ndarray], content: bytes) -> bool:
        said = by_minidom(content)
        return (
            np.allclose(found["density"][0], expected, rtol=1e-3)
            and all(np.allclose(found[name], said[name]) for name in ("cell", "positions"))
            and [ase.data.chemical_symbols[n] for n in found["numbers"]]
            == [s[:2].capitalize() for s in said["symbols"]]
        )

    counts = check_reader(
        path.read_bytes(), lambda p: everything(edviz.open(p.parent)), agrees, path, mutations=TEXT, seed=2
    )
    assert min(counts.values()) > 0
