from __future__ import annotations

from itertools import product

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from edviz import DensityTrajectory
from edviz.analysis.profiles import integrate_sphere, line_profile, planar_average
from edviz.errors import ArgumentError, GridMismatchError, SchemaError
from edviz.grid import PeriodicGrid, fourier_resample

SKEWED = np.array([[6.0, 0.0, 0.0], [1.5, 5.5, 0.0], [-1.0, 0.8, 7.0]])
SHAPES = [(6, 5, 8), (7, 6, 5), (8, 8, 8)]


@pytest.fixture
def noisy(make_noise):
    """A skewed cell, even and odd axes, every wave that the grid carries, Nyquist planes included."""

    def make(shape=(6, 5, 8), **changes):
        return make_noise(n_frames=3, shape=shape, cell=SKEWED, **changes)

    return make


def wave(grid: PeriodicGrid, m, amplitude=0.3, phase=0.4):
    """1 + amplitude cos(2 pi m x + phase) on the grid, m integers."""
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in grid.shape), indexing="ij"), axis=-1)
    return 1 + amplitude * np.cos(2 * np.pi * points @ m + phase)


# Planes


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_planar_average_is_the_mean_over_its_planes(noisy, small_batches, axis):
    traj = noisy(n_samples=2)
    found = planar_average(traj, "abc"[axis])
    xr.testing.assert_identical(found, planar_average(traj, axis))
    others = tuple(2 + i for i in range(3) if i != axis)
    np.testing.assert_allclose(found, traj.density.values.mean(axis=others), rtol=1e-6)
    assert found.dims == ("sample", "time", "position") and found.attrs["units"] == "e/angstrom^3"
    assert found["position"].attrs["units"] == "angstrom" and found["time"].attrs["units"] == "fs"
    # Electrons per angstrom add up to all electrons, and the height is that of the cell: area times height is volume.
    height = traj.grid.volume / found.attrs["area"]
    np.testing.assert_allclose(found.mean("position") * found.attrs["area"] * height, 1 * traj.n_electrons, rtol=1e-5)
    np.testing.assert_allclose(found["position"], found["fractional"] * height)


def test_the_height_is_along_the_normal(noisy):
    found = planar_average(noisy(), "c")
    np.testing.assert_allclose(found["position"][1], 7.0 / 8)  # a and b lie in the xy plane, c rises by 7
    assert found.attrs["area"] == pytest.approx(6.0 * 5.5)


def test_other_fields_have_planar_averages_too(noisy):
    values = np.random.default_rng(0).normal(size=(1, 6, 5, 8)).astype(np.float32)
    field = DensityTrajectory.from_arrays(values, SKEWED, density_kind="potential")
    assert planar_average(field).attrs["units"] == "eV"
    with pytest.raises(SchemaError):
        integrate_sphere(field, (0, 0, 0), 1.0)


# Lines


@pytest.mark.parametrize("shape", SHAPES)
def test_a_line_is_exact_on_grid_points_across_the_border(noisy, shape, small_batches):
    traj = noisy(shape, n_samples=2)
    values = traj.density.values
    n = shape[1]
    start, stop = (2 / shape[0], -1.0, 3 / shape[2]), (2 / shape[0], 1.0, 3 / shape[2])
    found = line_profile(traj, start, stop, 2 * n + 1)
    expected = values[:, :, 2, np.arange(-n, n + 1) % n, 3]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dims == ("sample", "time", "point") and found.attrs["units"] == "e/angstrom^3"
    np.testing.assert_allclose(found["distance"][-1], 2 * np.linalg.norm(SKEWED[1]))
    np.testing.assert_allclose([found[f"fractional_{axis}"][0] for axis in "abc"], start)


@pytest.mark.parametrize("shape", SHAPES)
def test_between_grid_points_it_is_fourier_resampling(noisy, shape):
    traj = noisy(shape)
    fine = fourier_resample(traj.density.values.astype(np.float64), tuple(3 * n for n in shape))
    n = 3 * shape[2]
    found = line_profile(
        traj, (1 / (3 * shape[0]), 2 / (3 * shape[1]), 0), (1 / (3 * shape[0]), 2 / (3 * shape[1]), 1), n + 1
    )
    np.testing.assert_allclose(found[:, :-1], fine[:, 1, 2, :], atol=1e-6)


def test_a_wave_stays_a_wave(make_field):
    grid = PeriodicGrid(SKEWED, (7, 6, 5))
    m = np.array([2, -1, 1])
    traj = make_field(wave(grid, m)[None], cell=SKEWED)
    ends = np.array([[0.5, -1.0, 2.0], [4.0, 5.0, -3.0]])
    found = line_profile(traj, *ends, n=150, cartesian=True)
    points = ends[0] + np.linspace(0, 1, 150)[:, None] * (ends[1] - ends[0])
    np.testing.assert_allclose(found[0], 1 + 0.3 * np.cos(points @ (m @ grid.reciprocal) + 0.4), atol=1e-6)
    np.testing.assert_allclose(found["distance"][-1], np.linalg.norm(ends[1] - ends[0]))


# Spheres


def ball(x):
    return 3 * (np.sin(x) - x * np.cos(x)) / x**3


def test_a_wave_in_a_sphere_is_known_exactly(make_field):
    grid = PeriodicGrid(SKEWED, (7, 6, 5))
    m = np.array([1, -1, 2])
    traj = make_field(wave(grid, m)[None], cell=SKEWED)
    center, radii = np.array([1.3, -4.0, 9.0]), np.array([0.0, 0.7, 2.5, 8.0])
    found = integrate_sphere(traj, center, radii)
    k = m @ grid.reciprocal
    volume = 4 / 3 * np.pi * radii**3
    x = np.linalg.norm(k) * radii
    expected = volume * (1 + 0.3 * np.cos(k @ center + 0.4) * np.where(x > 0, ball(np.maximum(x, 1e-3)), 1))
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)
    assert (
        found.dims == ("time", "radius")
        and found.attrs["units"] == "e"
        and found["radius"].attrs["units"] == "angstrom"
    )
    one = integrate_sphere(traj, grid.to_fractional(center), 2.5, fractional=True)
    assert one.dims == ("time",) and float(one[0]) == pytest.approx(float(found[0, 2]), rel=1e-12)


def test_it_is_what_ever_finer_voxels_converge_to(noisy):
    """The Nyquist planes of a skewed cell included: counting voxels of the resampled field has none."""
    traj = noisy()
    center, radius = np.array([1.0, 2.0, 3.0]), 2.2
    exact = integrate_sphere(traj, center, radius).values
    fine = tuple(12 * n for n in traj.grid.shape)
    values = fourier_resample(traj.density.values, fine)
    axes = [np.arange(n) / n for n in fine]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) - traj.grid.to_fractional(center)
    inside = np.zeros(fine, dtype=int)
    for image in product((-1, 0, 1), repeat=3):
        inside += (((points - np.rint(points) + image) @ SKEWED) ** 2).sum(axis=-1) < radius**2
    counted = (values * inside).sum(axis=(1, 2, 3)) * np.linalg.det(SKEWED) / np.prod(fine)
    np.testing.assert_allclose(exact, counted, rtol=2e-3)
    assert np.ptp(exact) > 0.02 * exact.mean()  # the frames do differ


def test_a_narrow_atom_is_counted_whole(make_field):
    shape, width = (24, 24, 24), 0.5
    cell = 8.0 * np.eye(3)
    points = np.stack(np.meshgrid(*(np.arange(24) / 3,) * 3, indexing="ij"), axis=-1)
    apart = points - np.array([7.8, 0.1, 4.05])  # near a corner: most of it lies across the border
    apart -= 8 * np.rint(apart / 8)
    density = 0.01 + np.exp(-(apart**2).sum(axis=-1) / (2 * width**2)) / (2 * np.pi * width**2) ** 1.5
    traj = make_field(density[None], cell=cell)
    assert density.shape == shape
    found = integrate_sphere(traj, (7.8, 0.1, 4.05), [0.4, 1.0, 3.0])[0]
    t = np.array([0.4, 1.0, 3.0]) / width
    from scipy.special import erf

    expected = erf(t / np.sqrt(2)) - np.sqrt(2 / np.pi) * t * np.exp(-(t**2) / 2)
    expected = expected + 0.01 * 4 / 3 * np.pi * np.array([0.4, 1.0, 3.0]) ** 3
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_sphere_follows_what_moves(make_noise, small_batches):
    still = make_noise(n_frames=1, shape=(6, 5, 8), cell=SKEWED).density.values[0]
    moves = [(0, 0, 0), (1, 0, 0), (1, 2, -3), (4, 4, 4)]
    values = np.stack([np.roll(still, move, axis=(0, 1, 2)) for move in moves])
    traj = DensityTrajectory.from_arrays(values, SKEWED, time=10.0 * np.arange(4))
    steps = np.array(moves) / (6, 5, 8)
    centers = steps + np.array([0.3, 0.1, 0.9])
    found = integrate_sphere(traj, centers, 1.7, fractional=True)
    np.testing.assert_allclose(found, found[0], rtol=1e-6)
    np.testing.assert_allclose(found[2], integrate_sphere(traj[2], centers[2], 1.7, fractional=True)[0], rtol=1e-9)
    cartesian = integrate_sphere(traj, traj.grid.to_cartesian(centers), [0.5, 1.7])
    np.testing.assert_allclose(cartesian[:, 1], found, rtol=1e-9)


def test_lazy_frames_and_the_bundled_atoms(lithium):
    """The valence density has a hole at each ion: a sphere there holds less than one anywhere."""
    few = lithium[:3]
    chunks = da.from_array(few.density.values, chunks=(1, -1, -1, -1))
    lazy = DensityTrajectory(few.ds.assign(density=(few.density.dims, chunks, few.density.attrs)))
    at_ion = few.integrate_sphere(few.ds["positions"][:, 5], 0.8)
    xr.testing.assert_identical(lazy.integrate_sphere(few.ds["positions"][:, 5], 0.8), at_ion)
    uniform = few.n_electrons / few.grid.volume * 4 / 3 * np.pi * 0.8**3
    assert (at_ion < 0.8 * uniform).all() and (at_ion > 0).all()


def test_what_makes_no_sense(noisy):
    traj = noisy()
    with pytest.raises(ArgumentError, match="axis"):
        planar_average(traj, "x")
    for start, stop in (((0, 0), (1, 1, 1)), ((0, 0, 0), (0, 0, np.nan)), ((0, 0, 0), (0, 0, 0))):
        with pytest.raises(ArgumentError):
            line_profile(traj, start, stop)
    with pytest.raises(ArgumentError, match="two points"):
        line_profile(traj, (0, 0, 0), (1, 0, 0), n=1)
    for center, radius in (
        ((0, 0, 0), -1.0),
        ((0, 0), 1.0),
        ((0, 0, 0), np.nan),
        (np.zeros((4, 3)), 1.0),
        ((0, 0, 0), []),
    ):
        with pytest.raises(ArgumentError):
            integrate_sphere(traj, center, radius)
    cells = np.stack([SKEWED, SKEWED * 1.001])
    values = traj.density.values[:2]
    moving = DensityTrajectory.from_arrays(values, cells, time=[0.0, 1.0], n_electrons=traj.n_electrons)
    with pytest.raises(GridMismatchError, match="changes in time"):
        planar_average(moving)
