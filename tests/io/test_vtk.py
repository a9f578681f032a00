"""VTK files read back by VTK: every value at its place in space."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from edviz.errors import ArgumentError

pv = pytest.importorskip("pyvista")

ROTATION = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


def check(mesh, frame, periodic):
    """Each grid point's value is found at its Cartesian position, the repeated planes included."""
    shape = frame.grid.shape
    points = [n + flag for n, flag in zip(shape, periodic, strict=True)]
    index = np.stack(np.meshgrid(*map(np.arange, points), indexing="ij"), axis=-1)
    xyz = (index / shape) @ frame.grid.cell + frame.ds.attrs["origin"]
    order = tuple(index.reshape(-1, 3).T)
    np.testing.assert_allclose(mesh.points, np.stack([xyz[..., i].ravel(order="F") for i in range(3)], 1), atol=1e-5)
    expected = frame.frame(0)[tuple(o % n for o, n in zip(order, shape, strict=True))].reshape(points)
    np.testing.assert_array_equal(mesh.point_data["density"], expected.ravel(order="F"))


@pytest.mark.parametrize("periodic", [(1, 1, 1), (1, 1, 0)])
def test_images_of_turned_cells(make_trajectory, tmp_path, periodic):
    cell = np.diag([4.0, 5.0, 6.0]) @ ROTATION
    frame = make_trajectory(n_frames=1, cell=cell, n_electrons=None, periodic=periodic, origin=(0.1, 0.2, 0.3))
    frame.to_file(tmp_path / "x.vti")
    check(pv.read(tmp_path / "x.vti"), frame, periodic)


def test_oblique_cells_need_a_structured_grid(make_trajectory, tmp_path):
    frame = make_trajectory(n_frames=1)
    with pytest.raises(ArgumentError, match=r"oblique: write \.vts"):
        frame.to_file(tmp_path / "x.vti")
    frame.to_file(tmp_path / "x.vts")
    check(pv.read(tmp_path / "x.vts"), frame, (1, 1, 1))


def test_a_time_series(make_trajectory, tmp_path):
    traj = make_trajectory(n_frames=3)
    traj.to_file(tmp_path / "run.pvd")
    reader = pv.get_reader(tmp_path / "run.pvd")
    assert reader.time_values == traj.time.tolist()
    for i in range(3):
        reader.set_active_time_point(i)
        check(reader.read()[0], traj[i], (1, 1, 1))
    files = [one.get("file") for one in ElementTree.parse(tmp_path / "run.pvd").iter("DataSet")]
    assert files == [f"run/frame-{i:06d}.vts" for i in range(3)]
