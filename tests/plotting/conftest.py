"""Fields whose isosurfaces are known: Gaussians anywhere in any cell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

import edviz

Field = NDArray[np.float64]


@pytest.fixture
def gaussian() -> Callable[..., Field]:
    """exp(-r^2 / (2 width^2)) of the nearest periodic image, on a grid."""

    def make(cell: Field, shape: tuple[int, int, int], centre: tuple[float, float, float], width: float = 1.5) -> Field:
        axes = [np.arange(n) / n for n in shape]
        offset = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) - np.array(centre)
        offset -= np.round(offset)
        return np.exp(-((offset @ cell) ** 2).sum(axis=-1) / (2 * width**2))

    return make


@pytest.fixture
def lumps() -> edviz.DensityTrajectory:
    """Two frames of three unequal Gaussians with atoms on them, one in the corner of a skewed cell."""
    cell = np.array([[6.0, 0.0, 0.0], [1.5, 7.0, 0.0], [1.0, 1.2, 8.0]])
    grid = edviz.PeriodicGrid(cell, (16, 18, 20))
    atoms = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.2, 0.7, 0.4]])
    axes = [np.arange(n) / n for n in grid.shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    frames = []
    for shift in (0.0, 0.02):
        density = np.full(grid.shape, 0.01)
        for atom, weight in zip(atoms, (1.0, 0.8, 0.5), strict=True):
            offset = points - atom - shift
            offset -= np.round(offset)
            density += weight * np.exp(-((offset @ cell) ** 2).sum(axis=-1) / 2)
        frames.append(density)
    positions = np.stack([grid.to_cartesian(atoms + shift) for shift in (0.0, 0.02)])
    density = np.stack(frames)
    density *= 17 / (density.mean(axis=(1, 2, 3), keepdims=True) * grid.volume)
    return edviz.DensityTrajectory.from_arrays(
        density, cell, time=[0.0, 10.0], positions=positions, numbers=[11, 17, 8], n_electrons=17
    )
