from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import norm

from edviz.analysis.scores import anomaly_correlation, crps, half_pair_distance, rmse, spread, vrmse


def gaussian_crps(mean: float, std: float, y: np.ndarray) -> np.ndarray:
    """T. Gneiting and A. Raftery, J. Am. Stat. Assoc. 102, 359 (2007), equation 21."""
    z = (y - mean) / std
    return std * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))


@pytest.mark.parametrize("n_members", [2, 3, 10])
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.5, 0.7), (-1.0, 2.0)])
def test_crps_of_gaussians(n_members, mean, std):
    """The fair estimator has the closed form as its expectation, for any number of members."""
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(100_000)
    found = crps(mean + std * rng.standard_normal((n_members, 100_000)), truth)
    expected = gaussian_crps(mean, std, truth)
    error = np.std(found - expected) / np.sqrt(len(truth))
    assert found.mean() == pytest.approx(expected.mean(), abs=4 * error)
    assert error < 0.02 * expected.mean()


def test_crps_is_smallest_for_the_right_distribution():
    rng = np.random.default_rng(1)
    truth = rng.standard_normal(20_000)
    draws = rng.standard_normal((8, 20_000))
    right = crps(draws, truth).mean()
    for wrong in (0.5 * draws, 2 * draws, draws + 0.5):
        assert crps(wrong, truth).mean() > right + 0.01
    assert right == pytest.approx(1 / np.sqrt(np.pi), rel=0.02)  # E|X - X'| / 2


def test_crps_of_one_member_and_of_equal_ones():
    rng = np.random.default_rng(2)
    field, truth = rng.standard_normal((2, 3, 4, 5))
    np.testing.assert_allclose(crps(field[None], truth), np.abs(field - truth))
    np.testing.assert_allclose(crps(np.stack([field] * 4), truth), np.abs(field - truth))


def test_pairs_by_ranks_are_pairs():
    members = np.random.default_rng(3).standard_normal((5, 6)).astype(np.float32)
    pairs = [np.abs(a - b) for a, b in combinations(members, 2)]
    np.testing.assert_allclose(half_pair_distance(members), np.mean(pairs, axis=0) / 2, rtol=1e-5)
    truth = np.zeros(6)
    np.testing.assert_allclose(crps(members, truth, half_pair_distance(members)), crps(members, truth))


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(4).normal(1.0, 0.2, (3, 12, 12, 12))


def test_limits_of_vrmse(truth):
    np.testing.assert_allclose(vrmse(truth, truth), 0)
    flat = np.broadcast_to(truth.mean(axis=(1, 2, 3), keepdims=True), truth.shape)
    np.testing.assert_allclose(vrmse(flat, truth), 1)
    other = np.random.default_rng(5).normal(1.0, 0.2, truth.shape)
    np.testing.assert_allclose(vrmse(other, truth), np.sqrt(2), rtol=0.05)  # an independent draw
    np.testing.assert_allclose(rmse(truth + 0.3, truth), 0.3)


def test_limits_of_the_anomaly_correlation(truth):
    np.testing.assert_allclose(anomaly_correlation(truth, truth, 1.0), 1)
    np.testing.assert_allclose(anomaly_correlation(1 + 0.1 * (truth - 1), truth, 1.0), 1)  # amplitude does not count
    np.testing.assert_allclose(anomaly_correlation(2 - truth, truth, 1.0), -1)
    single = np.full(truth.shape, 0.3, dtype=np.float32)  # what does not deviate but for rounding
    np.testing.assert_array_equal(anomaly_correlation(single, truth, 0.3), 0)
    assert np.isnan(anomaly_correlation(truth, np.ones_like(truth), 1.0)).all()
    other = np.random.default_rng(5).normal(1.0, 0.2, truth.shape)
    assert np.abs(anomaly_correlation(other, truth, 1.0)).max() < 4 / np.sqrt(12**3)
    normal = np.random.default_rng(6).normal(1.0, 0.5, truth.shape[1:])  # a crystal's mean field
    np.testing.assert_allclose(anomaly_correlation(truth + normal, truth + normal, normal), 1)
    assert np.abs(anomaly_correlation(other + normal, truth + normal, normal + 1)).max() < 4 / np.sqrt(12**3)


def test_spread_has_the_members_variance():
    members = 0.3 * np.random.default_rng(7).standard_normal((5, 2, 20, 20, 20))
    np.testing.assert_allclose(spread(members), 0.3, rtol=0.02)
    assert np.isnan(spread(members[:1])).all() and spread(members[:1]).shape == (2,)
