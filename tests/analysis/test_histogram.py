from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from edviz.analysis.histogram import (
    LogBins,
    ValueBins,
    histogram,
    log_bins,
    log_moments,
    log_power_sums,
    lognormal_fit,
    safe_log,
    tails,
)
from edviz.errors import SchemaError


def test_bins_are_the_reference_percentiles(make_noise, small_batches):
    traj = make_noise(n_frames=21)
    logs = np.log10(traj.density.values.astype(np.float64))
    bins = log_bins(traj)
    np.testing.assert_allclose([bins.low, bins.high], np.percentile(logs, [0.01, 99.99]), rtol=1e-12)
    assert bins.n == 100 and len(bins.edges) == 101
    minimum, _, _, maximum = tails(traj)
    assert (minimum, maximum) == (traj.density.values.min(), traj.density.values.max())


def test_counts_are_numpy_s(make_noise, small_batches):
    traj = make_noise(n_frames=21)
    bins = log_bins(make_noise(n_frames=5, seed=7, sigma=0.2))  # narrower: values fall outside on either side
    logs = np.log10(traj.density.values.astype(np.float64))
    inside = np.histogram(logs, bins.edges)[0]
    expected = np.array([(logs < bins.low).sum(), *inside, (logs > bins.high).sum()]) / logs.size
    found = histogram(traj, bins)["probability"]
    assert found.dims == ("bin",)
    assert found[0] > 0 and found[-1] > 0
    # float32 logarithms move a value that sits on a border
    assert np.abs(found.values - expected).max() <= 2 / logs.size
    assert float(found.sum()) == pytest.approx(1, abs=1e-12)


def test_histogram_dimensions(make_noise):
    traj = make_noise(n_frames=6, n_samples=2)
    bins = log_bins(traj)
    each = histogram(traj, bins, per_frame=True)["probability"]
    assert each.dims == ("sample", "time", "bin") and each.shape == (2, 6, 102)
    np.testing.assert_array_equal(each["time"], traj.time)
    np.testing.assert_allclose(each.mean("time"), histogram(traj, bins)["probability"])
    np.testing.assert_allclose(traj.sample(1).histogram(bins)["probability"], each[1].mean("time"))
    assert np.isinf(each["lower"][0]) and np.isinf(each["upper"][-1])
    np.testing.assert_allclose(each["lower"][1:], each["upper"][:-1])
    np.testing.assert_allclose((each["lower"] + each["upper"])[1:-1] / 2, each["center"][1:-1])


def test_zero_and_negative_values_fall_below_every_bin():
    values = np.array([[0.0, -1.0, 0.05, 0.5, 2.0]], dtype=np.float32)
    counts = LogBins(-2.0, 0.0, 2).count(safe_log(values))
    assert counts.tolist() == [[2, 1, 1, 1]]


def test_a_constant_or_negative_reference_has_no_bins(make_field):
    with pytest.raises(SchemaError, match="constant"):
        log_bins(make_field(np.ones((3, 4, 4, 4))))
    values = np.ones((3, 4, 4, 4))
    values[:, 0] = -0.5
    with pytest.raises(SchemaError, match="positive"):
        log_bins(make_field(values))


def test_value_bins_count_and_measure_what_is_outside():
    values = np.array([[-0.5, 0.25, 0.75, 1.5, 3.0]], dtype=np.float32)
    bins = ValueBins(0.0, 1.0, 2)
    assert bins.count(values).tolist() == [[1, 1, 1, 2]]
    np.testing.assert_allclose(bins.excess(values), [[0.5, 0.5 + 2.0]])


def test_moments_of_the_logarithm():
    logs = np.random.default_rng(0).gamma(2.0, 0.2, (3, 5000)).astype(np.float32) - 3
    mean, std, skewness = log_moments(log_power_sums(logs), logs.shape[1])
    np.testing.assert_allclose(mean, logs.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(std, logs.std(axis=1), rtol=1e-4)
    np.testing.assert_allclose(skewness, stats.skew(logs, axis=1), rtol=1e-2)


def test_lognormal_fit_is_scipy_s(make_noise, coarse):
    for traj in (make_noise(n_frames=30, sigma=0.5), coarse[:20]):
        logs = np.log(traj.density.values.ravel().astype(np.float64))
        fit = lognormal_fit(traj)
        mean, std = stats.norm.fit(logs)
        assert float(fit["log_mean"]) == pytest.approx(mean, rel=1e-5)
        assert float(fit["log_std"]) == pytest.approx(std, rel=1e-4)
        assert float(fit["log_skewness"]) == pytest.approx(stats.skew(logs), abs=2e-3)
        distance = stats.kstest(logs, "norm", (mean, std)).statistic
        assert float(fit["ks"]) == pytest.approx(distance, abs=1e-3)


def test_lognormal_fit_needs_positive_values(make_field):
    values = np.random.default_rng(0).uniform(0.5, 1.5, (3, 30, 30, 30))
    values[1, 0, 0, 0] = 0
    with pytest.raises(SchemaError, match="positive"):
        lognormal_fit(make_field(values))
