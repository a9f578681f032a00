import json
import os
import shutil
import subprocess
from pathlib import Path

import ase.io.ulm
import numpy as np
import pytest
from mutations import BINARY, check_reader
from oracles import FIXTURES

import edviz
from edviz.errors import ArgumentError, FileFormatError, MissingDataError, MissingDependencyError, TruncatedFileError
from edviz.io import gpaw

GPAW = FIXTURES / "gpaw"
# What `make.py` printed: get_pseudo_density() at [2, 3, 5], its integral and that of all electrons.
PRINTED = {
    "lih-spin": (0.045355178676312335, 1.1530159019570494, 3),
    "h2-slab": (0.07165225750298361, 1.9813279940766, 2),
}


@pytest.mark.parametrize("name", PRINTED)
def test_pseudo_density_is_the_one_that_gpaw_gives(name: str) -> None:
    value, electrons, _ = PRINTED[name]
    traj = edviz.open(GPAW / f"{name}.gpw")
    assert traj.density_kind == "pseudo"
    assert float(traj.frame(0)[2, 3, 5]) == pytest.approx(value, rel=1e-6)
    assert traj.n_electrons == pytest.approx(electrons, rel=1e-6)
    assert traj.ds.attrs["source"] == "GPAW 22.8.0"


@pytest.mark.parametrize("name", ["lih", "lih-spin", "h2-slab"])
def test_content_is_the_one_that_ase_reads(name: str) -> None:
    traj = edviz.open(GPAW / f"{name}.gpw")
    with ase.io.ulm.open(GPAW / f"{name}.gpw") as content:
        stored = content.density.density
        atoms = content.atoms
        np.testing.assert_array_equal(traj.ds["cell"], atoms.cell)
        np.testing.assert_array_equal(traj.ds["positions"][0], atoms.positions)
        np.testing.assert_array_equal(traj.ds["numbers"], atoms.numbers)
        np.testing.assert_array_equal(traj.ds.attrs["periodic"], atoms.pbc)
        np.testing.assert_array_equal(traj.ds["energy"], [content.results.energy])
        np.testing.assert_array_equal(traj.ds["forces"][0], content.results.forces)
    inner = traj.frame(0)[tuple(slice(0 if p else 1, None) for p in traj.ds.attrs["periodic"])]
    np.testing.assert_allclose(inner, stored.sum(axis=0), rtol=1e-6)
    if len(stored) == 2:
        np.testing.assert_allclose(traj.ds["magnetization"][0, 0], stored[0] - stored[1], rtol=1e-4, atol=1e-7)


def test_boundary_of_an_axis_that_is_not_periodic_is_zero() -> None:
    traj = edviz.open(GPAW / "h2-slab.gpw")
    assert traj.ds.attrs["periodic"].tolist() == [0, 1, 0]
    values = traj.frame(0)
    assert values.shape == (8, 12, 12)
    assert not values[0].any() and not values[:, :, 0].any() and values[:, 0].any()
    # H2's centre of charge lies at its centre of mass: the points are where the grid says.
    points = np.indices(values.shape).reshape(3, -1).T / np.array(values.shape)
    centre = (points * (values.reshape(-1, 1) / values.sum())).sum(axis=0) @ traj.grid.cell
    np.testing.assert_allclose(centre[[0, 2]], traj.ds["positions"][0].values.mean(axis=0)[[0, 2]], atol=0.05)


def test_newer_layout_of_gpaw_26() -> None:
    traj = edviz.open(GPAW / "lih.gpw")
    assert traj.ds.attrs["source"] == "GPAW 26.7.0"
    assert traj.density.shape == (1, 9, 10, 14)
    assert traj.density_kind == "pseudo"


def test_all_electron_density_needs_gpaw() -> None:
    try:
        import gpaw as installed  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match="pip install gpaw"):
            edviz.open(GPAW / "lih.gpw", all_electron=True)
    else:
        traj = edviz.open(GPAW / "lih.gpw", all_electron=True)
        assert traj.density_kind == "total"
        assert traj.density.shape == (1, 18, 20, 28)
        assert traj.n_electrons == pytest.approx(4, abs=1e-4)  # printed by make.py
        assert float(traj.frame(0).max()) == pytest.approx(37.251428336956224, rel=1e-6)
    with pytest.raises(ArgumentError, match="refinement is 1, 2 or 4"):
        edviz.open(GPAW / "lih.gpw", all_electron=True, refinement=3)


BOTH = """
import sys
import gpaw, numpy as np
from edviz.io.gpaw import headers
assert sys.version_info >= (3, 11)
for path in sys.argv[1:]:
    header = headers(path, all_electron=True)[0]
    found = header.values("density")
    said = gpaw.GPAW(path, txt=None).get_all_electron_density(gridrefinement=2)
    print(header.density_kind, found.sum(dtype=float) * np.linalg.det(header.cell) / found.size, *found.shape)
    assert found.shape == said.shape and np.abs(found - said).max() < 1e-6 * said.max()
"""


def test_all_electron_density_by_the_program_that_is_installed() -> None:
    """The reader itself needs numpy alone: it runs in the Python that GPAW was installed for, such as Debian's."""
    program = shutil.which("gpaw")
    interpreter = Path(program).read_text().split("\n")[0].removeprefix("#!").strip() if program else ""
    if not Path(interpreter).is_file():
        pytest.skip("the program gpaw is not installed (apt-get install gpaw gpaw-data)")
    environment = {**os.environ, "PYTHONPATH": str(Path(edviz.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    # What GPAW 22.8 wrote every version reads.
    command = [interpreter, "-c", BOTH, *(str(GPAW / f"{name}.gpw") for name in PRINTED)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    for line, (_, _, electrons) in zip(run.stdout.splitlines(), PRINTED.values(), strict=True):
        kind, integral, *shape = line.split()
        assert kind == "total"
        assert float(integral) == pytest.approx(electrons, abs=1e-4)
        assert shape in (["18", "20", "28"], ["16", "24", "24"])


# What must not be read ------------------------------------------------------------------------------------------


def table_of_contents(data: bytes) -> tuple[int, dict]:
    """Where the JSON of the one item starts and what it says."""
    position = int(np.frombuffer(data[40:48], "<i8")[0])
    item = int(np.frombuffer(data[position : position + 8], "<i8")[0])
    length = int(np.frombuffer(data[item : item + 8], "<i8")[0])
    return item, json.loads(data[item + 8 : item + 8 + length])


def with_contents(change, path: Path) -> Path:
    """A copy of a file whose JSON was changed."""
    data = (GPAW / "lih.gpw").read_bytes()
    item, contents = table_of_contents(data)
    change(contents)
    text = json.dumps(contents).encode()
    path.write_bytes(data[:item] + np.array(len(text), "<i8").tobytes() + text)
    return path


def test_absurd_shapes_and_offsets_allocate_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.gpw"
    for reference, error in (
        ([[1, 10000, 10000, 10000], "float64", 232], TruncatedFileError),
        ([[1, 9, 10, 14], "float64", 10**15], TruncatedFileError),
        ([[1, 9, 10, -14], "float64", 232], FileFormatError),
        ([[1, 9, 10, 14], "object", 232], FileFormatError),
        ([[1, 9, 10, 14], "complex128", 232], FileFormatError),
        ([[9, 10, 14], "float64", 232], FileFormatError),
        ([[1, 9, 10, 14], "float64", 1.5], FileFormatError),
        ("everywhere", FileFormatError),
    ):
        with_contents(lambda c, r=reference: c["density."].update({"density.": {"ndarray": r}}), path)
        with pytest.raises(error, match=r"x\.gpw"):
            edviz.open(path)


def test_files_without_density_or_atoms(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"x\.gpw holds no density"):
        edviz.open(with_contents(lambda c: c.pop("density."), tmp_path / "x.gpw"))
    with pytest.raises(FileFormatError, match=r"x\.gpw holds no 'atoms'"):
        edviz.open(with_contents(lambda c: c.pop("atoms."), tmp_path / "x.gpw"))


def test_json_is_data_and_nothing_else(tmp_path: Path) -> None:
    """ASE's JSON may name objects to build; here they stay what they are."""
    path = with_contents(
        lambda c: c["results."].update(energy={"__ase_objtype__": "cell", "array": []}), tmp_path / "x.gpw"
    )
    assert gpaw.read_ulm(path)["results"]["energy"] == {"__ase_objtype__": "cell", "array": []}
    assert "energy" not in edviz.open(path).ds


def test_cut_off(tmp_path: Path) -> None:
    data = (GPAW / "lih.gpw").read_bytes()
    path = tmp_path / "x.gpw"
    for length in (30, 47, 50, 5000, len(data) - 5):
        path.write_bytes(data[:length])
        with pytest.raises(FileFormatError, match=r"x\.gpw"):
            edviz.open(path)


@pytest.mark.parametrize("name", ["lih-spin", "h2-slab"])
def test_mutated_gpw(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.gpw"

    def agrees(found: dict[str, np.ndarray], content: bytes) -> bool:
        """By ase.io.ulm."""
        path.write_bytes(content)
        with ase.io.ulm.open(path) as said:
            stored = said.density.density
            pads = [(0 if p else 1, 0) for p in said.atoms.pbc]
            total = np.pad(stored.sum(axis=0), pads)
            same = (
                np.allclose(found["density"][0], total, rtol=1e-6)
                and np.array_equal(found["cell"], said.atoms.cell)
                and np.array_equal(found["positions"][0], said.atoms.positions)
                and np.array_equal(found["numbers"], said.atoms.numbers)
            )
            if len(stored) == 2:
                difference = np.pad(stored[0] - stored[1], pads)
                same = same and np.allclose(found["magnetization"][0, 0], difference, rtol=1e-4, atol=1e-6)
            return bool(same)

    def read(file: Path) -> dict[str, np.ndarray]:
        return {str(key): variable.values for key, variable in edviz.open(file).ds.variables.items()}

    counts = check_reader((GPAW / path.name).read_bytes(), read, agrees, path, mutations=BINARY, seed=5)
    assert min(counts.values()) > 0
