from __future__ import annotations

import numpy as np
import pytest
from ase.geometry import find_mic
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample

from edviz.errors import SchemaError
from edviz.grid import PeriodicGrid, apply_symmetry, fourier_resample, symmetry_index

SKEWED = np.array([[5.0, 0.0, 0.0], [1.0, 4.5, 0.0], [-0.7, 0.4, 6.0]])
CUBE = 4.0 * np.eye(3)
FCC = 2.0 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
HEXAGONAL = np.array([[3.0, 0, 0], [-1.5, 1.5 * np.sqrt(3), 0], [0, 0, 5]])


def points(shape):
    """Fractional coordinates of the grid points, (na, nb, nc, 3)."""
    return np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij"), axis=-1)


def test_geometry():
    grid = PeriodicGrid(SKEWED, (6, 5, 8))
    assert grid.volume == pytest.approx(5 * 4.5 * 6)
    assert grid.n_points == 240
    assert grid.voxel_volume == pytest.approx(grid.volume / 240)
    assert grid.spacings == pytest.approx([5 / 6, np.hypot(1, 4.5) / 5, np.linalg.norm(SKEWED[2]) / 8])
    assert grid.heights == pytest.approx(
        grid.volume / np.linalg.norm(np.cross(SKEWED[[1, 2, 0]], SKEWED[[2, 0, 1]]), axis=1)
    )
    assert grid.cell @ grid.reciprocal.T == pytest.approx(2 * np.pi * np.eye(3))
    assert "6 x 5 x 8" in repr(grid)


@pytest.mark.parametrize(
    ("cell", "shape"),
    [
        (np.eye(2), (4, 4, 4)),
        (np.zeros((3, 3)), (4, 4, 4)),
        (np.diag([1.0, 1, -1]), (4, 4, 4)),
        (np.full((3, 3), np.nan), (4, 4, 4)),
        (CUBE, (4, 4)),
        (CUBE, (4, 0, 4)),
        (CUBE, (4, 4.5, 4)),
    ],
)
def test_bad_cells_and_shapes_are_refused(cell, shape):
    with pytest.raises(SchemaError):
        PeriodicGrid(cell, shape)


def test_the_cell_is_a_read_only_copy():
    cell = CUBE.copy()
    grid = PeriodicGrid(cell, (4, 4, 4))
    cell[0, 0] = 9
    assert grid.cell[0, 0] == 4
    with pytest.raises(ValueError, match="read-only"):
        grid.cell[0, 0] = 9


def test_wave_vectors_are_those_of_numpys_transforms():
    grid = PeriodicGrid(SKEWED, (6, 5, 8))
    position = grid.to_cartesian(points(grid.shape))
    for half, transform in ((False, np.fft.fftn), (True, np.fft.rfftn)):
        k = grid.k_vectors(half)
        index = (2, 4, 3)
        wave = np.cos(position @ k[index])
        spectrum = np.abs(transform(wave))
        assert spectrum[index] == pytest.approx(spectrum.max())
        assert grid.k_norms(half)[index] == pytest.approx(np.linalg.norm(k[index]))
        assert k.shape == (*spectrum.shape, 3)


@pytest.mark.parametrize("shape", [(6, 5, 8), (6, 5, 7), (2, 3, 1)])
def test_half_weights_restore_parseval(shape):
    values = np.random.default_rng(0).normal(size=shape)
    grid = PeriodicGrid(CUBE, shape)
    full = (np.abs(np.fft.fftn(values)) ** 2).sum()
    half = (np.abs(np.fft.rfftn(values)) ** 2 * grid.half_weights()).sum()
    assert half == pytest.approx(full, rel=1e-12)


def test_wrap_moves_by_lattice_vectors_into_the_cell():
    grid = PeriodicGrid(SKEWED, (6, 5, 8))
    positions = np.random.default_rng(0).uniform(-30, 30, (50, 3))
    positions[0] = [-1e-17, 0, 0]
    wrapped = grid.wrap(positions)
    fractional = grid.to_fractional(wrapped)
    assert fractional.min() >= -1e-12 and fractional.max() < 1
    moved = grid.to_fractional(positions - wrapped)
    assert moved == pytest.approx(np.round(moved), abs=1e-12)


def test_matches():
    grid = PeriodicGrid(CUBE, (4, 4, 4))
    assert grid.matches(PeriodicGrid(CUBE + 1e-5, (4, 4, 4)))
    assert not grid.matches(PeriodicGrid(CUBE + 1e-3, (4, 4, 4)))
    assert not grid.matches(PeriodicGrid(CUBE, (4, 4, 5)))


@pytest.mark.parametrize(
    ("cell", "shape", "number"),
    [
        (CUBE, (6, 6, 6), 48),
        (CUBE, (6, 6, 8), 16),
        (CUBE, (6, 5, 8), 8),
        (np.diag([4.0, 4, 5]), (6, 6, 6), 16),
        (np.diag([4.0, 4.5, 5]), (6, 6, 6), 8),
        (FCC, (6, 6, 6), 48),
        (HEXAGONAL, (6, 6, 6), 24),
        (SKEWED, (6, 6, 6), 2),
        # The cube again, described by vectors that are far from the shortest ones.
        (np.array([[1.0, 0, 0], [3, 1, 0], [-2, 2, 1]]) @ CUBE, (6, 6, 6), 48),
    ],
)
def test_number_of_symmetries(cell, shape, number):
    grid = PeriodicGrid(cell, shape)
    found = grid.symmetries()
    assert len(found) == number
    assert len({tuple(W.ravel()) for W in found}) == number
    assert np.array_equal(found[0], np.eye(3))
    metric = grid.cell @ grid.cell.T
    for W in found:
        assert W.T @ metric @ W == pytest.approx(metric, abs=1e-9)


@pytest.mark.parametrize(("cell", "shape"), [(CUBE, (6, 6, 8)), (FCC, (6, 6, 6)), (HEXAGONAL, (6, 6, 4))])
def test_apply_symmetry_moves_values_to_the_image_of_their_point(cell, shape):
    grid = PeriodicGrid(cell, shape)
    values = np.random.default_rng(0).normal(size=(2, *shape))
    for W in grid.symmetries():
        image = apply_symmetry(values, W)
        for i in [(0, 0, 0), (1, 2, 3), (5, 0, 1)]:
            j = np.round(W @ (np.array(i) / shape) * shape).astype(int) % shape
            assert np.array_equal(image[(slice(None), *j)], values[(slice(None), *i)])
        back = apply_symmetry(image, np.round(np.linalg.inv(W)).astype(int))
        assert np.array_equal(back, values)


def test_symmetry_index_is_the_same_permutation():
    grid = PeriodicGrid(CUBE, (4, 4, 4))
    values = np.random.default_rng(0).normal(size=(3, 4, 4, 4))
    W = grid.symmetries()[7]
    permuted = values.reshape(3, -1)[:, symmetry_index(W, (4, 4, 4))].reshape(values.shape)
    assert np.array_equal(permuted, apply_symmetry(values, W))


def test_a_symmetry_that_leaves_the_grid_is_refused():
    with pytest.raises(SchemaError, match="does not map"):
        apply_symmetry(np.zeros((6, 5, 8)), [[0, 1, 0], [1, 0, 0], [0, 0, 1]])


sizes = st.integers(1, 12)


@settings(max_examples=60, deadline=None)
@given(st.tuples(sizes, sizes, sizes), st.tuples(sizes, sizes, sizes))
def test_resampling_keeps_the_mean_and_agrees_with_scipy(old, new):
    values = np.random.default_rng(1).normal(size=(2, *old))
    result = fourier_resample(values, new)
    assert result.shape == (2, *new)
    assert result.mean(axis=(1, 2, 3)) == pytest.approx(values.mean(axis=(1, 2, 3)), abs=1e-13)
    expected = values
    for axis, n in enumerate(new, start=1):
        expected = resample(expected, n, axis=axis)
    assert result == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("coarse", [(6, 5, 8), (7, 6, 9)])
def test_down_and_up_again_is_exact_for_band_limited_fields(coarse):
    fine = (15, 12, 16)
    # Up from the coarse grid, Nyquist waves of even axes included, is what that grid can carry.
    field = fourier_resample(np.random.default_rng(2).normal(size=coarse), fine)
    assert fourier_resample(fourier_resample(field, coarse), fine) == pytest.approx(field, abs=1e-12)


def test_resampling_interpolates_a_plane_wave():
    def wave(shape):
        return np.cos(2 * np.pi * (points(shape) @ [2, -1, 3]) + 0.4)

    assert fourier_resample(wave((8, 6, 10)), (9, 16, 12)) == pytest.approx(wave((9, 16, 12)), abs=1e-12)


@pytest.mark.parametrize("new", [4, 5, 8, 9, 12])
def test_resampling_commutes_with_the_symmetries_of_the_cube(new):
    grid = PeriodicGrid(CUBE, (6, 6, 6))
    values = np.random.default_rng(3).normal(size=(6, 6, 6))
    for W in grid.symmetries():
        one = fourier_resample(apply_symmetry(values, W), (new, new, new))
        other = apply_symmetry(fourier_resample(values, (new, new, new)), W)
        assert one == pytest.approx(other, abs=1e-12)


def test_resampling_keeps_the_dtype():
    values = np.ones((4, 4, 4), dtype=np.float32)
    assert fourier_resample(values, (5, 5, 5)).dtype == np.float32
    assert fourier_resample(values.astype(int), (5, 5, 5)).dtype == np.float64


@pytest.mark.parametrize(("old", "new"), [((4, 4), (5, 5, 5)), ((4, 4, 4), (5, 5)), ((4, 4, 4), (5, 0, 5))])
def test_resampling_refuses_nonsense(old, new):
    with pytest.raises(SchemaError):
        fourier_resample(np.ones(old), new)


def test_nearest_image_is_ase_s():
    cell = np.array([[4.0, 0.0, 0.0], [3.7, 1.5, 0.0], [-3.0, 1.4, 2.0]])  # far from reduced
    differences = np.random.default_rng(0).uniform(-20, 20, (500, 3))
    grid = PeriodicGrid(cell, (1, 1, 1))
    found = np.linalg.norm(grid.nearest_image(differences), axis=-1)
    np.testing.assert_allclose(found, find_mic(differences, cell)[1], atol=1e-9)
