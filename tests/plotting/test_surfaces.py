from __future__ import annotations

import numpy as np
import pytest

from edviz.errors import ArgumentError
from edviz.plotting.surfaces import extract_surface, level_from_fraction, subdivide

CUBE = np.diag([10.0, 10.0, 10.0])
SKEWED = np.array([[10.0, 0.0, 0.0], [3.0, 9.0, 0.0], [1.0, 2.0, 11.0]])
RADIUS, WIDTH = 2.5, 1.5
LEVEL = float(np.exp(-(RADIUS**2) / (2 * WIDTH**2)))
AREA, VOLUME = 4 * np.pi * RADIUS**2, 4 / 3 * np.pi * RADIUS**3


@pytest.mark.parametrize("cell", [CUBE, SKEWED, CUBE @ np.diag([1, 1, -1])], ids=["cube", "skewed", "left-handed"])
@pytest.mark.parametrize("centre", [(0.5, 0.5, 0.5), (0.0, 0.0, 0.0), (0.03, 0.97, 0.5)])
def test_sphere_has_its_area_and_volume_wherever_it_lies(gaussian, cell, centre):
    values = gaussian(cell, (32, 30, 36), centre, WIDTH)
    surface = extract_surface(values, cell, LEVEL, capped=True)
    assert surface.area == pytest.approx(AREA, rel=0.01)
    assert surface.volume == pytest.approx(VOLUME, rel=0.01)


@pytest.mark.parametrize("cell", [CUBE, SKEWED])
def test_translation_by_grid_steps_changes_neither_area_nor_volume(gaussian, cell):
    values = gaussian(cell, (24, 26, 28), (0.4, 0.55, 0.5), WIDTH) + 0.7 * gaussian(
        cell, (24, 26, 28), (0.6, 0.3, 0.45)
    )
    here = extract_surface(values, cell, LEVEL, capped=True)
    for shift in [(12, 0, 0), (11, 13, 14), (5, 20, 27)]:
        there = extract_surface(np.roll(values, shift, axis=(0, 1, 2)), cell, LEVEL, capped=True)
        assert there.area == pytest.approx(here.area, rel=1e-6)
        assert there.volume == pytest.approx(here.volume, rel=1e-6)


def test_volume_scales_with_the_determinant(gaussian):
    """The same field in fractional coordinates, in another cell: an affine map."""
    values = gaussian(CUBE, (30, 30, 30), (0.0, 0.5, 0.1), WIDTH)
    cube = extract_surface(values, CUBE, LEVEL, capped=True)
    skewed = extract_surface(values, SKEWED, LEVEL, capped=True)
    assert skewed.volume / cube.volume == pytest.approx(np.linalg.det(SKEWED) / np.linalg.det(CUBE), rel=1e-9)


def test_surface_ends_exactly_at_the_border_and_goes_on_at_the_opposite_face(gaussian):
    values = gaussian(CUBE, (20, 20, 20), (0.0, 0.5, 0.5), WIDTH)
    surface = extract_surface(values, CUBE, LEVEL)
    x = surface.vertices[:, 0]
    assert x.min() == 0.0
    assert x.max() == 10.0
    left, right = (np.unique(surface.vertices[x == edge][:, 1:].round(9), axis=0) for edge in (0.0, 10.0))
    assert len(left) > 20
    np.testing.assert_allclose(left, right, atol=1e-6)


def test_above_and_below_share_the_cell_between_them(gaussian):
    values = gaussian(SKEWED, (24, 24, 24), (0.1, 0.9, 0.2), WIDTH)
    above = extract_surface(values, SKEWED, LEVEL, capped=True)
    below = extract_surface(values, SKEWED, LEVEL, capped=True, inside="below")
    assert above.volume + below.volume == pytest.approx(np.linalg.det(SKEWED), rel=1e-6)
    assert above.area == pytest.approx(below.area, rel=1e-6)


@pytest.mark.parametrize("inside", ["above", "below"])
@pytest.mark.parametrize("capped", [True, False])
@pytest.mark.parametrize("cell", [SKEWED, SKEWED @ np.diag([1, -1, 1])], ids=["right-handed", "left-handed"])
def test_normals_and_faces_point_out_of_the_enclosed_region(gaussian, cell, capped, inside):
    values = gaussian(cell, (24, 26, 28), (0.05, 0.5, 0.5), WIDTH)
    surface = extract_surface(values, cell, LEVEL, capped=capped, inside=inside)
    corners = surface.vertices[surface.faces]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("ij,ij->i", faces, surface.normals[surface.faces].sum(axis=1)) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(surface.normals, axis=1), 1.0, rtol=1e-9)
    # Radially outward on the sphere itself.
    sphere = np.unique(surface.faces[~surface.caps])
    offset = surface.vertices[sphere] @ np.linalg.inv(cell) - [0.05, 0.5, 0.5]
    radial = (offset - np.round(offset)) @ cell / RADIUS
    cosine = np.einsum("ij,ij->i", radial, surface.normals[sphere]) * (1 if inside == "above" else -1)
    assert cosine.min() > 0.98


def test_caps_lie_flat_on_the_border(gaussian):
    values = gaussian(SKEWED, (20, 22, 24), (0.0, 0.0, 0.0), WIDTH)
    surface = extract_surface(values, SKEWED, LEVEL, capped=True)
    fractional = surface.vertices[surface.faces[surface.caps]] @ np.linalg.inv(SKEWED)
    flat = (np.abs(fractional) < 1e-12) | (np.abs(fractional - 1) < 1e-12)
    assert flat.all(axis=1).any(axis=1).all()
    assert not surface.caps.all()


def test_axes_are_a_b_c_in_that_order(gaussian):
    """A lump at (0.2, 0.4, 0.7) of an oblong grid is found there, not at a permutation."""
    cell = np.diag([6.0, 9.0, 12.0])
    surface = extract_surface(gaussian(cell, (16, 20, 28), (0.2, 0.4, 0.7), 0.8), cell, 0.5)
    np.testing.assert_allclose(surface.vertices.mean(axis=0), [1.2, 3.6, 8.4], atol=0.02)


def test_polydata_keeps_points_faces_and_normals(gaussian):
    surface = extract_surface(gaussian(CUBE, (16, 16, 16), (0.0, 0.5, 0.5)), CUBE, LEVEL, capped=True)
    mesh = surface.to_polydata()
    assert mesh.n_points == len(surface.vertices)
    assert mesh.area == pytest.approx(surface._face_areas().sum(), rel=1e-5)
    assert mesh.volume == pytest.approx(surface.volume, rel=1e-5)
    np.testing.assert_allclose(mesh.point_normals, surface.normals, atol=1e-6)


def test_an_open_surface_has_no_volume(gaussian):
    surface = extract_surface(gaussian(CUBE, (16, 16, 16), (0.0, 0.5, 0.5)), CUBE, LEVEL)
    with pytest.raises(ArgumentError, match="capped=True"):
        _ = surface.volume


@pytest.mark.parametrize("level", [-0.1, 0.0, 1.0, 2.0, np.nan])
def test_a_level_outside_the_range_says_what_the_range_is(gaussian, level):
    values = gaussian(CUBE, (16, 16, 16), (0.5, 0.5, 0.5)).clip(0.0)
    values[0, 0, 0] = 0.0
    with pytest.raises(ArgumentError, match=r"between 0 and 1;"):
        extract_surface(values, CUBE, level)


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.5, 0.9, 0.999])
def test_level_from_fraction_agrees_with_sorting_and_summing(fraction):
    values = np.random.default_rng(0).lognormal(size=(12, 13, 14))
    level = level_from_fraction(values, fraction)
    ordered = sorted(values.ravel(), reverse=True)
    total, taken = 0.0, 0
    while total < fraction * sum(ordered):
        total += ordered[taken]
        taken += 1
    assert (values > level).sum() == taken
    assert level == pytest.approx((ordered[taken - 1] + ordered[taken]) / 2)


def test_level_from_fraction_of_a_gaussian_is_analytic(gaussian):
    """The sphere that holds half of a normal distribution in three dimensions has radius 1.5382 standard deviations."""
    values = gaussian(np.diag([16.0, 16.0, 16.0]), (64, 64, 64), (0.503, 0.507, 0.511), 1.5)
    assert level_from_fraction(values, 0.5) == pytest.approx(np.exp(-(1.53817**2) / 2), rel=0.01)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.2, 50.0])
def test_a_fraction_outside_zero_to_one_is_refused(fraction):
    with pytest.raises(ArgumentError, match="between 0 and 1"):
        level_from_fraction(np.arange(8.0).reshape(2, 2, 2), fraction)


def test_a_uniform_field_has_no_level():
    with pytest.raises(ArgumentError, match="uniform"):
        level_from_fraction(np.ones((3, 3, 3)), 0.5)


def test_subdividing_keeps_points_range_and_periodicity_and_is_fourth_order(gaussian):
    errors = []
    for n in (12, 24):
        x = 2 * np.pi * np.arange(n) / n
        coarse = np.sin(x)[:, None, None] + np.cos(x)[None, :, None] * np.ones(n)
        fine = subdivide(coarse, 1)
        assert fine.shape == (2 * n, 2 * n, 2 * n)
        np.testing.assert_array_equal(fine[::2, ::2, ::2], coarse)
        assert coarse.min() <= fine.min()
        assert fine.max() <= coarse.max()
        y = np.pi * np.arange(2 * n) / n
        errors.append(np.abs(fine - (np.sin(y)[:, None, None] + np.cos(y)[None, :, None])).max())
    assert errors[1] < errors[0] / 10
    values = gaussian(CUBE, (16, 16, 16), (0.5, 0.5, 0.5))
    np.testing.assert_allclose(
        subdivide(np.roll(values, 5, axis=1), 1), np.roll(subdivide(values, 1), 10, axis=1), atol=1e-15
    )


def test_subdividing_brings_the_volume_nearer_to_the_truth(gaussian):
    values = gaussian(CUBE, (20, 20, 20), (0.5, 0.5, 0.5), WIDTH)
    coarse, fine = (extract_surface(subdivide(values, n), CUBE, LEVEL, capped=True).volume for n in (0, 2))
    assert abs(fine - VOLUME) < abs(coarse - VOLUME) / 4
