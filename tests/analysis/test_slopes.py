from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from edviz.analysis.slopes import _lines, _traces, fit_slope


def autoregressive(rng: np.random.Generator, r: float, n: int) -> np.ndarray:
    """A series with autocorrelation r^lag and unit variance."""
    series = rng.standard_normal(n)
    for i in range(1, n):
        series[i] = r * series[i - 1] + np.sqrt(1 - r**2) * series[i]
    return series


def test_the_slope_of_white_noise_is_that_of_linear_regression():
    # residuals with a negative lag-one correlation count as n points, as in ordinary least squares
    time = np.linspace(0, 5, 40)
    values = 0.3 * time + np.where(np.arange(40) % 2, 0.1, -0.1)
    found, expected = fit_slope(time, values), stats.linregress(time, values)
    assert found.value == pytest.approx(expected.slope)
    assert found.interval()[1] - found.value == pytest.approx(stats.t.ppf(0.975, 38) * expected.stderr)


@pytest.mark.parametrize("n", [4, 11, 31])
@pytest.mark.parametrize("r", [0.0, 0.3, 0.9])
def test_traces_are_those_of_the_matrices(n, r):
    lines, apart = _lines(n), np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    without, correlation, neighbours = np.eye(n) - lines @ lines.T, r**apart, (apart == 1) / 2
    left = without @ correlation
    expected = [np.trace(left), np.trace(left @ without @ neighbours), np.trace(left @ left)]
    np.testing.assert_allclose(_traces(lines, r), expected)


@pytest.mark.parametrize("n", [10, 40])
@pytest.mark.parametrize("r", [0.0, 0.3, 0.6])
def test_no_slope_is_seldom_taken_for_one(n, r):
    """Series of known correlation, beside 30 further points of the same process: at most one in twenty or so."""
    rng = np.random.default_rng(0)
    time = np.arange(float(n))
    alarms = regression = 0
    for _ in range(400):
        values = autoregressive(rng, r, n)
        found = fit_slope(time, values, [autoregressive(rng, r, 24), autoregressive(rng, r, 6)])
        alarms += not found.may_be_zero()
        regression += stats.linregress(time, values).pvalue < 0.05
    assert alarms / 400 <= 0.08
    assert r == 0 or regression / 400 >= 0.1


def test_a_slope_that_is_there_is_found():
    values = autoregressive(np.random.default_rng(0), 0.5, 100) + 0.1 * np.arange(100)
    found = fit_slope(np.arange(100), values, [autoregressive(np.random.default_rng(1), 0.5, 30)])
    assert found.interval()[0] > 0.05 and not found.may_be_zero(0.999)


def test_others_widen_what_came_out_too_narrow_by_chance():
    time, rng = np.arange(10.0), np.random.default_rng(0)
    quiet = 0.01 * time + 0.001 * rng.standard_normal(10)
    assert not fit_slope(time, quiet).may_be_zero()
    assert fit_slope(time, quiet, [rng.standard_normal(30)]).may_be_zero()
    # others that lie still do not narrow it
    loud = rng.standard_normal(10)
    alone, beside = fit_slope(time, loud).interval(), fit_slope(time, loud, [np.zeros(30)]).interval()
    np.testing.assert_allclose(alone, beside)


def test_slopes_at_the_edges():
    exact = fit_slope(np.arange(9.0), 2 * np.arange(9.0) + 1)
    assert exact.value == pytest.approx(2) and np.ptp(exact.interval()) == pytest.approx(0, abs=1e-9)
    flat = fit_slope(np.arange(9.0), np.zeros(9))
    assert (flat.value, *flat.interval()) == (0, 0, 0) and flat.may_be_zero()
    short = fit_slope([0.0, 1.0], [0.0, 1.0])
    assert np.isnan([short.value, *short.interval()]).all()
    wave = fit_slope(np.arange(100.0), np.sin(np.arange(100.0) / 16))  # nothing but correlation
    assert np.isnan(wave.interval()).all() and not wave.may_be_zero()
    assert np.isnan(fit_slope(np.arange(9.0), np.full(9, np.nan)).value)
