from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import edviz
from edviz.errors import ArgumentError, FrameIndexError
from edviz.plotting.frames import named, one_frame, periodic_images, thinned


def test_frame_is_read_with_its_own_atoms_and_time(lumps):
    frame = one_frame(lumps, -1)
    np.testing.assert_array_equal(frame.values, lumps.frame(1))
    assert (frame.index, frame.time, frame.units, frame.formula) == (1, 10.0, "e/angstrom^3", "ClNaO")
    np.testing.assert_allclose(frame.fractional[0], [0.02, 0.02, 0.02], atol=1e-9)
    assert frame.title == "ClNaO valence density, t = 10 fs"
    assert one_frame(lumps.ds.drop_vars(["numbers", "positions"]), 0).title == "Valence density, t = 0 fs"


def test_atoms_are_relative_to_the_first_grid_point_and_inside_the_cell(make_trajectory):
    traj = make_trajectory(origin=(1.0, 2.0, 3.0))
    frame = one_frame(traj, 0)
    assert (frame.fractional >= 0).all()
    assert (frame.fractional < 1).all()
    lattice = (traj.ds["positions"].values[0] - [1, 2, 3]) @ np.linalg.inv(traj.grid.cell) - frame.fractional
    np.testing.assert_allclose(lattice, lattice.round(), atol=1e-9)


def test_a_cell_that_changes_in_time_is_the_frame_s_own():
    cells = np.stack([3 * np.eye(3), 4 * np.eye(3)])
    density = np.stack([np.full((2, 2, 2), 1 / 27), np.full((2, 2, 2), 1 / 64)])
    traj = edviz.DensityTrajectory.from_arrays(density, cells, time=[0.0, 1.0])
    assert one_frame(traj, 1).cell[0, 0] == 4.0


@pytest.mark.parametrize("frame", [5, -6, 1.5])
def test_missing_frames_name_the_valid_range(trajectory, frame):
    with pytest.raises(FrameIndexError, match=r"frames 0 to 4 \(3 to 43 fs\)"):
        one_frame(trajectory, frame)


def test_atoms_on_the_border_show_on_all_sides():
    images, owners = periodic_images(np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.5], [0.3, 0.3, 0.3]]))
    assert np.bincount(owners).tolist() == [8, 2, 1]
    assert {tuple(image) for image in images[owners == 1]} == {(0.5, 0.0, 0.5), (0.5, 1.0, 0.5)}


def test_thinning_keeps_both_ends_and_ensembles(make_trajectory):
    lazy = edviz.DensityTrajectory(
        make_trajectory(9, n_samples=2, positions=None, velocities=None, forces=None).ds.chunk()
    )
    few = thinned(lazy, 3)
    assert few.time.tolist() == [3.0, 43.0, 83.0]
    assert few.density.chunks is None
    np.testing.assert_array_equal(few.density.values, lazy.density.values[:, [0, 4, 8]])
    np.testing.assert_array_equal(thinned(lazy, None).density.values, lazy.density.values)


def test_names_are_given_or_found(trajectory):
    assert list(named(trajectory)) == ["AIMD"]
    assert list(named(trajectory.ds)) == ["AIMD"]
    assert list(named([trajectory, trajectory])) == ["AIMD", "AIMD 2"]
    assert list(named({"x": trajectory})) == ["x"]
    with pytest.raises(ArgumentError):
        named({})


def test_plotting_imports_neither_torch_nor_what_it_draws_with():
    heavy = "torch", "pyvista", "vtkmodules", "plotly", "matplotlib"
    code = f"import sys, edviz.plotting; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
