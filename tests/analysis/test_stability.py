from __future__ import annotations

import numpy as np
import pytest

from edviz.analysis.scorecard import evaluate
from edviz.analysis.stability import sliding_mean, stability


def test_sliding_mean():
    series = np.array([[1.0, 2.0, 6.0, 3.0], [0.0, 0.0, 3.0, 3.0]])
    np.testing.assert_allclose(sliding_mean(series, 2), [[1.5, 4.0, 4.5], [0.0, 1.5, 3.0]])
    np.testing.assert_allclose(sliding_mean(series, 4), [[3.0], [1.5]])


def test_a_rollout_like_aimd_is_stable(make_noise):
    found = stability(make_noise(200, n_samples=3, seed=1), make_noise(50, seed=2), make_noise(160, seed=3), 100.0)
    assert found.attrs == {"window_fs": 100.0, "n_samples": 3}
    assert found["std_ratio"].sizes["time"] == 191 and found["std_ratio_sample"].shape == (3, 191)
    assert found["time"][0] == 45.0
    assert float(found["max_std_deviation"]) < 2 * float(found["aimd_max_std_deviation_high"]) < 0.05
    assert 0.98 < found["min_step_ratio"] <= found["max_step_ratio"] < 1.02
    assert found["aimd_min_step_ratio"] <= 1 <= found["aimd_max_step_ratio"]
    assert 0 < float(found["max_structure_factor_deviation"]) < 0.2
    assert 0 < float(found["aimd_max_structure_factor_deviation"]) < 0.3
    assert 0.3 < float(found["jsd_ratio"]) < 3


def test_a_collapse_shows_when_it_happens(make_noise, make_field):
    values = make_noise(200, n_samples=2, seed=1).density.values
    values[1, 120:] = 1.0
    found = stability(make_field(values, n_electrons=125.0), make_noise(50, seed=2), make_noise(160, seed=3), 100.0)
    sample = found["std_ratio_sample"].isel(sample=1)
    assert float(sample.sel(time=slice(0, 1150)).min()) > 0.9
    assert float(sample.sel(time=slice(1250, 2000)).max()) == 0
    assert float(found["max_std_deviation"]) == pytest.approx(0.5, abs=0.02)  # half of the samples
    assert float(found["min_step_ratio"]) == pytest.approx(0.5, abs=0.02)


def test_a_scorecard_has_it(make_noise):
    data = make_noise(60, n_samples=2, seed=1), make_noise(20, seed=2), make_noise(80, seed=3)
    found, expected = evaluate(*data, progress=False).stability(50.0), stability(*data, window=50.0, progress=False)
    assert found.equals(expected)
    without = stability(*data[:2])
    assert np.isnan(without["aimd_max_structure_factor_deviation"]) and np.isnan(without["jsd_ratio"])
    assert np.isfinite(without["max_std_deviation"])
