"""Opening series: order, folders, patterns, lazy headers, checks across files, positions from elsewhere, unwrapping."""

from __future__ import annotations

import gzip
import pickle
import warnings

import numpy as np
import pytest

import edviz
from edviz.errors import ArgumentError, FileFormatError, GridMismatchError, MissingDataError, TruncatedFileError
from edviz.io import numbers, text, unwrap


@pytest.fixture
def series(make_trajectory, tmp_path):
    """Eleven CHGCARs, CHGCAR_0 to CHGCAR_10, of atoms that cross the boundary."""
    random = np.random.default_rng(1)
    positions = np.cumsum(random.uniform(-0.2, 0.6, (11, 4, 3)), axis=0)
    traj = make_trajectory(n_frames=11, positions=positions, velocities=None, forces=None)
    folder = tmp_path / "run"
    folder.mkdir()
    for i in range(11):
        frame = traj[i]
        wrapped = frame.grid.wrap(frame.ds["positions"].values[0])[None]
        ds = frame.ds.assign(positions=(("time", "atom", "xyz"), wrapped, {"units": "angstrom"}))
        edviz.DensityTrajectory(ds).to_file(folder / f"CHGCAR_{i}")
    return traj, folder


def test_pattern_folder_and_list_give_the_same_in_natural_order(series):
    traj, folder = series
    (folder / "INCAR").write_text("ENCUT = 300\n")
    (folder / ".hidden").write_text("x")
    listed = [folder / f"CHGCAR_{i}" for i in range(11)]
    for source in (folder, folder / "CHGCAR_*", str(folder / "CHGCAR*"), listed):
        opened = edviz.open(source, timestep=2.0)
        assert opened.time.tolist() == (2.0 * np.arange(11)).tolist()
        np.testing.assert_array_equal(opened.density.values, traj.density.values)
        assert opened.density.chunks[0] == (1,) * 11


def test_positions_are_unwrapped(series):
    traj, folder = series
    opened = edviz.open(folder, timestep=2.0)
    expected = traj.ds["positions"].values
    found = opened.ds["positions"].values
    np.testing.assert_allclose(found - found[0], expected - expected[0], atol=1e-9)
    assert opened.ds.attrs["unwrapped"] == "minimum image"


def test_unwrapping_leaves_directions_that_are_not_periodic_alone():
    x = np.array([[[0.9, 0.9, 0.9]], [[0.1, 0.1, 0.1]]])
    found, largest = unwrap.unwrap(x, np.eye(3), (1, 0, 1))
    np.testing.assert_allclose(found[1, 0], [1.1, 0.1, 1.1])
    assert largest == pytest.approx(0.2)


def test_opening_reads_the_first_frame_and_headers_only(series, monkeypatch):
    _, folder = series
    read = []
    original = numbers.read_pieces
    monkeypatch.setattr(
        "edviz.io.vasp.read_pieces", lambda file, *args, **kw: (read.append(file.path), original(file, *args, **kw))[1]
    )
    opened = edviz.open(folder, timestep=2.0)
    assert read == [str(folder / "CHGCAR_0")]
    opened.frame(0)
    opened.frame(7)
    assert read == [str(folder / "CHGCAR_0"), str(folder / "CHGCAR_7")]


def test_packed_series_read_headers_only_too(series, monkeypatch):
    traj, folder = series
    for path in folder.iterdir():
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    skipped = []
    original = text.Text.skip_to
    monkeypatch.setattr(text.Text, "skip_to", lambda self, *args: (skipped.append(self.path), original(self, *args))[1])
    opened = edviz.open(folder, timestep=2.0)
    assert {path.rsplit("/", 1)[-1] for path in skipped} == {"CHGCAR_0.gz"}
    np.testing.assert_array_equal(opened.frame(5), traj.frame(5))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.replace("Li\n4", "Na\n4"), "the atoms differ"),
        (lambda t: t.replace("\n1.0\n", "\n1.01\n"), "cell"),
        (lambda t: t.replace("6 5 8", "5 6 8"), "grid"),
    ],
)
def test_the_first_file_that_differs_is_named(series, change, message):
    _, folder = series
    for i in (8, 9):
        path = folder / f"CHGCAR_{i}"
        changed = change(path.read_text())
        assert changed != path.read_text()
        path.write_text(changed)
    with pytest.raises(GridMismatchError, match=rf"CHGCAR_8 cannot follow .*CHGCAR_0: {message}"):
        edviz.open(folder, timestep=2.0)


def test_cells_that_change_from_file_to_file(series):
    """CHGCAR holds density times volume: a cell scaled by 1.01 makes the density thinner and keeps the electrons."""
    traj, folder = series
    for i in (8, 9):
        path = folder / f"CHGCAR_{i}"
        path.write_text(path.read_text().replace("\n1.0\n", "\n1.01\n"))
    with pytest.raises(GridMismatchError, match=r"CHGCAR_8 cannot follow .*say variable_cell=True"):
        edviz.open(folder, timestep=2.0)
    opened = edviz.open(folder, timestep=2.0, variable_cell=True)
    assert opened.ds["cell"].dims == ("time", "vector", "xyz")
    for i, scale in ((0, 1.0), (8, 1.01), (10, 1.0)):
        np.testing.assert_allclose(opened.ds["cell"][i], traj.grid.cell * scale, rtol=1e-12)
        np.testing.assert_allclose(opened.frame(i), traj.frame(i) / scale**3, rtol=1e-6)
        electrons = opened.frame(i).mean(dtype=np.float64) * np.linalg.det(opened.ds["cell"].values[i])
        assert electrons == pytest.approx(traj.n_electrons, rel=1e-4)
    same = edviz.open([folder / "CHGCAR_0", folder / "CHGCAR_1"], timestep=2.0, variable_cell=True)
    assert same.ds["cell"].dims == ("vector", "xyz")
    traj.to_file(folder / "run.h5")
    with pytest.raises(ArgumentError, match=r"run\.h5: variable_cell= is for the files of other codes"):
        edviz.open(folder / "run.h5", variable_cell=True)


def test_files_of_several_formats_or_kinds(series):
    traj, folder = series
    traj[0].to_file(folder / "x.cube")
    with pytest.raises(FileFormatError, match=r"several kinds: CHGCAR_0 \(11, VASP text\); x.cube \(1, cube\)"):
        edviz.open(folder)
    with pytest.raises(GridMismatchError, match=r"x.cube cannot follow .*CHGCAR_0: it is cube"):
        edviz.open([folder / "CHGCAR_0", folder / "x.cube"], timestep=1.0)


def test_a_file_damaged_later_is_named_when_its_frame_is_read(series):
    _, folder = series
    path = folder / "CHGCAR_4"
    opened = edviz.open(folder, timestep=2.0)
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(FileFormatError, match="CHGCAR_4 was replaced since it was opened"):
        opened.frame(4)
    with pytest.raises(TruncatedFileError, match=r"CHGCAR_4, line"):
        edviz.open(folder, timestep=2.0)


def test_timesteps(series, trajectory, tmp_path):
    _, folder = series
    with pytest.warns(UserWarning, match="no timestep given: frames count 1 fs apart"):
        edviz.open(folder)
    with pytest.raises(ArgumentError, match="a positive number; got -1"):
        edviz.open(folder, timestep=-1)
    trajectory.to_file(tmp_path / "run.h5")
    with pytest.raises(ArgumentError, match="carry their own times"):
        edviz.open(tmp_path / "run.h5", timestep=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edviz.open(folder / "CHGCAR_3")


def test_positions_from_an_ase_trajectory(series, tmp_path):
    import ase.io

    traj, folder = series
    atoms = traj.to_ase()
    ase.io.write(tmp_path / "md.traj", atoms)
    opened = edviz.open(folder, timestep=2.0, positions=tmp_path / "md.traj")
    np.testing.assert_allclose(opened.ds["positions"].values, traj.ds["positions"].values, atol=1e-9)
    ase.io.write(tmp_path / "short.traj", atoms[:-1])
    with pytest.raises(MissingDataError, match=r"short.traj has 10 frames, the densities 11"):
        edviz.open(folder, timestep=2.0, positions=tmp_path / "short.traj")
    atoms[6].positions[2] += 0.3
    ase.io.write(tmp_path / "other.traj", atoms)
    with pytest.raises(GridMismatchError, match=r"other.traj, frame 6: its positions are up to 0.3"):
        edviz.open(folder, timestep=2.0, positions=tmp_path / "other.traj")


def test_packed_files_are_not_written(series, tmp_path):
    traj, _ = series
    with pytest.raises(FileFormatError, match="writes no packed text files; write CHGCAR and pack it"):
        traj[0].to_file(tmp_path / "CHGCAR.gz")


def test_a_series_can_be_pickled(series):
    traj, folder = series
    again = pickle.loads(pickle.dumps(edviz.open(folder, timestep=2.0)))
    np.testing.assert_array_equal(again.frame(9), traj.frame(9))


def test_values_can_be_changed_without_changing_what_is_read_later(series):
    traj, folder = series
    opened = edviz.open(folder, timestep=2.0)
    opened.frame(0)[:] = 0
    np.testing.assert_array_equal(opened.frame(0), traj.frame(0))
