from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap

import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr

import edviz
from edviz import DensityTrajectory
from edviz.errors import (
    FileFormatError,
    GridMismatchError,
    NonFiniteError,
    SchemaError,
    TruncatedFileError,
    UnitsError,
    WriteError,
)
from edviz.io import native


@pytest.fixture
def file(trajectory, tmp_path):
    path = tmp_path / "run.h5"
    trajectory.to_file(path)
    native.close_handles()
    return path


# Round trip


def test_everything_comes_back_exactly(make_trajectory, tmp_path):
    random = np.random.default_rng(0)
    traj = make_trajectory(
        magnetization=random.normal(size=(3, 5, 6, 5, 8)),
        history="first\nsecond",
        origin=(0.1, 0.2, 0.3),
        periodic=(1, 1, 0),
        attrs={
            "train_end_fs": 23.0,
            "remark": "ä, µ",
            "empty": "",
            "list": np.arange(3),
            "count": 7,
            "small": np.float32(0.1),
        },
    )
    ds = traj.ds.assign(
        charges=(("time", "atom"), random.normal(size=(5, 4)), {"units": "e"}),
        mask=(("a", "b", "c"), random.integers(0, 2, (6, 5, 8), dtype=np.int8)),
        long=(("time", "many"), random.normal(size=(5, 400_000))),
        scalar=((), 3.5),
    )
    ds = ds.assign_coords(label=("atom", ["a", "b", "cc", "d"]), frame=("time", np.arange(5)))
    DensityTrajectory(ds).to_file(tmp_path / "run.h5")
    back = edviz.open(tmp_path / "run.h5")
    xr.testing.assert_identical(back.ds.compute(), ds)
    assert {name: back.ds[name].dtype for name in traj.ds.variables} == {
        name: ds[name].dtype for name in traj.ds.variables
    }


@pytest.mark.parametrize("n_samples", [1, 3])
def test_ensembles(make_trajectory, tmp_path, n_samples):
    ensemble = make_trajectory(n_samples=n_samples)
    ensemble.to_file(tmp_path / "run.nc")
    back = edviz.open(tmp_path / "run.nc")
    xr.testing.assert_identical(back.ds.compute(), ensemble.ds)
    assert set(back.density.chunks[0]) == {1} and set(back.density.chunks[1]) == {1}


def test_lazy_trajectories_are_written_in_batches(make_trajectory, trajectory, tmp_path, monkeypatch):
    lazy = make_trajectory(density=da.from_array(trajectory.density.values, chunks=(1, 6, 5, 8)))
    monkeypatch.setattr(native, "_BATCH_BYTES", 2 * trajectory.frame(0).nbytes)
    batches = [(first, len(batch["density"])) for first, batch in native._batches(lazy.ds[["density"]])]
    assert batches == [(0, 2), (2, 2), (4, 1)]
    lazy.to_file(tmp_path / "run.h5")
    assert np.array_equal(edviz.open(tmp_path / "run.h5").density.values, trajectory.density.values)


def test_a_dataset_can_be_saved_without_a_trajectory_around_it(trajectory, tmp_path):
    edviz.io.save(trajectory.ds, tmp_path / "run.h5")
    xr.testing.assert_identical(edviz.open(tmp_path / "run.h5").ds.compute(), trajectory.ds)


def test_other_programs_read_it(file, trajectory):
    with xr.open_dataset(file) as ds:
        xr.testing.assert_identical(ds.load(), trajectory.ds)
    with h5py.File(file) as h5:
        density = h5["density"]
        assert density.chunks == (1, 6, 5, 8)
        assert density.compression == "gzip" and density.shuffle
        assert density.attrs["units"] == "e/angstrom^3"
        assert np.array_equal(density[3], trajectory.frame(3))


def test_scaled_integers_are_decoded(file, trajectory):
    with h5py.File(file, "r+") as h5:
        step = np.float32(1e-4)
        quanta = np.rint(h5["density"][:] / step).astype(np.int16)
        attrs = dict(h5["density"].attrs)
        scales = [h5["density"].dims[i][0] for i in range(4)]
        del h5["density"]
        density = h5.create_dataset("density", data=quanta, chunks=(1, 6, 5, 8))
        density.attrs["units"] = attrs["units"]
        density.attrs["scale_factor"] = step
        density.attrs["add_offset"] = np.float32(1e-5)
        for i, scale in enumerate(scales):
            density.dims[i].attach_scale(scale)
    back = edviz.open(file)
    assert back.density.dtype == np.float32
    assert back.density.values == pytest.approx(quanta * step + 1e-5, rel=1e-6)
    assert "scale_factor" not in back.density.attrs
    with xr.open_dataset(file) as plain:
        assert plain["density"].values == pytest.approx(back.density.values, rel=1e-6)


def test_what_cannot_be_stored_is_refused_before_anything_is_written(trajectory, tmp_path):
    with pytest.raises(SchemaError, match="attribute nested"):
        DensityTrajectory(trajectory.ds.assign_attrs(nested={"a": 1})).to_file(tmp_path / "run.h5")
    complex_valued = trajectory.ds.assign(phase=("time", np.zeros(5, dtype=complex)))
    with pytest.raises(SchemaError, match="variable phase"):
        DensityTrajectory(complex_valued).to_file(tmp_path / "run.h5")
    assert os.listdir(tmp_path) == []


# Lazy reading


def test_opening_reads_one_frame_and_using_reads_what_is_used(file, monkeypatch):
    read = []
    original = native.Frames.__getitem__
    monkeypatch.setattr(
        native.Frames, "__getitem__", lambda self, index: (read.append(index[0]), original(self, index))[1]
    )
    traj = edviz.open(file)
    assert read == [slice(0, 1)]  # for the number of electrons
    read.clear()
    traj[2:].frame(1)
    assert read == [slice(3, 4)]


def test_a_nan_in_a_file_is_found_when_its_frame_is_read(file):
    with h5py.File(file, "r+") as h5:
        h5["density"][3, 0, 0, 0] = np.nan
    traj = edviz.open(file)
    traj.frame(2)
    with pytest.raises(NonFiniteError, match=r"run\.h5: density, frame 3"):
        traj.frame(3)
    with pytest.raises(NonFiniteError, match=r"run\.h5: density, frame 3"):
        traj[2:].frame(1)
    with pytest.raises(NonFiniteError, match="frame 3"):
        traj.to_file(file.with_name("copy.h5"))
    assert sorted(os.listdir(file.parent)) == ["run.h5"]


def test_a_nan_in_a_small_variable_is_found_at_once(file):
    with h5py.File(file, "r+") as h5:
        h5["positions"][2, 0, 0] = np.nan
    with pytest.raises(NonFiniteError, match=r"run\.h5: positions, frame 2"):
        edviz.open(file)


def test_an_open_trajectory_keeps_its_frames_when_the_file_is_replaced(file, trajectory, make_trajectory):
    before = edviz.open(file)
    other = make_trajectory(seed=1)
    other.to_file(file)
    after = edviz.open(file)
    assert np.array_equal(before.frame(2), trajectory.frame(2))
    assert np.array_equal(after.frame(2), other.frame(2))


def test_a_replaced_file_that_was_closed_is_refused(file, make_trajectory):
    before = edviz.open(file)
    native.close_handles()
    make_trajectory(seed=1).to_file(file)
    with pytest.raises(FileFormatError, match="was replaced since it was opened: open it again"):
        before.frame(2)
    file.unlink()
    native.close_handles()
    with pytest.raises(FileNotFoundError, match="gone since it was opened"):
        before.frame(2)


def test_a_trajectory_can_be_written_over_its_own_file(file, trajectory):
    edviz.open(file).resample_grid((4, 4, 4)).to_file(file)
    assert edviz.open(file).frame(1).shape == (4, 4, 4)


def test_few_files_stay_open(make_trajectory, tmp_path, monkeypatch):
    monkeypatch.setattr(native, "_MAX_HANDLES", 3)
    opened = []
    for i in range(6):
        make_trajectory(seed=i).to_file(tmp_path / f"{i}.h5")
        opened.append(edviz.open(tmp_path / f"{i}.h5"))
    assert len(native._handles) <= 3
    for i, traj in enumerate(opened):
        assert np.array_equal(traj.frame(2), make_trajectory(seed=i).frame(2))


def test_files_can_be_pickled_and_read_after_a_fork(file, trajectory):
    traj = pickle.loads(pickle.dumps(edviz.open(file)))
    traj.frame(0)
    reader, writer = os.pipe()
    with native._handles_lock:  # a child must not wait for a lock that its parent's other thread held
        child = os.fork()
        if child == 0:
            try:
                with h5py.File(file) as h5:
                    expected = h5["density"][4]
                good = np.array_equal(traj.density.isel(time=4).data.compute(scheduler="synchronous"), expected)
                os.write(writer, b"1" if good else b"0")
            finally:
                os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    assert os.read(reader, 1) == b"1"
    assert np.array_equal(traj.frame(3), trajectory.frame(3))


# Files that are not whole


@pytest.mark.parametrize("fraction", [0.02, 0.3, 0.7, 0.999])
def test_truncated_files(file, fraction):
    content = file.read_bytes()
    file.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(TruncatedFileError, match=r"run\.h5 .*copy it again"):
        edviz.open(file)


def test_a_damaged_frame_is_noticed_and_named(file, trajectory):
    with h5py.File(file) as h5:
        chunk = h5["density"].id.get_chunk_info(3)
    content = bytearray(file.read_bytes())
    middle = chunk.byte_offset + chunk.size // 2
    content[middle : middle + 8] = bytes(8)
    damaged = file.with_name("damaged.h5")
    damaged.write_bytes(content)
    traj = edviz.open(damaged)
    assert np.array_equal(traj.frame(2), trajectory.frame(2))
    with pytest.raises(TruncatedFileError, match=r"damaged\.h5: density at frame 3 cannot be read"):
        traj.frame(3)


def test_an_empty_file(tmp_path):
    (tmp_path / "run.h5").touch()
    with pytest.raises(TruncatedFileError, match="is empty"):
        edviz.open(tmp_path / "run.h5")


def test_garbage_and_foreign_files(tmp_path):
    garbage = tmp_path / "run.h5"
    garbage.write_bytes(b"not a trajectory at all")
    with pytest.raises(FileFormatError, match=r"run\.h5 is in no format edviz reads \(.*edviz native"):
        edviz.open(garbage)
    with h5py.File(garbage, "w") as h5:
        h5["rho"] = np.ones((3, 4, 4, 4))
    with pytest.raises(FileFormatError, match=r"no variable 'density'.*it has rho.*from_arrays"):
        edviz.open(garbage)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileFormatError, match="is a folder"):
        edviz.open(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"missing\.h5 does not exist"):
        edviz.open(tmp_path / "missing.h5")
    with pytest.raises(FileNotFoundError, match="no file matches"):
        edviz.open(tmp_path / "*.cube")
    with pytest.raises(FileNotFoundError, match="empty"):
        edviz.open([])


def test_wrong_units_in_a_file(file):
    with h5py.File(file, "r+") as h5:
        h5["density"].attrs["units"] = "e/bohr^3"
    with pytest.raises(UnitsError, match=r"run\.h5: density is in 'e/bohr\^3'; it must be in 'e/angstrom\^3'"):
        edviz.open(file)


def test_wrong_values_in_a_file(file):
    with h5py.File(file, "r+") as h5:
        h5["density"][:] = h5["density"][:] * 0.529177**3
    with pytest.raises(UnitsError, match=r"run\.h5: the density integrates to 0\.59.* e/bohr"):
        edviz.open(file)


def test_missing_attributes_in_a_file(file):
    with h5py.File(file, "r+") as h5:
        del h5.attrs["density_kind"]
    with pytest.raises(SchemaError, match=r"run\.h5: the dataset has no attribute 'density_kind'"):
        edviz.open(file)


# Writing whole or not at all


def test_a_failed_write_leaves_the_old_file(file, make_trajectory, trajectory):
    density = trajectory.density.values.copy()
    density[4, 0, 0, 0] = np.nan
    broken = make_trajectory(density=da.from_array(density, chunks=(1, 6, 5, 8)))
    with pytest.raises(NonFiniteError, match="frame 4"):
        broken.to_file(file)
    assert np.array_equal(edviz.open(file).density.values, trajectory.density.values)
    assert os.listdir(file.parent) == ["run.h5"]


def test_a_full_disk_is_a_write_error_that_leaves_the_old_file(file, trajectory):
    script = f"""
        import resource
        import edviz
        traj = edviz.open({str(file)!r}).resample_grid((24, 24, 24))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            traj.to_file({str(file)!r})
        except edviz.errors.WriteError as error:
            print(error)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert "run.h5 could not be written" in run.stdout and "Free space" in run.stdout, run.stderr
    assert run.returncode == 0, run.stderr
    assert np.array_equal(edviz.open(file).density.values, trajectory.density.values)
    assert os.listdir(file.parent) == ["run.h5"]


def test_a_folder_that_does_not_exist(trajectory, tmp_path):
    with pytest.raises(WriteError, match="could not be written"):
        trajectory.to_file(tmp_path / "missing" / "run.h5")


def test_an_unknown_suffix_lists_the_known_ones(trajectory, tmp_path):
    with pytest.raises(FileFormatError, match=r"no format for the suffix '.xyz'.*\.h5"):
        trajectory.to_file(tmp_path / "run.xyz")


# Several files


def test_a_list_or_a_pattern_is_joined_in_time(trajectory, tmp_path):
    for i, part in enumerate((trajectory[:2], trajectory[2:3], trajectory[3:])):
        part.to_file(tmp_path / f"run-{9 + i}.h5")
    files = [tmp_path / f"run-{i}.h5" for i in (9, 10, 11)]
    for joined in (edviz.open(files), edviz.open(tmp_path / "run-*.h5"), edviz.open(str(tmp_path / "run-?*.h5"))):
        xr.testing.assert_identical(joined.ds.compute(), trajectory.ds)
        assert joined.density.chunks[0] == (1,) * 5


def test_files_that_do_not_fit_together(trajectory, make_trajectory, tmp_path):
    def save(traj, name):
        traj.to_file(tmp_path / name)
        return tmp_path / name

    first = save(trajectory[:2], "first.h5")
    good = save(trajectory[2:3], "good.h5")
    others = {
        "grid": make_trajectory(shape=(6, 5, 6)),
        "cell": make_trajectory(cell=trajectory.grid.cell * 1.001),
        "density kind": make_trajectory(density_kind="pseudo"),
        "variables": make_trajectory(energy=None),
        "atoms": make_trajectory(numbers=[3, 3, 3, 11]),
        "electrons": make_trajectory(density=2 * trajectory.density.values),
        "samples": make_trajectory(n_samples=2),
    }
    for what, other in others.items():
        bad = save(other[3:], "bad.h5")
        with pytest.raises(GridMismatchError, match=rf"bad\.h5 cannot follow .*first\.h5: .*{what}"):
            edviz.open([first, good, bad])
    with pytest.raises(SchemaError, match=r"good\.h5 starts at 23 fs, not after"):
        edviz.open([first, good, good])
