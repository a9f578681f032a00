from __future__ import annotations

import numpy as np
import pytest

from edviz.analysis.motion import diffusion_coefficient, mean_squared_displacement
from edviz.errors import ArgumentError, MissingDataError


def brute_force(positions: np.ndarray, n_lags: int) -> np.ndarray:
    relative = positions - positions.mean(axis=1, keepdims=True)
    return np.array([((relative[lag:] - relative[: len(relative) - lag]) ** 2).sum(-1).mean() for lag in range(n_lags)])


def test_every_pair_of_frames_counts(lithium):
    positions = lithium.ds["positions"].values[:200]
    found = mean_squared_displacement(positions, 10.0, t_max=900.0, n_block=100)
    np.testing.assert_allclose(found["msd"], brute_force(positions, 91), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found["blocks"][1], brute_force(positions[100:], 91), rtol=1e-9, atol=1e-9)
    assert found["msd"].attrs["units"] == "angstrom^2" and found["lag"].values[-1] == 900.0


def test_drift_does_not_count(lithium):
    positions = lithium.ds["positions"].values[:100]
    wind = 1e3 + np.arange(100)[:, None, None] * np.array([0.1, -0.2, 0.3])
    masses = np.linspace(1, 5, 54)
    np.testing.assert_allclose(
        mean_squared_displacement(positions + wind, 10.0, masses=masses)["msd"],
        mean_squared_displacement(positions, 10.0, masses=masses)["msd"],
        atol=1e-6,
    )


def test_straight_flight_is_a_parabola():
    speed = np.array([[0.01, 0, 0], [-0.01, 0, 0]])
    positions = np.arange(60)[:, None, None] * 5.0 * speed
    found = mean_squared_displacement(positions, 5.0, t_max=100.0)
    np.testing.assert_allclose(found["msd"], (0.01 * found["lag"]) ** 2, atol=1e-9)


def test_a_random_walk_of_known_diffusion():
    """Steps of variance 2 D dt along each axis. The interval holds the truth and is not much too wide."""
    D, dt, n_atoms = 1.3, 10.0, 200
    caught = []
    for seed in range(20):
        steps = np.random.default_rng(seed).normal(0, np.sqrt(2 * D / 1000 * dt), (400, n_atoms, 3))
        found = diffusion_coefficient(mean_squared_displacement(np.cumsum(steps, axis=0), dt), (100.0, 500.0))
        # the centre of mass takes 1/n of the motion with it
        truth = D * (1 - 1 / n_atoms)
        assert found.value == pytest.approx(truth, rel=0.15)
        caught.append(found.low <= truth <= found.high)
    assert sum(caught) >= 16


def test_diffusion_of_the_bundled_lithium(lithium):
    """Design measured 1.0 to 1.6 angstrom^2/ps on blocks of one ps."""
    msd = mean_squared_displacement(lithium.ds["positions"].values, lithium.frame_interval)
    found = diffusion_coefficient(msd)
    assert 1.0 < found.value < 1.6 and found.low < found.value < found.high
    assert len(found.values) == 6 and found.values.std() > 0.1


def test_an_ensemble_pools_its_samples(lithium):
    positions = lithium.ds["positions"].values
    both = mean_squared_displacement(np.stack([positions[:200], positions[200:400]]), 10.0, t_max=300.0)
    parts = [mean_squared_displacement(p, 10.0, t_max=300.0) for p in (positions[:200], positions[200:400])]
    np.testing.assert_allclose(both["msd"], (parts[0]["msd"] + parts[1]["msd"]) / 2, rtol=1e-12)


def test_refuses_what_it_cannot_average(lithium):
    positions = lithium.ds["positions"].values[:30]
    with pytest.raises(ArgumentError, match="interval"):
        mean_squared_displacement(positions, 0.0)
    with pytest.raises(ArgumentError, match="lags up to"):
        mean_squared_displacement(positions, 10.0, t_max=1000.0)
    with pytest.raises(ArgumentError, match="shorter than the longest lag"):
        mean_squared_displacement(positions, 10.0, t_max=200.0, n_block=10)
    with pytest.raises(MissingDataError, match="lags lie between"):
        diffusion_coefficient(mean_squared_displacement(positions, 10.0))
