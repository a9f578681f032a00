"""|grad rho| against a plane wave in a triclinic cell, and its histogram."""

import numpy as np
import pytest

import edviz
from edviz.analysis.gradients import GradientBins, gradient_magnitude
from edviz.errors import ArgumentError, SchemaError
from edviz.grid import PeriodicGrid

CELL = np.array([[4.0, 0.0, 0.0], [1.0, 5.0, 0.0], [-0.5, 0.7, 6.0]])


def test_a_plane_wave_in_a_triclinic_cell_is_exact():
    grid = PeriodicGrid(CELL, (12, 10, 15))
    fractional = np.stack(np.meshgrid(*(np.arange(n) / n for n in grid.shape), indexing="ij"), axis=-1)
    order = np.array([2, -1, 3])
    phase = 2 * np.pi * fractional @ order
    k = 2 * np.pi * np.linalg.inv(CELL) @ order
    found = gradient_magnitude((1 + 0.3 * np.cos(phase))[None], grid)[0]
    np.testing.assert_allclose(found, 0.3 * np.linalg.norm(k) * np.abs(np.sin(phase)), atol=1e-12)


def test_histogram_counts_every_point():
    reference = edviz.load_sample("lithium-800K").split("test")[:6]
    bins = GradientBins.of(reference)
    values = reference.density.values
    counts = bins.count(gradient_magnitude(values, reference.grid).reshape(len(values), -1))
    assert counts.shape == (6, bins.n + 1)
    assert (counts.sum(axis=1) == reference.grid.n_points).all()
    assert counts[:, -1].sum() == pytest.approx(1e-4 * values.size, rel=0.1)  # above the 99.99 percentile


def test_wrong_shape_and_constant_field_are_refused():
    grid = PeriodicGrid(CELL, (12, 10, 15))
    with pytest.raises(ArgumentError, match="needs"):
        gradient_magnitude(np.ones((1, 3, 3, 3)), grid)
    constant = edviz.DensityTrajectory.from_arrays(np.ones((2, 12, 10, 15), np.float32), CELL, time=[0.0, 1.0])
    with pytest.raises(SchemaError, match="constant"):
        GradientBins.of(constant)
