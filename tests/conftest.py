"""Trajectories that several tests use: small, asymmetric, with known values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import edviz

SKEWED = np.array([[5.0, 0.0, 0.0], [1.0, 4.5, 0.0], [-0.7, 0.4, 6.0]])


@pytest.fixture
def make_trajectory() -> Callable[..., edviz.DensityTrajectory]:
    """Make a small valence trajectory of 4 Li atoms in a skewed cell, every frame integrating to 4 electrons."""

    def make(
        n_frames: int = 5,
        shape: tuple[int, int, int] = (6, 5, 8),
        n_samples: int | None = None,
        seed: int = 0,
        **changes: object,
    ) -> edviz.DensityTrajectory:
        random = np.random.default_rng(seed)
        lead = (n_frames,) if n_samples is None else (n_samples, n_frames)
        density = random.uniform(0.5, 1.5, (*lead, *shape))
        density *= 4 / (density.mean(axis=(-3, -2, -1), keepdims=True) * np.linalg.det(SKEWED))
        arguments: dict = {
            "density": density,
            "cell": SKEWED,
            "time": 10.0 * np.arange(n_frames) + 3.0,
            "positions": random.uniform(-3, 9, (n_frames, 4, 3)),
            "numbers": [3, 3, 3, 3],
            "velocities": random.normal(size=(n_frames, 4, 3)).astype(np.float32),
            "forces": random.normal(size=(n_frames, 4, 3)),
            "energy": random.normal(size=n_frames),
            "temperature": random.uniform(700, 900, n_frames),
            "source": "made up",
        }
        return edviz.DensityTrajectory.from_arrays(**(arguments | changes))

    return make


@pytest.fixture
def trajectory(make_trajectory: Callable[..., edviz.DensityTrajectory]) -> edviz.DensityTrajectory:
    """Five frames, 10 fs apart."""
    return make_trajectory()


@pytest.fixture(scope="session")
def lithium() -> edviz.DensityTrajectory:
    """The bundled sample, valence density."""
    return edviz.load_sample("lithium-800K")
