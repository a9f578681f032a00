from __future__ import annotations

import json

import numpy as np
import pytest

import edviz
from edviz.errors import ArgumentError, FrameIndexError
from edviz.plotting.slices import plot_slice

CELL = np.diag([4.0, 5.0, 6.0])


@pytest.fixture
def oblong() -> edviz.DensityTrajectory:
    """Value 1 + i + 10 j + 100 k: every index shows in it; one atom at (0.5, 0.4, 0.75), one in the corner."""
    i, j, k = np.meshgrid(np.arange(4), np.arange(5), np.arange(6), indexing="ij")
    return edviz.DensityTrajectory.from_arrays(
        1.0 + i + 10 * j + 100 * k, CELL, positions=[[2.0, 2.0, 4.5], [0.0, 0.0, 0.0]], numbers=[3, 8]
    )


@pytest.mark.parametrize(
    ("axis", "index", "expected"),
    [
        ("a", 2, lambda u, v: 1 + 2 + 10 * (u % 5) + 100 * (v % 6)),
        (1, 3, lambda u, v: 1 + (u % 4) + 30 + 100 * (v % 6)),
        ("c", -1, lambda u, v: 1 + (u % 4) + 10 * (v % 5) + 500),
    ],
)
def test_rectangular_plane_shows_the_grid_points_at_their_places(oblong, axis, index, expected):
    heat = plot_slice(oblong, axis=axis, index=index, atoms=False).data[0]
    first, second = (i for i in range(3) if i != {"a": 0, "c": 2}.get(axis, axis))
    n1, n2 = oblong.grid.shape[first], oblong.grid.shape[second]
    np.testing.assert_allclose(heat.x, np.linspace(0, CELL[first, first], n1 + 1))
    np.testing.assert_allclose(heat.y, np.linspace(0, CELL[second, second], n2 + 1))
    u, v = np.meshgrid(np.arange(n1 + 1), np.arange(n2 + 1))  # the last row and column repeat the first
    np.testing.assert_allclose(heat.z, expected(u, v), rtol=1e-6)


def test_position_interpolates_between_planes_and_wraps(oblong):
    between = plot_slice(oblong, position=2.5 / 6).data[0].z
    np.testing.assert_allclose(between[:-1, :-1], (oblong.frame(0)[..., 2] + oblong.frame(0)[..., 3]).T / 2)
    last = plot_slice(oblong, position=5.5 / 6).data[0].z
    np.testing.assert_allclose(last[:-1, :-1], (oblong.frame(0)[..., 5] + oblong.frame(0)[..., 0]).T / 2)
    again = plot_slice(oblong, position=5.5 / 6 - 3).data[0].z
    np.testing.assert_allclose(again, last, rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_skewed_plane_keeps_lengths_angles_and_values(axis):
    """A plane wave is read off at cartesian points of the plane."""
    cell = np.array([[6.0, 0.0, 0.0], [2.0, 7.0, 0.0], [1.0, 2.0, 8.0]])
    shape = (60, 70, 80)
    axes = np.stack(np.meshgrid(*[np.arange(n) / n for n in shape], indexing="ij"), axis=-1)
    wave = np.array([1, 2, -1])
    density = 2 + np.cos(2 * np.pi * axes @ wave)
    traj = edviz.DensityTrajectory.from_arrays(density, cell)
    heat = plot_slice(traj, axis=axis, index=0).data[0]
    first, second = (i for i in range(3) if i != axis)
    lengths, cosine = np.linalg.norm(cell, axis=1), cell[first] @ cell[second]
    assert np.max(heat.y) == pytest.approx(np.sqrt(lengths[second] ** 2 - (cosine / lengths[first]) ** 2))
    area = np.isfinite(heat.z).mean() * np.ptp(heat.x) * np.ptp(heat.y)
    assert area == pytest.approx(np.linalg.norm(np.cross(cell[first], cell[second])), rel=0.02)
    # Back from the plane's coordinates to space, and there the wave is known.
    along = cell[first] / lengths[first]
    beside = cell[second] - (cell[second] @ along) * along
    beside /= np.linalg.norm(beside)
    x, y = np.meshgrid(heat.x, heat.y)
    fractional = (x[..., None] * along + y[..., None] * beside) @ np.linalg.inv(cell)
    expected = 2 + np.cos(2 * np.pi * fractional @ wave)
    inside = np.isfinite(heat.z)
    np.testing.assert_allclose(heat.z[inside], expected[inside], atol=0.02)


def test_atoms_near_the_plane_are_marked_where_they_are(oblong):
    figure = plot_slice(oblong, axis="c", position=0.70, atom_distance=0.5)
    marks = figure.data[2]
    np.testing.assert_allclose([marks.x[0], marks.y[0]], [2.0, 2.0], atol=1e-9)
    assert len(marks.x) == 1
    assert marks.customdata[0] == pytest.approx(0.05 * 6.0)
    assert marks.text[0] == "Li (atom 0)"
    # The corner atom shows on all four corners, also from the plane just below the top of the cell.
    corners = plot_slice(oblong, axis="c", position=0.95, atom_distance=0.5).data[2]
    assert {(round(x, 6), round(y, 6)) for x, y in zip(corners.x, corners.y, strict=True)} == {
        (0.0, 0.0),
        (4.0, 0.0),
        (0.0, 5.0),
        (4.0, 5.0),
    }
    np.testing.assert_allclose(corners.customdata, 0.3)


def test_atoms_on_a_skewed_plane_sit_on_their_density(lumps):
    figure = lumps.plot_slice(0, axis="b", position=0.5)
    heat, marks = figure.data[0], figure.data[2]
    row = np.abs(np.asarray(heat.y) - marks.y[0]).argmin()
    column = np.abs(np.asarray(heat.x) - marks.x[0]).argmin()
    assert heat.z[row, column] > 0.98 * np.nanmax(heat.z)


def test_units_and_geometry_are_in_the_figure(oblong):
    layout = json.loads(plot_slice(oblong).to_json())
    assert layout["data"][0]["colorbar"]["title"]["text"] == "ρ (e/Å³)"
    assert layout["layout"]["xaxis"]["title"]["text"] == "x along a (Å)"
    assert layout["layout"]["yaxis"]["scaleanchor"] == "x"
    assert "LiO valence density, t = 0 fs" in layout["layout"]["title"]["text"]
    assert "c = 0.5, 3.00 Å" in layout["layout"]["title"]["text"]


def test_a_field_of_both_signs_has_a_map_that_is_symmetric_about_zero():
    field = np.random.default_rng(0).normal(size=(4, 4, 4)) + 0.3
    heat = edviz.DensityTrajectory.from_arrays(field, np.eye(3), density_kind="orbital").plot_slice().data[0]
    assert heat.zmin == -heat.zmax


def test_wrong_arguments_name_the_valid_ones(oblong):
    with pytest.raises(FrameIndexError, match="planes 0 to 5"):
        plot_slice(oblong, axis="c", index=6)
    with pytest.raises(FrameIndexError, match="frames 0 to 0"):
        plot_slice(oblong, 1)
    with pytest.raises(ArgumentError, match="'a', 'b', 'c'"):
        plot_slice(oblong, axis="d")
    with pytest.raises(ArgumentError, match="not both"):
        plot_slice(oblong, index=1, position=0.1)
