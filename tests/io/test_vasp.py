"""VASP's text files against pymatgen and ASE, their variants, their damage, and writing them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
from pathlib import Path

import numpy as np
import pytest

import edviz
from edviz.errors import ArgumentError, FileFormatError, GridMismatchError, MissingDataError, TruncatedFileError
from edviz.io import vasp

sys.path.insert(0, str(Path(__file__).parent))
from mutations import check_reader
from oracles import assert_same_structure
from real_files import real_file, unpacked

CELL = np.array([[4.0, 0.0, 0.0], [1.0, 3.5, 0.0], [-0.5, 0.3, 5.0]])
SHAPE = (4, 3, 5)


def lines_of(values: np.ndarray, row: int = 5) -> str:
    """A field as VASP writes it: the first axis fastest, five a line."""
    words = [f" {value:17.10E}" for value in values.transpose(2, 1, 0).ravel()]
    return "\n".join("".join(words[i : i + row]) for i in range(0, len(words), row)) + "\n"


AUGMENTATION = (
    "augmentation occupancies   1   7\n  0.1E+00 -0.2E-03  0.3E+00  0.4E+00  0.5E-01\n  0.6E+00  0.7E+00\n"
    "augmentation occupancies   2   2\n  0.8E+00  0.9E+00\n"
)
MOMENTS = "  0.100E+01  0.200E+01  0.300E+01\n"


def header(title="a title", scale="1.0", species="Li O\n", mode="Direct\n", cell=CELL, positions=None) -> str:
    vectors = "\n".join(" ".join(f"{x:.10f}" for x in row) for row in cell)
    positions = positions or "0.0 0.0 0.0\n0.5 0.5 0.5\n0.25 0.5 0.75\n"
    return f"{title}\n{scale}\n{vectors}\n{species}1 2\n{mode}{positions}\n"


def field(seed: int = 0) -> np.ndarray:
    """A field without any symmetry, (na, nb, nc), in e/angstrom^3."""
    return np.random.default_rng(seed).uniform(0.1, 2.0, SHAPE)


def grid() -> str:
    return "{} {} {}\n".format(*SHAPE)


def chgcar(*fields: np.ndarray, volume=None, aug=AUGMENTATION, **changes) -> str:
    volume = np.linalg.det(CELL) if volume is None else volume
    blocks = [grid() + lines_of(one * volume) + aug for one in fields]
    return header(**changes) + MOMENTS.join(blocks)


@pytest.fixture
def save(tmp_path):
    def write(text: str, name: str = "CHGCAR") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def close(found, expected):
    """Equal to the digits of the file and of single precision."""
    np.testing.assert_allclose(found, expected, rtol=1e-7)


# Against independent readers


@pytest.mark.parametrize(
    "name", ["Al-slab-CHGCAR", "hBN-CHGCAR", "Fe-spin-CHGCAR", "large-grid-CHGCAR", "Al-slab-LOCPOT"]
)
@pytest.mark.parametrize("packed", [True, False])
def test_real_files_agree_with_ase(name, packed, tmp_path):
    from ase.calculators.vasp import VaspChargeDensity

    plain = unpacked(name + ".gz", tmp_path)
    if name.startswith("large") and packed:
        pytest.skip("once is enough")
    traj = edviz.open(real_file(name + ".gz") if packed else plain)
    theirs = VaspChargeDensity(str(plain))
    atoms, values = theirs.atoms[0], theirs.chg[0]
    if "LOCPOT" in name:
        assert traj.density_kind == "potential"
        values = values * atoms.get_volume()
    else:
        assert traj.n_electrons == pytest.approx(values.mean() * atoms.get_volume(), rel=1e-4)
    np.testing.assert_allclose(traj.frame(0), values, rtol=1e-6, atol=1e-30)
    assert_same_structure(traj, atoms, atol=1e-10)
    if "spin" in name:
        found = traj.ds["magnetization"].values[0, 0]
        np.testing.assert_allclose(found, theirs.chgdiff[0], rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize(
    "name", ["Al-slab-CHGCAR", "hBN-CHGCAR", "Fe-spin-CHGCAR", "large-grid-CHGCAR", "Al-slab-LOCPOT"]
)
def test_real_files_agree_with_pymatgen(name):
    outputs = pytest.importorskip("pymatgen.io.vasp.outputs")
    path = real_file(name + ".gz")
    traj = edviz.open(path)
    potential = "LOCPOT" in name
    theirs = (outputs.Locpot if potential else outputs.Chgcar).from_file(str(path))
    scale = 1.0 if potential else theirs.structure.volume
    np.testing.assert_array_equal(traj.frame(0), (theirs.data["total"] / scale).astype(np.float32))
    np.testing.assert_allclose(traj.ds["positions"].values[0], theirs.structure.cart_coords, atol=1e-10)
    if "spin" in name:
        np.testing.assert_allclose(traj.ds["magnetization"].values[0, 0], theirs.data["diff"] / scale, rtol=1e-6)


# Variants


def test_axis_order_and_volume(save):
    values = field()
    traj = edviz.open(save(chgcar(values)))
    close(traj.frame(0), values)
    assert traj.n_electrons == pytest.approx(values.mean() * np.linalg.det(CELL), rel=1e-6)
    assert traj.density_kind == "valence"
    close(traj.grid.cell, CELL)
    close(traj.ds["positions"].values[0], np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.5, 0.75]]) @ CELL)


def test_headers_of_all_kinds(save):
    expected = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.5, 0.75]]) @ CELL
    volume = float(np.linalg.det(CELL))
    cartesian = "\n".join(" ".join(f"{x / 2:.12f}" for x in row) for row in expected) + "\n"
    flags = "0.0 0.0 0.0 T T F\n0.5 0.5 0.5 F F F\n0.25 0.5 0.75 T T T\n"
    variants = {
        "negative scale": chgcar(field(), scale=f"-{volume:.12f}", cell=CELL / 3),
        "scale": chgcar(field(), scale="2.0", cell=CELL / 2),
        "three scales": chgcar(field(), scale="1.0 2.0 0.5", cell=CELL / [1.0, 2.0, 0.5]),
        "cartesian": chgcar(field(), scale="2.0", cell=CELL / 2, mode="Cartesian\n", positions=cartesian),
        "selective": chgcar(field(), mode="Selective dynamics\nDirect\n", positions=flags),
        "POTCAR hashes": chgcar(field(), species="Li_sv/abc123 O/0a1b\n"),
        "species over two lines": chgcar(field(), species="Li_sv\nO\n"),
        "VASP 4": chgcar(field(), species="", title="Li O"),
        "CRLF": chgcar(field()).replace("\n", "\r\n"),
    }
    for name, text in variants.items():
        traj = edviz.open(save(text))
        close(traj.frame(0), field())
        np.testing.assert_allclose(traj.grid.cell, CELL, atol=1e-8, err_msg=name)
        np.testing.assert_allclose(traj.ds["positions"].values[0], expected, atol=1e-8, err_msg=name)
        assert traj.ds["numbers"].values.tolist() == [3, 8, 8], name
    path = save(chgcar(field(), species=""))
    with pytest.raises(FileFormatError, match="CHGCAR, line 6: a VASP 4 header names no elements"):
        edviz.open(path)
    assert edviz.open(path, species=["Na", "Cl"]).ds["numbers"].values.tolist() == [11, 17, 17]


def test_spin_and_noncollinear(save):
    fields = [field(i) - (0.7 if i else 0) for i in range(4)]
    for n in (2, 4):
        traj = edviz.open(save(chgcar(*fields[:n])))
        close(traj.frame(0), fields[0])
        found = traj.ds["magnetization"].values
        assert found.shape == (n - 1, 1, *SHAPE)
        close(found[:, 0], np.stack(fields[1:n]))
    with pytest.raises(FileFormatError, match="3 fields"):
        edviz.open(save(chgcar(*fields[:3])))


def test_occupancies_survive_slicing_native_files_and_writing(save, tmp_path):
    traj = edviz.open(save(chgcar(field(0), field(1) - 0.7)))
    traj.to_file(tmp_path / "run.h5")
    native = edviz.open(tmp_path / "run.h5")
    native[0].to_file(tmp_path / "CHGCAR_again")
    again = edviz.open(tmp_path / "CHGCAR_again")
    for one in (traj, native[:1], again):
        kept = one.ds["augmentation"].values
        assert kept.shape == (1, 2)
        assert kept[0, 0].split()[:4] == ["augmentation", "occupancies", "1", "7"]
        assert all(line in kept[0, 0] for line in AUGMENTATION.splitlines())
    assert np.array_equal(again.frame(0), traj.frame(0))
    assert np.array_equal(again.ds["magnetization"].values, traj.ds["magnetization"].values)


@pytest.mark.parametrize(
    "name, kind", [("LOCPOT", "potential"), ("ELFCAR_3", "elf"), ("PARCHG.0012", "partial"), ("AECCAR0", "core")]
)
def test_kinds_by_name(save, name, kind):
    volume = np.linalg.det(CELL) if kind in ("partial", "core") else 1.0
    traj = edviz.open(save(chgcar(field(), volume=volume, aug=""), name))
    assert traj.density_kind == kind
    close(traj.frame(0), field())


def test_kind_by_option(save):
    traj = edviz.open(save(chgcar(field(), volume=1.0, aug=""), "scalar"), density_kind="potential")
    close(traj.frame(0), field())
    with pytest.raises(ArgumentError, match="density_kind 'colour' is unknown"):
        edviz.open(save(chgcar(field())), density_kind="colour")
    with pytest.raises(ArgumentError, match=r"take no option orbital= \(they take: density_kind="):
        edviz.open(save(chgcar(field())), orbital=3)


def test_potentials_of_two_spins_ask_which(save):
    path = save(chgcar(field(0), field(1), volume=1.0, aug=""), "LOCPOT")
    with pytest.raises(ArgumentError, match="component=0 to 1"):
        edviz.open(path)
    close(edviz.open(path, component=1).frame(0), field(1))


def test_all_electron_density_is_the_sum_of_two_files(save):
    path = save(chgcar(field(0), aug=""), "AECCAR0")
    with pytest.raises(MissingDataError, match="AECCAR2 is not there"):
        edviz.open(path, density_kind="total")
    save(chgcar(field(1), aug=""), "AECCAR2")
    for name in ("AECCAR0", "AECCAR2"):
        total = edviz.open(path.with_name(name), density_kind="total")
        assert total.density_kind == "total"
        np.testing.assert_allclose(total.frame(0), field(0) + field(1), rtol=1e-6)
    save(chgcar(field(1), aug="", scale="1.1"), "AECCAR2")
    with pytest.raises(GridMismatchError, match="cannot be added"):
        edviz.open(path, density_kind="total")


def g_format(values: np.ndarray) -> str:
    """CHG: ten a line, G11.5."""
    words = [f" {value:<#11.5g}" for value in values.transpose(2, 1, 0).ravel() * np.linalg.det(CELL)]
    return "\n".join("".join(words[i : i + 10]) for i in range(0, len(words), 10)) + "\n"


def test_several_frames_in_one_chg(save):
    """An MD run's CHG: whole files one after the other, here with a cell that changes."""
    text, cells = "", []
    for i in range(4):
        cells.append(CELL * (1 + 0.01 * (i == 3)))
        positions = f"{0.9 + 0.05 * i:.3f} 0.0 0.0\n0.5 0.5 0.5\n0.25 0.5 0.75\n".replace("1.0", "0.0")
        text += header(cell=cells[-1], positions=positions) + grid() + g_format(field(i))
    path = save(text, "CHG")
    traj = edviz.open(path, timestep=2.5)
    assert traj.time.tolist() == [0, 2.5, 5, 7.5]
    for i in range(4):
        expected = field(i) * np.linalg.det(CELL) / np.linalg.det(cells[i])
        np.testing.assert_allclose(traj.frame(i), expected, rtol=1e-4)
    assert traj.ds["cell"].shape == (4, 3, 3)
    x = traj.ds["positions"].values[:3, 0] @ np.linalg.inv(CELL)
    np.testing.assert_allclose(x[:, 0], [0.9, 0.95, 1.0], atol=1e-8)
    assert traj.ds.attrs["unwrapped"] == "minimum image"
    with pytest.warns(UserWarning, match="no timestep given"):
        edviz.open(path)
    path.with_name("CHG.gz").write_bytes(gzip.compress(text.encode()))
    packed = edviz.open(path.with_name("CHG.gz"), timestep=2.5)
    assert np.array_equal(packed.frame(2), traj.frame(2))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, "zstd"])
def test_packed_files_by_content(save, pack):
    import zstandard

    path = save("")
    pack = zstandard.compress if pack == "zstd" else pack
    content = pack(chgcar(field(0), field(1)).encode())
    path.write_bytes(content)
    traj = edviz.open(path)
    close(traj.frame(0), field(0))
    close(traj.ds["magnetization"].values[0, 0], field(1))
    path.write_bytes(content[:-20])
    with pytest.raises(TruncatedFileError, match="CHGCAR"):
        edviz.open(path).ds.load()


# Several threads


@pytest.fixture
def in_parts(monkeypatch):
    """Small fields are read in parts too; gives whether each one could be."""
    found: list[bool] = []
    in_parts = vasp._Reader._in_parts

    def watched(*args):
        found.append(in_parts(*args))
        return found[-1]

    monkeypatch.setattr(vasp._Reader, "_in_parts", watched)
    monkeypatch.setattr(vasp, "_LEAST_PART", 100)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    return found


@pytest.mark.parametrize("row, parts", [(4, True), (6, True), (5, False), (7, False)])
def test_a_field_in_parts(save, in_parts, monkeypatch, row, parts):
    """12 numbers a plane: with 5 or 7 a line no plane but the last one ends where a line does."""
    volume = np.linalg.det(CELL)
    blocks = [grid() + lines_of(field(i) * volume, row) + AUGMENTATION for i in range(2)]
    traj = edviz.open(save(header() + MOMENTS.join(blocks)))
    close(traj.frame(0), field(0))
    close(traj.ds["magnetization"].values[0, 0], field(1))
    assert in_parts == [parts, parts]


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [*lines[:12], lines[12].replace("E", "*", 1), *lines[13:]],
        lambda lines: [*lines[:12], lines[12].replace("1", " ", 1), *lines[13:]],
        lambda lines: [*lines[:12], lines[12][:-18], *lines[13:]],
        lambda lines: [*lines[:4], *lines[5:12], lines[11], *lines[12:]],
        lambda lines: [*lines[:12], *lines[13:]],
        lambda lines: [*lines[:3], lines[3] + "  ", lines[4][:-2], *lines[5:]],
        lambda lines: [*lines[:3], lines[3][:-1], " " + lines[4], *lines[5:]],
    ],
)
def test_damage_in_a_part_reads_as_without_parts(save, in_parts, monkeypatch, change):
    lines = lines_of(field() * np.linalg.det(CELL), 4).split("\n")
    path = save(header() + grid() + "\n".join(change(lines)))
    results = []
    for least in (100, 1 << 30):
        monkeypatch.setattr(vasp, "_LEAST_PART", least)
        try:
            results.append(edviz.open(path).frame(0).tolist())
        except FileFormatError as error:
            results.append(str(error))
    assert results[0] == results[1]


# Damage


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda t: t[: t.index("Direct")], TruncatedFileError, "CHGCAR, line 7"),
        (lambda t: t[: t.index("4 3 5")], TruncatedFileError, "ends where the grid should be"),
        (lambda t: t.replace("4 3 5", "1000000 1000000 1"), TruncatedFileError, "line 13: 1000000000000 grid points"),
        (lambda t: t.replace("4 3 5", "4 3 0"), FileFormatError, "line 13: grid size: 0 is not between"),
        (lambda t: t.replace("1 2\n", "1 999999999\n"), TruncatedFileError, "coordinates of atoms"),
        (lambda t: t.replace("Li O", "Li Xx"), FileFormatError, "'Xx' is no chemical element"),
        (lambda t: t.replace("1.0\n", "0.0\n", 1), FileFormatError, "scale of the lattice"),
        (lambda t: t.replace("4.0000000000 ", "-4.0000000000 "), FileFormatError, "triple product"),
    ],
)
def test_damage_names_file_and_line(save, change, error, message):
    with pytest.raises(error, match=message):
        edviz.open(save(change(chgcar(field(), aug="")))).ds.load()


def naive(content: bytes) -> list[np.ndarray]:
    """The fields of a CHGCAR by the simplest means: split into words."""
    lines = content.decode("latin-1").replace("\r", "").split("\n")
    scale = [float(w) for w in lines[1].split()]
    cell = np.array([[float(w.replace("D", "E")) for w in line.split()] for line in lines[2:5]])
    volume = abs(np.linalg.det(cell))
    volume = -scale[0] if scale[0] < 0 else volume * (scale[0] ** 3 if len(scale) == 1 else np.prod(scale))
    start = 5
    while not lines[start].split()[0].isdigit():
        start += 1
    n_atoms = sum(map(int, lines[start].split()))
    start += 2 + n_atoms + (lines[start + 1].strip()[:1] in "sS")
    fields = []
    while start < len(lines):
        words = lines[start].split()
        if len(words) == 3 and all(w.isdigit() for w in words):
            shape = tuple(map(int, words))
            found: list[float] = []
            while len(found) < np.prod(shape):
                start += 1
                found += [number(w) for w in lines[start].split()]
            assert len(found) == np.prod(shape)
            fields.append(np.reshape(found, shape[::-1]).transpose(2, 1, 0) / volume)
        start += 1
    return fields


def number(word: str) -> float:
    import re

    word = re.sub(r"(?<=\d)([+-]\d{3})$", r"E\1", word.replace("D", "E").replace("d", "e"))
    return float(word)


def agrees(ds, content: bytes) -> bool:
    try:
        fields = naive(content)
    except Exception:
        return False
    found = [*ds["density"].values, *(ds["magnetization"].values[:, 0] if "magnetization" in ds else ())]
    if ds.sizes["time"] == 2:  # the file twice
        fields = [fields[0], fields[len(fields) // 2], *fields[1 : len(fields) // 2]]
    return len(fields) == len(found) and all(
        np.allclose(a, b, rtol=1e-6, atol=1e-30) for a, b in zip(found, fields, strict=True)
    )


@pytest.mark.parametrize("case", ["plain", "spin", "irregular", "parts"])
def test_mutated_files(case, tmp_path, request):
    values = field(), field(1) - 0.7
    text = chgcar(*values) if case == "spin" else chgcar(values[0], aug="")
    if case == "irregular":
        text = (
            header()
            + grid()
            + "\n".join(" ".join(map(repr, row)) for row in values[0].T.reshape(-1, 5).tolist())
            + "\n"
        )
    if case == "parts":
        in_parts = request.getfixturevalue("in_parts")
        text = header() + grid() + lines_of(values[0] * np.linalg.det(CELL), 4)
    counts = check_reader(text.encode(), lambda path: edviz.open(path).ds.load(), agrees, tmp_path / "CHGCAR")
    assert min(counts.values()) > 5, counts
    if case == "parts":
        assert any(in_parts) and not all(in_parts)


# Writing


def test_what_is_written_reads_back_exactly(trajectory, tmp_path):
    frame = trajectory[2]
    frame.to_file(tmp_path / "CHGCAR")
    back = edviz.open(tmp_path / "CHGCAR")
    assert np.array_equal(back.frame(0), frame.frame(0))
    np.testing.assert_allclose(back.grid.cell, frame.grid.cell, atol=1e-14)
    np.testing.assert_allclose(back.ds["positions"].values, frame.ds["positions"].values, atol=1e-12)
    assert back.n_electrons == frame.n_electrons


def test_pymatgen_and_ase_read_what_is_written(trajectory, tmp_path):
    from ase.calculators.vasp import VaspChargeDensity

    frame = trajectory[2]
    frame.to_file(tmp_path / "CHGCAR")
    theirs = VaspChargeDensity(str(tmp_path / "CHGCAR"))
    np.testing.assert_allclose(theirs.chg[0], frame.frame(0), rtol=1e-7)
    assert_same_structure(frame, theirs.atoms[0], atol=1e-10)
    outputs = pytest.importorskip("pymatgen.io.vasp.outputs")
    chgcar = outputs.Chgcar.from_file(str(tmp_path / "CHGCAR"))
    np.testing.assert_allclose(chgcar.data["total"] / chgcar.structure.volume, frame.frame(0), rtol=1e-7)


def test_writing_what_does_not_fit(trajectory, make_trajectory, tmp_path):
    with pytest.raises(ArgumentError, match=r"holds one frame and the trajectory has 5.*traj\[0\]"):
        trajectory.to_file(tmp_path / "CHGCAR")
    potential = make_trajectory(n_frames=1, density_kind="potential")
    with pytest.raises(ArgumentError, match="stands for a field of kind 'valence', this one is 'potential'"):
        potential.to_file(tmp_path / "CHGCAR")
    potential.to_file(tmp_path / "LOCPOT")
    assert np.array_equal(edviz.open(tmp_path / "LOCPOT").frame(0), potential.frame(0))
    with pytest.raises(MissingDataError, match="no positions"):
        make_trajectory(n_frames=1, positions=None, velocities=None, forces=None).to_file(tmp_path / "CHGCAR_2")
