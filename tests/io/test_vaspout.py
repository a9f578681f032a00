from pathlib import Path

import h5py
import numpy as np
import pytest

import edviz
from edviz.errors import FileFormatError, GridMismatchError, MissingDataError, TruncatedFileError
from edviz.io.vaspout import ionic_steps

CELL = np.array([[2.9, 0.2, 0.1], [0.45, 3.5, 0.25], [0.3, 0.55, 4.7]])
FRACTIONAL = np.array([[0.1, 0.12, 0.13], [0.45, 0.4, 0.2], [0.8, 0.7, 0.6]])
SHAPE = (4, 5, 6)


def components(n: int) -> np.ndarray:
    """rho * V with different values everywhere, as VASP stores it: (component, nz, ny, nx)."""
    rng = np.random.default_rng(7)
    fields = rng.uniform(1, 3, (n, *SHAPE[::-1]))
    fields[0] *= 10 / fields[0].mean()
    return fields


def vaspwave(path: Path, n: int = 1, group: str = "structure/positions") -> Path:
    """A file with the names and shapes of VASP 6.5 (py4vasp/_raw/definition.py, pymatgen's Vaspwave)."""
    with h5py.File(path, "w") as file:
        for part, number in zip(("major", "minor", "patch"), (6, 5, 1), strict=True):
            file[f"version/{part}"] = number
        file[f"{group}/ion_types"] = np.array([b"Li", b"H"])
        file[f"{group}/number_ion_types"] = [1, 2]
        file[f"{group}/scale"] = 1.0
        file[f"{group}/lattice_vectors"] = CELL
        file[f"{group}/position_ions"] = FRACTIONAL
        file[f"{group}/direct_coordinates"] = 1
        file["charge/grid"] = SHAPE
        file["charge/charge"] = components(n)
    return path


def add_steps(path: Path, n_energies: int = 3, n_positions: int = 3, n_forces: int = 3) -> Path:
    with h5py.File(path, "a") as file:
        steps = file.require_group("intermediate/ion_dynamics")
        steps["energies"] = np.arange(2.0 * n_energies).reshape(-1, 2) - 10
        steps["energies_tags"] = np.array([b"free energy    TOTEN ", b"energy(sigma->0)     "])
        steps["position_ions"] = np.stack([FRACTIONAL + 0.01 * i for i in range(n_positions)])
        steps["lattice_vectors"] = np.stack([CELL] * n_positions)
        steps["forces"] = np.arange(9.0 * n_forces).reshape(-1, 3, 3)
    return path


def test_density_and_structure(tmp_path: Path) -> None:
    traj = edviz.open(vaspwave(tmp_path / "vaspwave.h5"))
    expected = components(1)[0].T / np.linalg.det(CELL)
    np.testing.assert_allclose(traj.frame(0), expected, rtol=1e-6)
    assert traj.density.shape == (1, *SHAPE)
    assert traj.n_electrons == 10
    np.testing.assert_array_equal(traj.ds["cell"], CELL)
    np.testing.assert_allclose(traj.ds["positions"][0], FRACTIONAL @ CELL)
    assert traj.ds["numbers"].values.tolist() == [3, 1, 1]
    assert traj.ds.attrs["source"] == "VASP 6.5.1"
    assert "magnetization" not in traj.ds


@pytest.mark.parametrize("n", [2, 4])
def test_spin(tmp_path: Path, n: int) -> None:
    traj = edviz.open(vaspwave(tmp_path / "vaspwave.h5", n))
    expected = components(n)[1:].transpose(0, 3, 2, 1) / np.linalg.det(CELL)
    np.testing.assert_allclose(traj.ds["magnetization"][:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_same_as_pymatgen(tmp_path: Path, n: int) -> None:
    outputs = pytest.importorskip("pymatgen.io.vasp.outputs")
    if not hasattr(outputs, "Vaspwave"):
        pytest.skip("this pymatgen reads no vaspwave.h5")
    path = vaspwave(tmp_path / "vaspwave.h5", n)
    chgcar = outputs.Vaspwave(path).get_chgcar()
    traj = edviz.open(path)
    volume = chgcar.structure.volume
    np.testing.assert_allclose(traj.frame(0), chgcar.data["total"] / volume, rtol=1e-6)
    np.testing.assert_allclose(traj.ds["positions"][0], chgcar.structure.cart_coords, atol=1e-12)
    names = {1: (), 2: ("diff",), 4: ("diff_x", "diff_y", "diff_z")}[n]
    for i, name in enumerate(names):
        np.testing.assert_allclose(traj.ds["magnetization"][i, 0], chgcar.data[name] / volume, rtol=1e-6)


def test_scale_and_cartesian_positions(tmp_path: Path) -> None:
    path = vaspwave(tmp_path / "vaspwave.h5")
    with h5py.File(path, "a") as file:
        group = file["structure/positions"]
        group["scale"][...] = -np.linalg.det(CELL)  # a negative scale is the volume
        group["lattice_vectors"][...] = CELL / 3
        group["direct_coordinates"][...] = 0
        group["position_ions"][...] = FRACTIONAL @ CELL
    ds = edviz.open(path).ds
    np.testing.assert_allclose(ds["cell"], CELL, rtol=1e-12)
    np.testing.assert_allclose(ds["positions"][0], FRACTIONAL @ CELL, rtol=1e-12)


def test_recognised_by_content_under_another_name(tmp_path: Path) -> None:
    assert edviz.open(vaspwave(tmp_path / "run7.hdf5", group="results/positions")).ds.attrs["source"] == "VASP 6.5.1"


def test_ionic_steps(tmp_path: Path) -> None:
    frames = ionic_steps(add_steps(vaspwave(tmp_path / "vaspout.h5", group="results/positions")))
    assert len(frames) == 3
    np.testing.assert_allclose(frames[2].positions, (FRACTIONAL + 0.02) @ CELL)
    assert frames[1].get_potential_energy() == -7  # the column of sigma -> 0
    np.testing.assert_array_equal(frames[1].get_forces(), np.arange(9.0, 18).reshape(3, 3))
    assert frames[0].get_chemical_symbols() == ["Li", "H", "H"]


def test_ionic_steps_serve_as_positions_of_a_series(tmp_path: Path) -> None:
    steps = add_steps(vaspwave(tmp_path / "vaspout.h5", group="results/positions"))
    for i in range(3):
        path = vaspwave(tmp_path / f"step{i}.h5")
        with h5py.File(path, "a") as file:
            file["structure/positions/position_ions"][...] = FRACTIONAL + 0.01 * i
    traj = edviz.open(tmp_path / "step*.h5", timestep=2.0, positions=steps)
    np.testing.assert_allclose(traj.ds["positions"][2], (FRACTIONAL + 0.02) @ CELL)
    with pytest.raises(GridMismatchError, match="frame 0: its positions are up to"):
        edviz.open([tmp_path / f"step{i}.h5" for i in (2, 1, 0)], timestep=2.0, positions=steps)


def test_no_density_is_said_clearly(tmp_path: Path) -> None:
    path = add_steps(vaspwave(tmp_path / "vaspout.h5", group="results/positions"))
    with h5py.File(path, "a") as file:
        del file["charge"]
    with pytest.raises(MissingDataError, match=r"vaspout\.h5 holds no charge density.*LCHARGH5"):
        edviz.open(path)
    assert len(ionic_steps(path)) == 3


def test_torn_steps(tmp_path: Path) -> None:
    path = add_steps(vaspwave(tmp_path / "vaspout.h5", group="results/positions"), 5, 4, 3)
    message = r"vaspout\.h5: the ionic steps are not whole \(position_ions 4, lattice_vectors 4, forces 3, energies 5\)"
    with pytest.raises(TruncatedFileError, match=message):
        edviz.open(path)
    with pytest.raises(TruncatedFileError, match=message):
        ionic_steps(path)
    assert len(ionic_steps(path, whole=False)) == 3


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "vaspwave.h5"
    for change, error, message in (
        (lambda f: f["charge/grid"].__setitem__(0, 5), FileFormatError, r"charge/grid says \(5, 5, 6\)"),
        (lambda f: f["structure/positions/number_ion_types"].__setitem__(0, 10**9), FileFormatError, "do not fit"),
        (lambda f: f["structure/positions/ion_types"].__setitem__(0, b"Qq"), FileFormatError, "Qq"),
        (lambda f: f.__delitem__("structure"), FileFormatError, "holds no structure/positions"),
        (lambda f: f["structure/positions/lattice_vectors"].__setitem__(..., -CELL), FileFormatError, "right-handed"),
        (lambda f: f["structure/positions"].__delitem__("ion_types"), TruncatedFileError, "cannot be read"),
    ):
        vaspwave(path)
        with h5py.File(path, "a") as file:
            change(file)
        with pytest.raises(error, match=rf"vaspwave\.h5.*{message}"):
            edviz.open(path)
    with h5py.File(vaspwave(path), "a") as file:
        del file["charge/charge"]
        file.create_dataset("charge/charge", (1, 6, 5_000, 4_000), "f8")
        file["charge/grid"][...] = (4_000, 5_000, 6)
    with pytest.raises(TruncatedFileError, match="0 are stored"):
        edviz.open(path)
