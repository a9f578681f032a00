from __future__ import annotations

import base64
import pickle
import re
import struct
import zlib
from importlib import import_module

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from edviz import DensityTrajectory
from edviz.errors import GridMismatchError, MissingDataError, NonFiniteError, SchemaError, UnitsError
from edviz.grid import PeriodicGrid
from edviz.trajectory import DELEGATES

SKEWED = np.array([[5.0, 0.0, 0.0], [1.0, 4.5, 0.0], [-0.7, 0.4, 6.0]])


def lazy(trajectory, chunks):
    return da.from_array(trajectory.density.values, chunks=chunks)


# from_arrays and what it holds


def test_what_a_trajectory_holds(trajectory):
    assert len(trajectory) == trajectory.n_frames == 5
    assert trajectory.density.dims == ("time", "a", "b", "c")
    assert trajectory.density.dtype == np.float32
    assert trajectory.time.tolist() == [3, 13, 23, 33, 43]
    assert trajectory.frame_interval == 10
    assert trajectory.n_electrons == 4
    assert trajectory.density_kind == "valence"
    assert not trajectory.is_ensemble and trajectory.n_samples == 1
    assert trajectory.sample(0) is trajectory
    assert trajectory.grid.matches(PeriodicGrid(SKEWED, (6, 5, 8)))
    assert np.array_equal(trajectory.frame(-1), trajectory.density.values[4])
    with pytest.raises(IndexError, match="frame 5 of 5"):
        trajectory.frame(5)


def test_a_single_frame_needs_no_time(recwarn):
    density = np.full((4, 4, 4), 2.0)
    one = DensityTrajectory.from_arrays(density, np.eye(3) * 2, positions=[[0, 0, 0]], numbers=[3], energy=-1.0)
    assert one.n_frames == 1 and one.n_electrons == 16
    assert one.ds["positions"].shape == (1, 1, 3) and one.ds["energy"].shape == (1,)
    assert not recwarn
    with pytest.raises(MissingDataError, match="at least two"):
        _ = one.frame_interval
    assert "at 0 fs" in repr(one)


def test_frames_without_time_count_one_fs_apart_with_a_warning(make_trajectory):
    with pytest.warns(UserWarning, match="1 fs apart"):
        assert make_trajectory(time=None).time.tolist() == [0, 1, 2, 3, 4]


def test_ensembles(make_trajectory):
    ensemble = make_trajectory(n_samples=3)
    assert ensemble.is_ensemble and ensemble.n_samples == 3
    assert ensemble.density.dims == ("sample", "time", "a", "b", "c")
    assert ensemble.frame(2).shape == (3, 6, 5, 8)
    one = ensemble.sample(-1)
    assert not one.is_ensemble
    assert np.array_equal(one.frame(2), ensemble.frame(2)[2])
    with pytest.raises(IndexError, match="sample 3 of 3"):
        ensemble.sample(3)


def test_other_fields_have_no_electrons(make_trajectory):
    potential = make_trajectory(density_kind="potential")
    assert potential.density.attrs["units"] == "eV"
    with pytest.raises(MissingDataError, match="does not integrate"):
        _ = potential.n_electrons
    with pytest.raises(SchemaError, match="n_electrons belongs to densities"):
        make_trajectory(density_kind="potential", n_electrons=4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"density": np.ones((6, 5))}, "density must be"),
        ({"density": np.ones((5, 6, 5, 8), dtype=complex)}, "real numbers"),
        ({"time": [0, 1, 2]}, "do not fit together"),
        ({"time": [0, 1, 2, 2, 3]}, "increase strictly"),
        ({"positions": np.zeros((5, 3, 3))}, "do not fit together"),
        ({"positions": np.zeros((4, 3))}, "positions must have dims"),
        ({"numbers": None}, "positions need 'numbers'"),
        ({"cell": -SKEWED}, "right-handed"),
        ({"density_kind": "charge"}, "choose one of"),
    ],
)
def test_arrays_that_do_not_fit(make_trajectory, changes, message):
    with pytest.raises(SchemaError, match=message):
        make_trajectory(**changes)


def test_wrong_units_are_recognised_by_the_number_of_electrons(make_trajectory, trajectory):
    bohr = trajectory.density.values * 0.529177**3
    with pytest.raises(UnitsError, match="e/bohr"):
        make_trajectory(density=bohr, n_electrons=4)
    times_volume = trajectory.density.values * np.linalg.det(SKEWED)
    with pytest.raises(UnitsError, match="CHGCAR"):
        make_trajectory(density=times_volume, n_electrons=4)


def test_nan_in_memory(make_trajectory, trajectory):
    density = trajectory.density.values.copy()
    density[3, 0, 0, 0] = np.nan
    with pytest.raises(NonFiniteError, match="density, frame 3"):
        make_trajectory(density=density)
    density[0, 0, 0, 0] = np.nan
    with pytest.raises(NonFiniteError, match="density, frame 0"):
        make_trajectory(density=density)


def test_nan_in_a_lazy_density_is_found_when_its_frame_is_read(make_trajectory, trajectory):
    density = trajectory.density.values.copy()
    density[3, 0, 0, 0] = np.inf
    traj = make_trajectory(density=da.from_array(density, chunks=(2, 6, 5, 8)))
    assert set(traj.density.chunks[0]) == {1}
    traj.frame(2)
    with pytest.raises(NonFiniteError, match="density, frame 3"):
        traj[1:].frame(2)
    with pytest.raises(NonFiniteError, match="density, frame 3"):
        traj.resample_grid((4, 4, 4)).density.mean().compute()


def test_a_dataset_with_a_lazy_density_is_checked_too(trajectory):
    density = trajectory.density.values.copy()
    density[2, 0, 0, 0] = np.nan
    ds = trajectory.ds.assign(density=(trajectory.density.dims, da.from_array(density), trajectory.density.attrs))
    with pytest.raises(NonFiniteError, match="density, frame 2"):
        DensityTrajectory(ds).density.values  # noqa: B018


def test_trajectories_can_be_pickled(make_trajectory, trajectory):
    copy = pickle.loads(pickle.dumps(make_trajectory(density=lazy(trajectory, (1, 6, 5, 8))).renormalized()))
    assert copy.frame(1) == pytest.approx(trajectory.frame(1))


# Selecting


def test_selecting_frames(trajectory):
    assert trajectory[1:4].time.tolist() == [13, 23, 33]
    assert trajectory[::2].time.tolist() == [3, 23, 43]
    assert trajectory[-1].time.tolist() == [43]
    assert trajectory[[0, 3]].time.tolist() == [3, 33]
    assert trajectory.isel(time=slice(2)).time.tolist() == [3, 13]
    assert [one.time[0] for one in trajectory] == [3, 13, 23, 33, 43]
    assert np.array_equal(trajectory[1:].frame(1), trajectory.frame(2))
    assert np.array_equal(trajectory[2].ds["positions"][0], trajectory.ds["positions"][2])
    with pytest.raises(IndexError):
        trajectory[5]
    with pytest.raises(MissingDataError, match="no frame left"):
        trajectory[5:]
    with pytest.raises(SchemaError, match="order of time"):
        trajectory[::-1]


def test_selecting_times(trajectory):
    assert trajectory.sel(time=slice(10, 33)).time.tolist() == [13, 23, 33]
    assert trajectory.sel(time=23).time.tolist() == [23]
    assert trajectory.sel(time=[25, 44], method="nearest").time.tolist() == [23, 43]
    with pytest.raises(MissingDataError, match="runs from 3 to 43 fs"):
        trajectory.sel(time=24)
    with pytest.raises(MissingDataError, match="no frame left"):
        trajectory.sel(time=slice(100, 200))


def test_the_split_is_absolute(make_trajectory):
    split = {"train_end_fs": 23.0, "validation_start_fs": 20.0, "test_start_fs": 40.0}
    traj = make_trajectory(attrs=split)
    assert traj.split("train").time.tolist() == [3, 13, 23]
    assert traj.split("validation").time.tolist() == [23]
    assert traj.split("test").time.tolist() == [43]
    assert traj[1:].split("train").time.tolist() == [13, 23]
    assert traj[::2].resample_grid((4, 4, 4)).split("train").time.tolist() == [3, 23]
    with pytest.raises(MissingDataError, match="no frame left"):
        traj[:3].split("test")
    with pytest.raises(ValueError, match="train, validation, test"):
        traj.split("rest")
    with pytest.raises(MissingDataError, match="validation_start_fs and train_end_fs"):
        make_trajectory().split("validation")


# Changing


@pytest.mark.parametrize("chunks", [None, (1, 6, 5, 8), (5, 3, 5, 8)])
def test_resampling_keeps_charge_and_everything_else(make_trajectory, trajectory, chunks):
    traj = make_trajectory(density=lazy(trajectory, chunks)) if chunks else trajectory
    finer = traj.resample_grid((8, 9, 10))
    assert set(finer.density.chunks[0]) == {1}
    assert finer.density.shape == (5, 8, 9, 10)
    assert finer.density.dtype == np.float32
    assert finer.density.attrs == traj.density.attrs
    values = finer.density.values.astype(float)
    assert values.mean(axis=(1, 2, 3)) * finer.grid.volume == pytest.approx(4, rel=1e-6)
    assert "6 x 5 x 8 to 8 x 9 x 10" in finer.ds.attrs["history"]
    xr.testing.assert_identical(finer.ds.drop_vars("density").drop_attrs(), traj.ds.drop_vars("density").drop_attrs())
    assert finer.resample_grid((6, 5, 8)).frame(2) == pytest.approx(traj.frame(2), abs=1e-6)
    assert traj.density.shape == (5, 6, 5, 8) and "history" not in traj.ds.attrs


def test_resampling_takes_every_field_along(make_trajectory, trajectory):
    magnetization = np.stack([trajectory.density.values] * 3)
    traj = make_trajectory(magnetization=magnetization)
    traj.ds["mask"] = (("a", "b", "c"), trajectory.frame(0))
    finer = traj.resample_grid((8, 9, 10))
    assert finer.ds["magnetization"].dims == ("component", "time", "a", "b", "c")
    assert np.array_equal(finer.ds["magnetization"].values[2, 3], finer.frame(3))
    assert np.array_equal(finer.ds["mask"].values, finer.frame(0))


def test_renormalized(trajectory, make_trajectory):
    density = trajectory.density.values * np.linspace(1, 1.2, 5)[:, None, None, None]
    fixed = make_trajectory(density=density).renormalized()
    assert fixed.density.values == pytest.approx(trajectory.density.values, rel=1e-6)
    ds = make_trajectory(density=density).ds.copy()
    ds["cell"] = (
        ("time", "vector", "xyz"),
        np.stack([SKEWED * (1 + 0.01 * i) for i in range(5)]),
        {"units": "angstrom"},
    )
    growing = DensityTrajectory(ds).renormalized()
    assert growing.frame(3).mean() * np.linalg.det(SKEWED * 1.03) == pytest.approx(4, rel=1e-6)


def test_a_cell_that_changes_has_a_grid_frame_by_frame(trajectory):
    ds = trajectory.ds.copy()
    ds["cell"] = (
        ("time", "vector", "xyz"),
        np.stack([SKEWED * (1 + 0.01 * i) for i in range(5)]),
        {"units": "angstrom"},
    )
    traj = DensityTrajectory(ds)
    with pytest.raises(GridMismatchError, match="changes in time"):
        _ = traj.grid
    assert traj[2].grid.cell == pytest.approx(SKEWED * 1.02)
    assert "(first frame)" in traj._repr_html_()


# Leaving


def test_to_ase(trajectory):
    frames = trajectory.to_ase()
    assert len(frames) == 5
    assert frames[2].positions == pytest.approx(trajectory.ds["positions"].values[2])
    assert frames[2].cell.array == pytest.approx(SKEWED)
    assert frames[2].get_chemical_formula() == "Li4" and frames[2].pbc.all()
    assert frames[2].info["time_fs"] == 23


def test_to_ase_converts_velocities(lithium):
    from ase import units

    atoms = lithium[3].to_ase()[0]
    # The engine holds the centre of mass still, so it counts the degrees of freedom of 53 atoms.
    temperature = atoms.get_kinetic_energy() / (1.5 * 53 * units.kB)
    assert temperature == pytest.approx(float(lithium.ds["temperature"][3]), rel=1e-4)


def test_to_ase_needs_positions(make_trajectory):
    with pytest.raises(MissingDataError, match="to_ase"):
        make_trajectory(positions=None, velocities=None, forces=None).to_ase()


def test_the_line(trajectory, make_trajectory):
    expected = "<DensityTrajectory Li4, valence, 5 frames, 3 to 43 fs every 10 fs, 6 × 5 × 8 points>"
    assert repr(trajectory) == expected
    assert "2 samples" in repr(make_trajectory(n_samples=2))


def decoded_png(page):
    """The picture in a card as (height, width, 4)."""
    data = base64.b64decode(re.search(r"base64,([^\"]+)", page)[1])
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, body = 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        content = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + content)
        if kind == b"IHDR":
            width, height = struct.unpack(">II", content[:8])
        body += content if kind == b"IDAT" else b""
        at += 12 + length
    return np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, -1)[:, 1:].reshape(height, width, 4)


def test_the_card(lithium):
    page = lithium._repr_html_()
    for text in (
        "Li<sub>54</sub>",
        "10.88",
        "90°",
        "32 × 32 × 32",
        "634 frames",
        "6330 fs",
        "every 10 fs",
        ">54<",
        "Espresso",
    ):
        assert text.lower() in page.lower()
    assert len(page) < 100_000
    assert decoded_png(page).shape == (168, 168, 4)


def test_the_card_computes_one_frame_only(trajectory, make_trajectory):
    read = []

    def spy(block, block_info=None):
        if block_info:
            read.append(block_info[0]["array-location"][0][0])
        return block

    density = lazy(trajectory, (1, 6, 5, 8)).map_blocks(spy, dtype=np.float32, meta=np.empty((0,) * 4, np.float32))
    traj = make_trajectory(density=density, n_electrons=4)
    read.clear()
    repr(traj)
    assert read == []
    traj._repr_html_()
    assert read == [2]


def test_the_thumbnail_has_the_shape_of_the_cell():
    cell = np.array([[5, 0, 0], [-2.5, 4.33, 0], [0, 0, 6.0]])
    a, b, _ = np.meshgrid(np.arange(30) / 30, np.arange(20) / 20, np.arange(4) / 4, indexing="ij")
    density = 1 + np.exp(-60 * ((a - 0.25) ** 2 + (b - 0.75) ** 2))
    picture = decoded_png(DensityTrajectory.from_arrays(density, cell)._repr_html_())
    height, width, _ = picture.shape
    assert height / width == pytest.approx(4.33 / 7.5, abs=0.01)
    row, column = np.unravel_index(picture[..., :2].sum(-1).argmax(), (height, width))
    # a points to the right, b up and to the left.
    assert column / width == pytest.approx((0.25 * 5 - 0.75 * 2.5 + 2.5) / 7.5, abs=0.03)
    assert row / height == pytest.approx(0.25, abs=0.03)
    assert picture[-1, 0, 3] == 0 and picture[0, -1, 3] == 0 and picture[height // 2, width // 2, 3] == 255


def test_the_card_shows_a_damaged_frame_as_such(trajectory, make_trajectory):
    density = trajectory.density.values.copy()
    density[2, 0, 0, 0] = np.nan
    page = make_trajectory(density=da.from_array(density, chunks=(1, 6, 5, 8)))._repr_html_()
    assert "frame 2" in page and "<img" not in page


@pytest.mark.parametrize(("name", "target"), DELEGATES.items())
def test_lent_methods_exist_and_only_delegate(name, target, trajectory, monkeypatch):
    module, function = target.split(":")
    assert callable(getattr(import_module(module), function))
    monkeypatch.setattr(f"{module}.{function}", lambda *args, **kwargs: (args, kwargs))
    assert getattr(trajectory, name)(1, two=2) == ((trajectory, 1), {"two": 2})
