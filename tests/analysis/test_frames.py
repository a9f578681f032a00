from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from edviz import DensityTrajectory
from edviz.analysis.frames import as_trajectory, batches, check_comparable, even_interval, matching_frames, mean_density
from edviz.errors import GridMismatchError, MissingDataError, NonFiniteError, SchemaError


def test_a_dataset_serves_as_well_as_a_trajectory(make_noise):
    traj = make_noise()
    assert as_trajectory(traj) is traj
    xr.testing.assert_identical(as_trajectory(traj.ds).ds, traj.ds)


@pytest.mark.parametrize("n_samples", [None, 3])
def test_batches_give_every_frame_once_in_order(make_noise, small_batches, n_samples):
    traj = make_noise(n_frames=7, n_samples=n_samples)
    found = list(batches(traj))
    assert len(found) == 4  # two frames at a time
    joined = np.concatenate([values for _, values in found], axis=1)
    np.testing.assert_array_equal(joined if n_samples else joined[0], traj.density.values)
    assert [s.start for s, _ in found] == [0, 2, 4, 6]


def test_batches_name_the_frame_that_is_not_a_number(make_noise):
    ds = make_noise(n_frames=6, n_samples=2).ds.copy(deep=True)
    ds["density"].values[1, 4, 0, 0, 0] = np.nan
    traj = DensityTrajectory._from_valid(ds)
    with pytest.raises(NonFiniteError, match=r"generated: density, frame 4"):
        list(batches(traj, where="generated"))


def test_mean_density(make_noise):
    traj = make_noise()
    assert mean_density(traj) == pytest.approx(float(traj.density.mean()), rel=1e-6)
    potential = DensityTrajectory.from_arrays(traj.density.values, 5 * np.eye(3), traj.time, density_kind="elf")
    with pytest.raises(SchemaError, match="elf"):
        mean_density(potential)


def test_uneven_frames_are_named(make_noise):
    time = np.array([0.0, 10, 20, 40, 50])
    with pytest.raises(MissingDataError, match="frame 3 comes 20 fs after frame 2"):
        even_interval(make_noise(n_frames=5, time=time))
    assert even_interval(make_noise(n_frames=5)) == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (8, 8, 10)}, "resample_grid"),
        ({"cell": 5.01 * np.eye(3), "n_electrons": 125.0}, "cell differs"),
        ({"density_kind": "total"}, "with_core"),
        ({"time": 20.0 * np.arange(20)}, r"traj\[::2\]"),
        ({"time": 15.0 * np.arange(20)}, "Neither divides"),
        ({"n_electrons": 125.5}, "n_electrons"),
    ],
)
def test_what_cannot_be_compared(make_noise, changes, message):
    reference = make_noise()
    check_comparable(make_noise(seed=1), reference, "generated")
    with pytest.raises(GridMismatchError, match=message):
        check_comparable(make_noise(**changes), reference, "generated")


def test_matching_frames():
    ours, theirs = matching_frames(np.array([20.0, 30.0, 45.0, 60.0]), 10.0 * np.arange(6), 10.0)
    assert ours.tolist() == [0, 1] and theirs.tolist() == [2, 3]
    ours, theirs = matching_frames(np.array([100.0]), 10.0 * np.arange(6), 10.0)
    assert not len(ours) and not len(theirs)
    # times that went through arithmetic
    ours, theirs = matching_frames(5070 + 10.0 * np.arange(3) + 1e-9, 5060 + 10.0 * np.arange(4), 10.0)
    assert theirs.tolist() == [1, 2, 3]
