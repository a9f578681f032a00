"""XSF against ASE, its general grids, its damage, and writing it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import edviz
from edviz.errors import ArgumentError, FileFormatError
from edviz.schema import BOHR

sys.path.insert(0, str(Path(__file__).parent))
from mutations import check_reader

CELL = np.array([[4.0, 0.0, 0.0], [1.0, 3.5, 0.0], [-0.5, 0.3, 5.0]])
SHAPE = (4, 3, 5)


def field(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 2.0, SHAPE)


def grid(values, name="rho") -> str:
    general = np.pad(values, [(0, 1)] * 3, mode="wrap")
    words = [f"{x:15.8E}" for x in general.transpose(2, 1, 0).ravel()]
    rows = "\n".join(" ".join(words[i : i + 6]) for i in range(0, len(words), 6))
    span = "\n".join(" ".join(map(str, row)) for row in CELL)
    sizes = "{} {} {}".format(*general.shape)
    return f"BEGIN_DATAGRID_3D_{name}\n{sizes}\n0.0 0.0 0.0\n{span}\n{rows}\nEND_DATAGRID_3D\n"


def xsf(*grids) -> str:
    vectors = "\n".join(" ".join(map(str, row)) for row in CELL)
    atoms = "Li 0.1 0.2 0.3 0.0 0.0 0.2\n 8 1.0 1.1 1.2 0.0 0.0 0.1\n"
    blocks = "BEGIN_BLOCK_DATAGRID_3D\nsomething\n" + "".join(grids) + "END_BLOCK_DATAGRID_3D\n"
    return f"# a comment\n\nCRYSTAL\nPRIMVEC\n{vectors}\nPRIMCOORD\n2 1\n{atoms}{blocks}"


@pytest.fixture
def save(tmp_path):
    def write(text: str, name: str = "x.xsf") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_values_cell_and_atoms(save):
    from ase.io.xsf import read_xsf

    path = save(xsf(grid(field())))
    traj = edviz.open(path)
    np.testing.assert_allclose(traj.frame(0), field() / BOHR**3, rtol=1e-7)
    with path.open() as file:
        data, _origin, span, atoms = read_xsf(file, read_data=True)
    np.testing.assert_allclose(traj.frame(0) * BOHR**3, np.asarray(data)[:-1, :-1, :-1], rtol=1e-6)
    np.testing.assert_allclose(traj.grid.cell, span)
    np.testing.assert_allclose(traj.ds["positions"].values[0], atoms.positions)
    assert traj.ds["numbers"].values.tolist() == [3, 8]
    angstrom = edviz.open(path, units="e/angstrom^3", density_kind="total")
    np.testing.assert_allclose(angstrom.frame(0), field(), rtol=1e-7)


def test_several_grids(save):
    path = save(xsf(grid(field(0), "up"), grid(field(1), "down")))
    with pytest.raises(ArgumentError, match=r"holds the grids \['up', 'down'\]"):
        edviz.open(path)
    for choice in ("down", 1):
        np.testing.assert_allclose(edviz.open(path, grid=choice).frame(0), field(1) / BOHR**3, rtol=1e-7)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: "ANIMSTEPS 2\n" + t, r"x\.xsf, line 1: several structures"),
        (lambda t: t.replace("5 4 6", "5 4 7"), r"x\.xsf, line"),
        (lambda t: t[: t.index("BEGIN_BLOCK")], "no data grid"),
        (lambda t: t.replace("4.0 0.0 0.0\n1.0", "4.1 0.0 0.0\n1.0", 1), "no whole number of primitive cells"),
    ],
)
def test_damage_names_file_and_line(save, change, message):
    with pytest.raises(FileFormatError, match=message):
        edviz.open(save(change(xsf(grid(field()))))).ds.load()


def test_a_plane_that_does_not_repeat_is_noticed(save):
    text = xsf(grid(field()))
    first = next(line for line in text.split("\n") if line.startswith(" 1.3") or "E+00  " in line or "E+00 " in line)
    with pytest.raises(FileFormatError, match="does not repeat the first"):
        edviz.open(save(text.replace(first, first.replace("E+00", "E+01"), 1))).ds.load()


def agrees(ds, content: bytes) -> bool:
    try:
        text = content.decode("latin-1").replace("\r", "")
        body = text[text.index("DATAGRID_3D_") :].split("\n", 6)
        shape = [int(word) for word in body[1].split()]
        words = body[6][: body[6].index("END_DATAGRID")].replace("D", "E").replace("d", "e").split()
        import re

        values = [float(re.sub(r"(?<=\d)([+-]\d{3})$", r"E\1", word)) for word in words]
        expected = np.reshape(values, shape[::-1]).transpose(2, 1, 0)
    except Exception:
        return False
    kept = expected[tuple(slice(0, n - p) for n, p in zip(shape, ds.attrs["periodic"], strict=True))]
    return np.allclose(ds["density"].values[0], kept / BOHR**3, rtol=1e-6, atol=1e-30)


def test_mutated_files(tmp_path):
    content = xsf(grid(field())).encode()
    counts = check_reader(content, lambda path: edviz.open(path).ds.load(), agrees, tmp_path / "x.xsf")
    assert min(counts.values()) > 5, counts


@pytest.mark.parametrize("periodic", [(1, 1, 1), (1, 1, 0), (0, 0, 0)])
def test_what_is_written_reads_back(make_trajectory, tmp_path, periodic):
    frame = make_trajectory(n_frames=1, periodic=periodic, origin=(0.5, 0.0, 0.0))
    frame.to_file(tmp_path / "x.xsf")
    back = edviz.open(tmp_path / "x.xsf")
    np.testing.assert_array_equal(back.frame(0), frame.frame(0))
    np.testing.assert_allclose(back.grid.cell, frame.grid.cell, atol=1e-11)
    np.testing.assert_allclose(back.ds["positions"].values, frame.ds["positions"].values, atol=1e-11)
    assert back.ds.attrs["periodic"].tolist() == list(periodic)
    assert back.grid.shape == frame.grid.shape


def test_what_xsf_cannot_hold(make_trajectory, tmp_path):
    with pytest.raises(ArgumentError, match="periodic along abc, ab, a or nothing"):
        make_trajectory(n_frames=1, periodic=(0, 1, 0)).to_file(tmp_path / "x.xsf")
