"""Cube files against ASE and pymatgen, their variants, their damage, and writing them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

import edviz
from edviz.errors import ArgumentError, FileFormatError, TruncatedFileError, UnitsError
from edviz.schema import BOHR

sys.path.insert(0, str(Path(__file__).parent))
from mutations import check_reader
from oracles import assert_same_structure
from real_files import real_file, unpacked

SHAPE = (3, 4, 7)
STEPS = np.array([[0.5, 0.0, 0.0], [0.1, 0.6, 0.0], [-0.1, 0.2, 0.7]])
ATOMS = "    1    1.000000    0.100000    0.200000    0.300000\n    8    8.000000    1.000000    1.100000    1.200000\n"


def field(seed: int = 0) -> np.ndarray:
    """A field without any symmetry, in the file's unit."""
    return np.random.default_rng(seed).uniform(0.1, 2.0, SHAPE)


def cube(values, n_atoms=2, origin=(0.0, 0.0, 0.0), sign=1, extra="", orbitals="", titles=("a run", "density")) -> str:
    lines = [*titles, f"{n_atoms:5d}" + "".join(f"{x:12.6f}" for x in origin) + extra]
    lines += [f"{sign * n:5d}" + "".join(f"{x:12.6f}" for x in step) for n, step in zip(SHAPE, STEPS, strict=True)]
    text = "\n".join(lines) + "\n" + ATOMS + orbitals
    for run in values.reshape(SHAPE[0] * SHAPE[1], -1):
        words = [f"{x:13.5E}" for x in run]
        text += "\n".join("".join(words[i : i + 6]) for i in range(0, len(words), 6)) + "\n"
    return text


@pytest.fixture
def save(tmp_path):
    def write(text: str, name: str = "x.cube") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=6e-6)


@pytest.mark.parametrize("name", ["h2o-density.cube", "benzene-orbital.cube"])
def test_real_files_agree_with_ase(name, tmp_path):
    from ase.io.cube import read_cube

    path = unpacked(name + ".gz", tmp_path)
    with path.open() as file:
        theirs = read_cube(file)
    for one in (path, real_file(name + ".gz")):
        traj = edviz.open(one)
        unit = BOHR**-3 if "density" in name else BOHR**-1.5
        np.testing.assert_allclose(traj.frame(0), np.squeeze(theirs["data"]) * unit, rtol=1e-6, atol=1e-30)
        assert_same_structure(traj, theirs["atoms"], atol=1e-6)
        np.testing.assert_allclose(traj.ds.attrs["origin"], theirs["origin"], atol=1e-6)
        assert traj.ds.attrs["periodic"].tolist() == [0, 0, 0]
    if "orbital" in name:
        assert traj.density_kind == "orbital" and traj.ds.attrs["orbital"] == 1


def test_real_files_agree_with_pymatgen(tmp_path):
    common = pytest.importorskip("pymatgen.io.common")
    path = unpacked("h2o-density.cube.gz", tmp_path)
    theirs, traj = common.VolumetricData.from_cube(str(path)), edviz.open(path)
    data, structure = theirs.data["total"], theirs.structure
    np.testing.assert_allclose(traj.grid.cell, structure.lattice.matrix, atol=1e-5)
    # pymatgen multiplies densities by the volume in bohr^3 or leaves them: one factor for all values either way.
    factor = data.sum() / traj.frame(0).sum(dtype=np.float64)
    np.testing.assert_allclose(traj.frame(0) * factor, data, rtol=1e-5, atol=1e-30)
    assert traj.n_electrons == pytest.approx(data.sum() / factor * traj.grid.voxel_volume, rel=1e-5)


def test_axis_order_units_and_steps(save):
    traj = edviz.open(save(cube(field())))
    close(traj.frame(0), field() / BOHR**3)
    np.testing.assert_allclose(traj.grid.cell, np.array(SHAPE)[:, None] * STEPS * BOHR, rtol=1e-12)
    np.testing.assert_allclose(traj.ds["positions"].values[0, 1], np.array([1.0, 1.1, 1.2]) * BOHR)
    assert traj.ds.attrs["periodic"].tolist() == [1, 1, 1]
    voxel = np.linalg.det(STEPS)
    assert traj.n_electrons == pytest.approx(field().sum() * voxel, rel=1e-4)
    angstrom = edviz.open(save(cube(field(), sign=-1)))
    np.testing.assert_allclose(angstrom.grid.cell, np.array(SHAPE)[:, None] * STEPS, rtol=1e-12)
    np.testing.assert_allclose(angstrom.ds["positions"].values[0, 1], [1.0, 1.1, 1.2])


def test_periodic_or_not(save):
    molecule = save(cube(field(), origin=(-1.0, -2.0, -3.0)))
    traj = edviz.open(molecule)
    assert traj.ds.attrs["periodic"].tolist() == [0, 0, 0]
    np.testing.assert_allclose(traj.ds.attrs["origin"], np.array([-1, -2, -3]) * BOHR)
    assert edviz.open(molecule, periodic=(1, 1, 0)).ds.attrs["periodic"].tolist() == [1, 1, 0]


def test_several_orbitals(save):
    values = np.stack([field(i) - 1 for i in range(3)], axis=-1)
    path = save(cube(values, n_atoms=-2, orbitals="    3    5    6\n    9\n"))
    with pytest.raises(ArgumentError, match=r"holds the orbitals \[5, 6, 9\]"):
        edviz.open(path)
    for i, orbital in enumerate((5, 6, 9)):
        traj = edviz.open(path, orbital=orbital)
        np.testing.assert_allclose(traj.frame(0), values[..., i] / BOHR**1.5, rtol=6e-6, atol=1e-5)
        assert traj.density_kind == "orbital" and traj.ds.attrs["orbital"] == orbital


def test_several_values_a_point(save):
    values = np.stack([field(i) for i in range(4)], axis=-1)
    path = save(cube(values, extra="    4"))
    with pytest.raises(ArgumentError, match="4 values a point: choose one, value=0 to 3"):
        edviz.open(path)
    close(edviz.open(path, value=2).frame(0), field(2) / BOHR**3)


@pytest.mark.parametrize("n_values", [1, 3])
def test_several_cubes_in_one_file(save, n_values):
    fields = [np.stack([field(3 * i + j) for j in range(n_values)], axis=-1) for i in range(3)]
    text = "".join(cube(one, extra=f"    {n_values}") for one in fields)
    options = {"value": n_values - 1, "timestep": 0.5}
    traj = edviz.open(save(text + "\n\n"), **options)
    assert traj.time.tolist() == [0, 0.5, 1]
    for i, values in enumerate(fields):
        close(traj.frame(i), values[..., -1] / BOHR**3)
    with pytest.raises(TruncatedFileError, match=r"x\.cube, line \d+"):
        edviz.open(save(text[:-40]), **options).ds.load()
    with pytest.raises(TruncatedFileError, match="points need at least"):
        edviz.open(save(text[: text.rindex(ATOMS) + len(ATOMS) + 50]), **options)
    again = edviz.open(save(text.replace("0.500000", "0.400000", 1)), **options)
    assert again.ds["cell"].shape == (3, 3, 3)
    lines = text.split("\n")
    del lines[2 * len(lines) // 3 - 2]
    with pytest.raises(FileFormatError, match=r"x\.cube, line \d+"):
        edviz.open(save("\n".join(lines)), **options).ds.load()


def test_cubes_of_one_file_that_do_not_belong_together(save):
    two = np.stack([field(1), field(2)], axis=-1)
    with pytest.raises(FileFormatError, match=r"line 33: this cube has 2 values a point"):
        edviz.open(save(cube(field()) + cube(two, extra="    2")), value=0)
    with pytest.raises(ArgumentError, match="speaks of 'spin dens'"):
        edviz.open(save(cube(field()) + cube(field(), titles=("a run", "spin density"))))


def test_what_the_field_is(save):
    path = save(cube(field(), titles=("a run", "electrostatic potential")))
    with pytest.raises(ArgumentError, match=r"speaks of 'potential'.*density_kind="):
        edviz.open(path)
    close(edviz.open(path, density_kind="potential").frame(0), field() * 27.211386)
    close(edviz.open(path, density_kind="potential", units="rydberg").frame(0), field() * 13.605693)
    with pytest.raises(ArgumentError, match="units 'furlong' is none of hartree, rydberg, eV"):
        edviz.open(path, density_kind="potential", units="furlong")
    with pytest.raises(UnitsError, match="are no electron density"):
        edviz.open(save(cube(field() - 1)))


def test_valence_or_total(save):
    volume = np.linalg.det(STEPS) * np.prod(SHAPE)
    nine = field() * 9 / (field().mean() * volume)
    assert edviz.open(save(cube(nine))).density_kind == "total"
    assert edviz.open(save(cube(nine * 7 / 9))).density_kind == "valence"
    assert edviz.open(save(cube(nine).replace("    8.000000", "    6.000000"))).density_kind == "valence"


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda t: t.replace("    3    0.5", "10000    0.5"), TruncatedFileError, "x.cube, line 8: 280000 grid points"),
        (lambda t: t.replace("    3    0.5", "   -3    0.5"), FileFormatError, "all positive"),
        (lambda t: t[:-14], TruncatedFileError, "x.cube, line 31"),
        (lambda t: t + "  0.10000E+01\n", FileFormatError, "line 33: more follows the values"),
        (lambda t: t.replace("    8    8.0", "  199    8.0"), FileFormatError, "atomic number"),
    ],
)
def test_damage_names_file_and_line(save, change, error, message):
    with pytest.raises(error, match=message):
        edviz.open(save(change(cube(field())))).ds.load()


def naive(content: bytes) -> list[np.ndarray]:
    """The values of each cube by the simplest means: words behind the atoms, as many as its grid has points."""
    lines = content.decode("latin-1").replace("\r", "").split("\n")
    fields = []
    while any(map(str.strip, lines)):
        n_atoms = int(lines[2].split()[0])
        shape = [abs(int(line.split()[0])) for line in lines[3:6]]
        at = 6 + abs(n_atoms)
        orbitals = 1
        if n_atoms < 0:
            orbitals = int(lines[at].split()[0])
            at += 1
        words: list[str] = []
        while len(words) < np.prod(shape) * orbitals:
            line = re.sub(r"(?<=[eEdD][+-]\d\d)(?=[+-])", " ", lines[at]).replace("D", "E").replace("d", "e")
            words += re.sub(r"(?<=\d)([+-]\d{3})(?=\s|$)", r"E\1", line).split()
            at += 1
        fields.append(np.array(words, dtype=float).reshape(*shape, orbitals))
        lines = lines[at:]
    return fields


def agrees(ds, content: bytes) -> bool:
    try:
        fields = naive(content)
    except Exception:
        return False
    index = 1 if fields[0].shape[-1] == 3 else 0
    unit = BOHR**-1.5 if ds.attrs["density_kind"] == "orbital" else BOHR**-3
    return len(fields) == ds.sizes["time"] and all(
        np.allclose(found, values[..., index] * unit, rtol=1e-6, atol=1e-30)
        for found, values in zip(ds["density"].values, fields, strict=True)
    )


@pytest.mark.parametrize("case", ["plain", "orbitals", "irregular", "several"])
def test_mutated_files(case, tmp_path):
    text, options = cube(field()), {}
    if case == "several":
        text = "".join(cube(field(i)) for i in range(3))
    if case == "orbitals":
        values = np.stack([field(i) - 1 for i in range(3)], axis=-1)
        text, options = cube(values, n_atoms=-2, orbitals="    3    5    6    9\n"), {"orbital": 6}
    if case == "irregular":
        text = "\n".join(text.split("\n")[:8]) + "\n" + "\n".join(map(repr, field().ravel().tolist())) + "\n"
    read = lambda path: edviz.open(path, **options).ds.load()  # noqa: E731
    counts = check_reader(text.encode(), read, agrees, tmp_path / "x.cube")
    assert min(counts.values()) > 5, counts


def test_what_is_written_reads_back(trajectory, make_trajectory, tmp_path):
    from ase.io.cube import read_cube

    frame = trajectory[2]
    frame.to_file(tmp_path / "x.cube", digits=12)
    back = edviz.open(tmp_path / "x.cube")
    assert np.array_equal(back.frame(0), frame.frame(0))
    assert back.density_kind == "valence"
    np.testing.assert_allclose(back.ds["positions"].values, frame.ds["positions"].values, atol=1e-11)
    np.testing.assert_allclose(back.grid.cell, frame.grid.cell, atol=1e-10)
    frame.to_file(tmp_path / "five.cube")
    np.testing.assert_allclose(edviz.open(tmp_path / "five.cube").frame(0), frame.frame(0), rtol=5.1e-5)
    with (tmp_path / "five.cube").open() as file:
        theirs = read_cube(file)
    np.testing.assert_allclose(theirs["data"] / BOHR**3, frame.frame(0), rtol=5.1e-5)
    np.testing.assert_allclose(theirs["atoms"].cell.array, frame.grid.cell, atol=1e-6)
    for kind in ("potential", "orbital", "elf"):
        other = make_trajectory(n_frames=1, density_kind=kind, periodic=(0, 0, 0), origin=(1.0, 2.0, 3.0))
        other.to_file(tmp_path / "o.cube", digits=12)
        back = edviz.open(tmp_path / "o.cube")
        assert back.density_kind == kind and back.ds.attrs["periodic"].tolist() == [0, 0, 0]
        assert np.array_equal(back.frame(0), other.frame(0))
        np.testing.assert_allclose(back.ds.attrs["origin"], [1, 2, 3], atol=1e-10)
