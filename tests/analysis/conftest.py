"""Small trajectories with known statistics, and the bundled AIMD on every second grid point."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edviz import DensityTrajectory
from edviz.analysis import frames

CUBE = 5.0 * np.eye(3)


def field_trajectory(density: np.ndarray, cell: np.ndarray = CUBE, start: float = 0.0, **changes) -> DensityTrajectory:
    """A trajectory, 10 fs a frame, of given values; every frame counts as having mean times volume electrons."""
    n_frames = density.shape[-4]
    electrons = float(density.mean(dtype=np.float64) * np.linalg.det(cell))
    arguments = {"time": start + 10.0 * np.arange(n_frames), "n_electrons": electrons} | changes
    return DensityTrajectory.from_arrays(density.astype(np.float32), cell, **arguments)


@pytest.fixture
def make_field() -> Callable[..., DensityTrajectory]:
    return field_trajectory


@pytest.fixture
def make_noise() -> Callable[..., DensityTrajectory]:
    """Log-normal white noise: every value and every frame independent."""

    def make(n_frames=20, shape=(8, 8, 8), n_samples=None, seed=0, sigma=0.3, **changes) -> DensityTrajectory:
        lead = (n_frames,) if n_samples is None else (n_samples, n_frames)
        values = np.exp(sigma * np.random.default_rng(seed).standard_normal((*lead, *shape)))
        values /= values.mean(axis=(-3, -2, -1), keepdims=True)
        return field_trajectory(values, **changes)

    return make


@pytest.fixture
def small_batches(monkeypatch) -> None:
    """Make every walk over frames take many batches."""
    monkeypatch.setattr(frames, "BATCH_BYTES", 1)


@pytest.fixture(scope="session")
def coarse(lithium: DensityTrajectory) -> DensityTrajectory:
    """The bundled AIMD on every second grid point, in memory, with its split: quick to evaluate."""
    values = lithium.density.values[:, ::2, ::2, ::2]
    values = values * (lithium.n_electrons / lithium.grid.volume / values.mean(axis=(1, 2, 3), keepdims=True))
    split = {name: lithium.ds.attrs[name] for name in ("train_end_fs", "validation_start_fs", "test_start_fs")}
    return DensityTrajectory.from_arrays(
        values, lithium.grid.cell, time=lithium.time, n_electrons=lithium.n_electrons, attrs=split
    )
