from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import edviz
from edviz.errors import (
    FileFormatError,
    GridMismatchError,
    MissingDataError,
    NonFiniteError,
    SchemaError,
    TruncatedFileError,
    UnitsError,
    WriteError,
)
from edviz.io import parts
from edviz.io.parts import PartWriter

sys.path.insert(0, str(Path(__file__).parent))
import killed_writer

SMALL = ("positions", "velocities", "forces", "energy", "temperature")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.h5"


@pytest.fixture
def start(path, trajectory):
    """Make a writer for frames of `trajectory`, two frames a part."""

    def make(**changes):
        arguments = {
            "cell": trajectory.grid.cell,
            "attrs": trajectory.ds.attrs,
            "numbers": trajectory.ds["numbers"].values,
            "frames_per_part": 2,
        }
        return PartWriter(path, **(arguments | changes))

    return make


def feed(writer, traj, frames):
    for i in frames:
        small = {name: traj.ds[name].values[i] for name in SMALL if name in traj.ds}
        writer.append(traj.frame(i), traj.time[i], **small)


def same(opened, traj):
    xr.testing.assert_equal(opened.ds.compute(), traj.ds)
    assert opened.ds.attrs.keys() == traj.ds.attrs.keys()


# A run from beginning to end


def test_a_whole_run(start, path, trajectory):
    with start() as writer:
        feed(writer, trajectory, range(5))
        assert (writer.n_frames, writer.n_finished, writer.last_time) == (5, 4, 43)
    assert os.listdir(path.parent) == ["run.h5"]
    back = edviz.open(path)
    same(back, trajectory)
    assert back.density.chunks[0] == (1,) * 5
    with xr.open_dataset(path) as plain:
        assert np.array_equal(plain["density"].values, trajectory.density.values)
        assert plain["positions"].attrs["units"] == "angstrom"


def test_what_is_carried_is_that_of_the_last_frame(start, path, trajectory):
    def carried(i):
        state = np.full((2, 3), i, np.float32)
        return {"state": (("row", "column"), state, {"step": i}), "total": (("row",), np.arange(2) + i, {})}

    writer = start()
    for i in range(3):
        writer.append(trajectory.frame(i), trajectory.time[i], carried=carried(i))
    writer.flush()  # a part of two frames and one of one
    resumed = PartWriter.resume(path)
    for n, last in ((3, 2), (4, 3)):
        ds = edviz.open(path).ds
        assert ds.sizes["time"] == n and (ds["state"].values == last).all() and ds["state"].attrs["step"] == last
        found = parts.carried_by(parts.finished_parts(resumed.folder)[-1])
        assert found["state"][2]["step"] == last and (found["total"][1] == np.arange(2) + last).all()
        if n == 3:
            resumed.append(trajectory.frame(3), trajectory.time[3], carried=carried(3))
            resumed.flush()
    resumed.close()
    whole = edviz.open(path).ds
    assert (
        (whole["state"].values == 3).all() and whole["state"].attrs["step"] == 3 and whole["density"].sizes["time"] == 4
    )


def test_the_file_is_the_one_that_saving_at_once_gives(start, path, trajectory):
    with start() as writer:
        feed(writer, trajectory, range(5))
    trajectory.to_file(path.with_name("once.h5"))
    with xr.open_dataset(path) as one, xr.open_dataset(path.with_name("once.h5")) as other:
        xr.testing.assert_equal(one, other)
        assert one["density"].encoding["chunksizes"] == other["density"].encoding["chunksizes"]


def test_a_growing_run_can_be_opened(start, path, trajectory):
    writer = start()
    with pytest.raises(MissingDataError, match="no finished part yet"):
        edviz.open(path)
    feed(writer, trajectory, range(3))
    for name in (path, parts.parts_folder(path)):
        same(edviz.open(name), trajectory[:2])
    writer.flush()
    opened = edviz.open(path)
    same(opened, trajectory[:3])
    feed(writer, trajectory, range(3, 5))
    writer.close()
    # Frames of the parts stay readable after the fold took the parts away.
    assert np.array_equal(opened.frame(2), trajectory.frame(2))
    same(edviz.open(path), trajectory)


def test_ensembles_and_magnetizations(path, make_trajectory):
    ensemble = make_trajectory(n_samples=3, positions=None, velocities=None, forces=None)
    with PartWriter(path, cell=ensemble.grid.cell, attrs=ensemble.ds.attrs, frames_per_part=2) as writer:
        for i in range(5):
            density = ensemble.frame(i)
            writer.append(density, ensemble.time[i], magnetization=density[:, None], energy=[i, 2, 3])
    back = edviz.open(path)
    assert back.density.dims == ("sample", "time", "a", "b", "c")
    assert np.array_equal(back.density.values, ensemble.density.values)
    assert back.ds["magnetization"].dims == ("sample", "component", "time", "a", "b", "c")
    assert np.array_equal(back.ds["magnetization"].values[:, 0], ensemble.density.values)
    assert back.ds["energy"].dims == ("sample", "time")
    assert back.ds["energy"].values[:, 4].tolist() == [4, 2, 3]


def test_a_cell_that_changes(path, trajectory):
    cells = trajectory.grid.cell * (1 + 0.001 * np.arange(5))[:, None, None]
    with PartWriter(path, cell=None, attrs=trajectory.ds.attrs, frames_per_part=2) as writer:
        for i in range(5):
            writer.append(trajectory.frame(i), trajectory.time[i], cell=cells[i])
    back = edviz.open(path)
    assert np.array_equal(back.ds["cell"].values, cells)


def test_parts_have_a_sensible_length_by_themselves(start, trajectory, path, monkeypatch):
    writer = start(frames_per_part=None)
    feed(writer, trajectory, range(5))
    assert writer.n_finished == 0
    writer.close()
    monkeypatch.setattr(parts, "_PART_BYTES", 3 * trajectory.frame(0).nbytes)
    writer = start(frames_per_part=None)
    feed(writer, trajectory, range(5))
    assert writer.n_finished == 4


# Stopping and going on


@pytest.mark.parametrize("stop", range(6))
def test_stopping_anywhere_and_resuming(start, path, trajectory, stop):
    writer = start()
    feed(writer, trajectory, range(stop))
    del writer  # as good as killed: frames since the last part are lost
    resumed = PartWriter.resume(path)
    assert resumed.n_frames == resumed.n_finished == stop // 2 * 2
    assert resumed.last_time == (trajectory.time[resumed.n_frames - 1] if resumed.n_frames else None)
    with resumed:
        feed(resumed, trajectory, range(resumed.n_frames, 5))
    same(edviz.open(path), trajectory)


def test_an_exception_keeps_every_frame(start, path, trajectory):
    with pytest.raises(KeyboardInterrupt), start() as writer:
        feed(writer, trajectory, range(3))
        raise KeyboardInterrupt
    assert not path.exists()
    same(edviz.open(path), trajectory[:3])
    with start(resume=True) as writer:
        feed(writer, trajectory, range(3, 5))
    same(edviz.open(path), trajectory)


def test_a_finished_file_can_be_continued(start, path, trajectory):
    with start() as writer:
        feed(writer, trajectory, range(3))
    with start(resume=True) as writer:
        assert writer.n_frames == 3
        same(edviz.open(path), trajectory[:3])
        feed(writer, trajectory, range(3, 5))
    same(edviz.open(path), trajectory)


def test_resuming_nothing_starts_afresh_or_says_so(start, path, trajectory):
    with pytest.raises(MissingDataError, match="no unfinished run"):
        PartWriter.resume(path)
    with start(resume=True) as writer:
        assert writer.n_frames == 0
        feed(writer, trajectory, range(5))
    same(edviz.open(path), trajectory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell": 4 * np.eye(3)}, "another cell"),
        ({"numbers": [3, 3, 3, 11]}, "another atoms"),
        ({"attrs": {"density_kind": "total", "n_electrons": 4}}, "another density kind"),
        ({"attrs": {"density_kind": "valence", "n_electrons": 5}}, "another number of electrons"),
    ],
)
@pytest.mark.parametrize("finished", [False, True])
def test_a_run_of_something_else_is_not_continued(start, trajectory, change, message, finished):
    writer = start()
    feed(writer, trajectory, range(4))
    if finished:
        writer.close()
    with pytest.raises(GridMismatchError, match=message):
        start(resume=True, **change)


def test_an_unfinished_run_is_not_thrown_away_by_accident(start, path, trajectory):
    feed(start(), trajectory, range(4))
    with pytest.raises(WriteError, match=r"unfinished run: PartWriter\.resume.*overwrite=True"):
        start()
    with start(overwrite=True) as writer:
        assert writer.n_frames == 0
        feed(writer, trajectory, range(1, 3))
    same(edviz.open(path), trajectory[1:3])


def test_an_older_file_stays_until_the_new_one_is_complete(start, path, trajectory, make_trajectory):
    other = make_trajectory(seed=1)
    other.to_file(path)
    os.utime(path, (1, 1))
    writer = start()
    same(edviz.open(path), other)
    feed(writer, trajectory, range(4))
    same(edviz.open(path), trajectory[:4])
    writer.close()
    same(edviz.open(path), trajectory[:4])


def test_a_missing_or_damaged_part_is_named(start, path, trajectory):
    feed(start(), trajectory, range(5))
    folder = parts.parts_folder(path)
    part = folder / "part-00000002.h5"
    part.write_bytes(part.read_bytes()[:-500])
    with pytest.raises(TruncatedFileError, match=r"part-00000002\.h5"):
        edviz.open(path)
    with pytest.raises(TruncatedFileError, match=r"part-00000002\.h5.*resume"):
        PartWriter.resume(path)
    part.unlink()
    same(edviz.open(path), trajectory[:2])
    writer = PartWriter.resume(path)
    feed(writer, trajectory, range(2, 5))
    writer.flush()
    (folder / "part-00000000.h5").unlink()
    with pytest.raises(TruncatedFileError, match="frames 0 to 1 are missing"):
        PartWriter.resume(path)
    (folder / "header.json").write_text("{")
    with pytest.raises(FileFormatError, match=r"header\.json is damaged"):
        PartWriter.resume(path)


# What it refuses


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"density": np.full((6, 5, 8), np.nan)}, NonFiniteError, r"run\.h5: density, frame 1"),
        ({"positions": np.full((4, 3), np.inf)}, NonFiniteError, "positions, frame 1"),
        ({"density": np.ones((6, 5, 7))}, SchemaError, r"frame 1: density has shape \(6, 5, 7\)"),
        ({"time": 3.0}, SchemaError, "frame 1: time 3.0 fs is not after"),
        ({"energy": None}, SchemaError, "frame 1: energy is missing"),
        ({"pressure": 1.0}, SchemaError, "'pressure' is no variable"),
        ({"numbers": [3]}, SchemaError, "'numbers' is no variable"),
        ({"cell": np.eye(3)}, SchemaError, "cell has shape"),
    ],
)
def test_frames_that_do_not_fit(start, path, trajectory, change, error, message):
    writer = start(frames_per_part=1)
    feed(writer, trajectory, [0])
    good = {"density": trajectory.frame(1), "time": 13.0}
    good |= {name: trajectory.ds[name].values[1] for name in SMALL}
    bad = {name: value for name, value in (good | change).items() if value is not None}
    with pytest.raises(error, match=message):
        writer.append(**bad)
    assert writer.n_frames == 1
    writer.append(**good)
    writer.close()
    same(edviz.open(path), trajectory[:2])


def test_the_first_frame_is_checked_for_its_unit(start, trajectory):
    with pytest.raises(UnitsError, match=r"frame 0: .*e/bohr"):
        start().append(trajectory.frame(0) * 0.529177**3, 0.0)


@pytest.mark.parametrize(
    "change",
    [
        {"density": np.ones((5, 8))},
        {"positions": np.zeros((3, 3))},
        {"positions": np.zeros(3)},
        {"energy": np.zeros((2, 2))},
        {"cell": np.eye(3)},
    ],
)
def test_the_first_frame_is_checked_for_its_shape(start, trajectory, change):
    with pytest.raises(SchemaError, match="frame 0"):
        start().append(**({"density": trajectory.frame(0), "time": 0.0} | change))


def test_attributes_are_checked_at_once(start):
    with pytest.raises(SchemaError, match="n_electrons"):
        start(attrs={"density_kind": "valence"})
    with pytest.raises(SchemaError, match="cannot be stored"):
        start(attrs={"density_kind": "elf", "settings": {}})
    with pytest.raises(SchemaError, match="right-handed"):
        start(cell=-np.eye(3))


def test_a_closed_writer_takes_no_more(start, trajectory):
    with start() as writer:
        feed(writer, trajectory, range(2))
    with pytest.raises(WriteError, match="resume=True"):
        feed(writer, trajectory, [2])


def test_nothing_written_is_an_error(start, path):
    with pytest.raises(MissingDataError, match="no finished part"), start():
        pass
    assert not path.exists()


def test_a_full_disk_loses_no_finished_frame(path):
    script = f"""
        import resource, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import numpy as np
        from edviz.errors import WriteError
        from edviz.io.parts import PartWriter
        attrs = {{"density_kind": "valence", "n_electrons": 27}}
        writer = PartWriter({str(path)!r}, cell=3 * np.eye(3), attrs=attrs, frames_per_part=2)
        density = np.random.default_rng(0).uniform(0.99, 1.01, (5, 16, 16, 16))
        for i in range(4):
            writer.append(density[i], i)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))
        try:
            writer.append(density[4], 4)
            writer.close()
        except WriteError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        if sys.argv[1] == "again":
            writer.close()
    """
    for again, n_frames in (("no", 4), ("again", 5)):
        run = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), again], capture_output=True, text=True, check=True
        )
        assert "could not be written" in run.stdout and "Free space" in run.stdout
        assert edviz.open(path).n_frames in (n_frames, 5)
        assert path.exists() == (again == "again")
        assert not list(path.parent.rglob("*.tmp"))
        shutil.rmtree(parts.parts_folder(path), ignore_errors=True)


# Kills


@pytest.mark.parametrize("step", ["replace", "discard"])
def test_a_kill_between_the_steps_of_the_fold(start, path, trajectory, step, monkeypatch):
    """The file is in place but its parts are still there, whole or already moved aside."""

    class Killed(BaseException):
        pass

    def killed(*args, **kwargs):
        raise Killed

    writer = start()
    feed(writer, trajectory, range(5))
    if step == "replace":
        monkeypatch.setattr(parts, "_discard", killed)
    else:
        monkeypatch.setattr(parts.shutil, "rmtree", killed)
    with pytest.raises(Killed):
        writer.close()
    monkeypatch.undo()
    if step == "discard":
        shutil.move(parts.parts_folder(path), parts._discarded(parts.parts_folder(path)))
    same(edviz.open(path), trajectory)
    with start(resume=True) as writer:
        assert writer.n_frames == 5
    same(edviz.open(path), trajectory)
    assert os.listdir(path.parent) == ["run.h5"]


def test_a_hundred_kills_lose_no_finished_part(tmp_path):
    n_kills = 100
    script = Path(killed_writer.__file__)
    run = subprocess.run(
        [sys.executable, script, tmp_path, str(n_kills), "0"], capture_output=True, text=True, check=True, timeout=300
    )
    kills = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(kills) == n_kills
    states = {"writing": 0, "folding": 0, "ended": 0}
    finished = set()
    for kill in kills:
        path, heard = Path(kill["path"]), kill["heard"]
        states["ended" if "e" in heard else "folding" if "f" in heard else "writing"] += 1
        n_parts = heard.count("p")
        finished.add(n_parts)
        if n_parts == 0 and not list(path.parent.rglob("part-*.h5")):
            continue  # killed before its first part: there is nothing to open yet
        opened = edviz.open(path)
        # The part being finished when the kill came may be there without having been reported.
        assert opened.n_frames in (
            n_parts * killed_writer.FRAMES_PER_PART,
            (n_parts + 1) * killed_writer.FRAMES_PER_PART,
        )
        assert opened.time.tolist() == [2.0 * i for i in range(opened.n_frames)]
        values = opened.density.values
        for i in range(opened.n_frames):
            assert np.array_equal(values[i], killed_writer.frame(i))
            assert opened.ds["positions"].values[i].tolist() == [[i, 0, 0]]
    assert states["writing"] >= 10 and states["folding"] >= 10, states
    assert len(finished) >= 3, finished
    # And every tenth goes on to its end.
    for kill in kills[::10]:
        path = Path(kill["path"])
        attrs = {"density_kind": "valence", "n_electrons": 27}
        with PartWriter(path, cell=killed_writer.CELL, attrs=attrs, numbers=[3], resume=True) as writer:
            for i in range(writer.n_frames, killed_writer.N_FRAMES):
                writer.append(killed_writer.frame(i), 2.0 * i, positions=[[i, 0, 0]])
        assert edviz.open(path).n_frames == killed_writer.N_FRAMES
        assert os.listdir(path.parent) == ["run.h5"]
