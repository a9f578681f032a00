from __future__ import annotations

import numpy as np
import pytest
from ase.geometry import find_mic
from scipy.optimize import linear_sum_assignment

import edviz
from edviz.analysis.sites import count_holes, count_maxima, find_sites, hole_level, interpolate
from edviz.errors import ArgumentError, NonFiniteError
from edviz.grid import PeriodicGrid, apply_symmetry, fourier_resample

TRICLINIC = np.array([[6.0, 0.0, 0.0], [1.5, 5.5, 0.0], [-1.0, 0.8, 7.0]])
GRID = PeriodicGrid(TRICLINIC, (20, 18, 24))


def gaussians(points: np.ndarray, grid: PeriodicGrid, width: float, heights=1.0) -> np.ndarray:
    """A sum of Gaussians and all their images that matter, in real space."""
    axes = [np.arange(n) / n for n in grid.shape]
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ grid.cell
    total = np.zeros(grid.shape)
    for point, height in zip(points, np.broadcast_to(heights, len(points)), strict=True):
        # find_mic gives only the nearest image: the others are below exp(-15) here
        distance = find_mic((mesh - point).reshape(-1, 3), grid.cell)[1].reshape(grid.shape)
        total += height * np.exp(-(distance**2) / (2 * width**2))
    return total


def errors(found: np.ndarray, truth: np.ndarray, cell: np.ndarray) -> np.ndarray:
    difference = (found[:, None] - truth[None]).reshape(-1, 3)
    distances = find_mic(difference, cell)[1].reshape(len(found), len(truth))
    rows, columns = linear_sum_assignment(distances)
    return distances[rows, columns]


@pytest.fixture
def points() -> np.ndarray:
    fractional = np.array([[0.03, 0.98, 0.51], [0.47, 0.41, 0.02], [0.71, 0.13, 0.77], [0.22, 0.61, 0.34]])
    return fractional @ TRICLINIC


def test_interpolation_is_that_of_the_fourier_resampling():
    values = np.random.default_rng(0).standard_normal((6, 5, 8))
    grid = PeriodicGrid(TRICLINIC, values.shape)
    fine = fourier_resample(values, (12, 15, 16))
    index = np.random.default_rng(1).integers(0, (12, 15, 16), size=(30, 3))
    value, gradient, hessian = interpolate(values, grid, index / np.array(fine.shape) @ TRICLINIC)
    np.testing.assert_allclose(value, fine[tuple(index.T)], atol=1e-12)
    at = index / np.array(fine.shape) @ TRICLINIC
    for axis in range(3):
        step = 1e-4 * np.eye(3)[axis]
        plus, minus = interpolate(values, grid, at + step), interpolate(values, grid, at - step)
        np.testing.assert_allclose(gradient[:, axis], (plus[0] - minus[0]) / 2e-4, atol=1e-5)
        np.testing.assert_allclose(hessian[:, axis], (plus[1] - minus[1]) / 2e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["maxima", "holes"])
def test_gaussians_in_a_triclinic_cell(points, kind):
    values = gaussians(points, GRID, 0.42)
    values = values + 1e-3 if kind == "maxima" else 1 - 0.9 * values
    found = find_sites(values, GRID, kind=kind)
    assert len(found) == 4
    assert errors(found, points, TRICLINIC).max() < 1e-3  # a three-hundredth of the grid spacing
    fractional = GRID.to_fractional(found)
    assert (fractional >= 0).all() and (fractional < 1).all()


def test_most_prominent_first_and_spurious_ones_out(points):
    values = gaussians(points, GRID, 0.4, heights=[4.0, 3.0, 2.0, 1.0])
    ripple = 0.02 * np.random.default_rng(0).uniform(size=GRID.shape)
    found = find_sites(values + ripple + 0.05, GRID)
    assert len(found) == 4
    assert errors(found, points, TRICLINIC).max() < 0.05
    two = find_sites(values + ripple + 0.05, GRID, n_expected=2)
    assert errors(two, points[:2], TRICLINIC).max() < 0.05
    many = find_sites(values + ripple + 0.05, GRID, min_prominence=0.0)
    assert len(many) > 30  # what the rule keeps out


def test_a_shoulder_is_not_a_site(points):
    """A long flat ridge has local maxima from noise that are high but not prominent."""
    values = gaussians(points, GRID, 0.4) + 0.05
    values[:, 9, 12] += 0.5
    values[4, 9, 12] += 0.01
    found = find_sites(values, GRID, n_expected=4)
    assert errors(found, points, TRICLINIC).max() < 0.1


def test_moves_and_turns_with_the_field(lithium):
    values = lithium.frame(100)
    grid = lithium.grid
    found = find_sites(values, grid, 54, "holes")
    shifted = find_sites(np.roll(values, (3, -5, 11), (0, 1, 2)), grid, 54, "holes")
    assert errors(shifted, found + np.array([3, -5, 11]) * grid.spacings, grid.cell).max() < 1e-3
    W = grid.symmetries()[17]
    turned = find_sites(apply_symmetry(values, W), grid, 54, "holes")
    assert errors(turned, grid.to_fractional(found) @ W.T @ grid.cell, grid.cell).max() < 1e-3


def test_below_the_grid_spacing_on_real_data(lithium):
    """A total density on every second point still places the atoms to a tenth of the spacing."""
    total = lithium[200].with_core()
    truth = total.ds["positions"].values[0]
    found = find_sites(total.frame(0), total.grid)
    assert len(found) == 54
    assert errors(found, truth, total.grid.cell).max() < 0.002
    coarse = lithium[200].resample_grid((20, 20, 20)).with_core()
    assert errors(find_sites(coarse.frame(0), coarse.grid), truth, total.grid.cell).max() < 0.02


def test_no_site_in_a_constant_field():
    assert find_sites(np.full(GRID.shape, 0.3), GRID).shape == (0, 3)


def test_refuses_what_it_cannot_read():
    with pytest.raises(ArgumentError, match="kind"):
        find_sites(np.ones(GRID.shape), GRID, kind="minima")
    with pytest.raises(ArgumentError, match="shape"):
        find_sites(np.ones((4, 4, 4)), GRID)
    bad = np.ones(GRID.shape)
    bad[0, 0, 0] = np.nan
    with pytest.raises(NonFiniteError):
        find_sites(bad, GRID)


def test_maxima_are_counted_across_the_boundary_and_two_that_merge_are_one(points):
    apart = gaussians(points, GRID, 0.5)
    merged = gaussians(np.vstack([points[:-1], points[0] + 0.1]), GRID, 0.5)
    low = gaussians(points, GRID, 0.5, heights=[1.0, 1.0, 1.0, 0.2])
    frames = np.stack([apart, np.roll(apart, (7, 3, 5), (0, 1, 2)), merged, low])
    np.testing.assert_array_equal(count_maxima(frames), [4, 4, 3, 3])
    assert count_maxima(apart) == 4


def test_every_frame_of_aimd_has_as_many_maxima_as_atoms():
    frames = edviz.load_sample("lithium-800K", density="total")[::40].density.values
    assert (count_maxima(frames) == 54).all()


def test_the_level_that_parts_holes_of_atoms_from_others_is_found_in_aimd():
    frames = edviz.load_sample("lithium-800K")[::5].density.values
    level = hole_level(frames)
    assert level is not None and 0.24 < level < 0.29
    assert (count_holes(frames, level) == 54).all()
    assert hole_level(3 * frames[:20]) == pytest.approx(hole_level(frames[:20]))  # the unit does not matter
    assert (count_holes(frames[:3], 0.7) > 54).all()  # between atoms there are others, less deep


def test_frames_whose_holes_say_nothing_have_no_level():
    random = np.random.default_rng(0)
    assert hole_level(random.uniform(0.1, 1, (50, 8, 8, 8))) is None
    assert hole_level(np.ones((5, 8, 8, 8))) is None
    assert hole_level([]) is None
