"""Running statistics: AIMD lasts; what fades, drifts, loses charge or turns negative does not."""

import numpy as np
import pytest
import xarray as xr

import edviz
from edviz.analysis.running import MAX_BLOCKS, RunningStatistics, log_range, running_statistics
from edviz.analysis.slopes import fit_slope

N = 500


@pytest.fixture(scope="module")
def lithium():
    """500 frames of AIMD, 5 ps, on a coarse grid."""
    traj = edviz.load_sample("lithium-800K")
    return traj[len(traj) - N :].resample_grid((12, 12, 12)).renormalized()


@pytest.fixture(scope="module")
def values(lithium):
    return lithium.density.values


def judged(lithium, values):
    statistics = RunningStatistics(lithium.grid, 54.0, 1, log_range(values[:1]))
    for frame in values:
        statistics.update(frame[None])
    stored = statistics.variables()
    one = lithium[:1].ds[["density", "cell"]]
    return running_statistics(one.assign(density=one["density"].expand_dims("sample"), **stored))


def faded(values, factors):
    """Contrast times a factor, charge kept."""
    mean = values.mean(axis=(1, 2, 3), keepdims=True)
    return (mean + (values - mean) * np.asarray(factors, np.float32)[:, None, None, None]).astype(np.float32)


def test_aimd_lasts(lithium, values):
    found = judged(lithium, values)
    assert bool(found["lasted"]), found[["last", "low", "high", "same", "drift", "steady"]].to_dataframe()
    assert int(found["frames"].sum()) == N


def test_a_last_tenth_that_fades_is_seen(lithium, values):
    found = judged(lithium, faded(values, np.where(np.arange(N) < 0.9 * N, 1, 0.7)))
    assert not bool(found["same"].sel(quantity="contrast")) and not bool(found["lasted"])


def test_a_drift_is_seen(lithium, values):
    found = judged(lithium, faded(values, np.linspace(1, 0.7, N)))
    assert not bool(found["steady"].sel(quantity="contrast")) and not bool(found["lasted"])
    assert float(found["drift"].sel(quantity="contrast")) == pytest.approx(-0.3 * 0.25, rel=0.3)


def test_noise_is_steady_even_where_its_tenths_look_alike(lithium, values):
    """Of ten independent numbers one series in twenty looks too correlated to say: this one's tenths do."""
    noise = np.random.default_rng(4).normal(size=N)
    found = judged(lithium, faded(np.broadcast_to(values[0], values.shape), 1 + 0.01 * noise))
    assert not np.isfinite(fit_slope(np.arange(10), found["contrast"].values).interval()).any()
    assert bool(found["steady"].all()) and bool(found["lasted"])


def test_one_bad_frame_is_seen(lithium, values):
    lost, negative = values.copy(), values.copy()
    lost[123] *= 1 + 2e-5
    negative[321, 0, 0, 0] *= -1e-3
    assert not bool(judged(lithium, lost)["electrons"])
    assert not bool(judged(lithium, negative)["positive"])


def test_blocks_are_put_together_without_loss(lithium, values):
    """Against plain sums over all frames, with blocks merged twice and the last one half full."""
    statistics = RunningStatistics(lithium.grid, 54.0, 1, (-3.0, 0.0))
    n = 3 * MAX_BLOCKS + 1
    for frame in values[:n]:
        statistics.update(frame[None])
    stored = {name: array for name, (_, array, _) in statistics.variables().items()}
    assert statistics.block_length == 4 and statistics.n_frames == n
    assert (stored["running_frames"][: n // 4] == 4).all() and stored["running_frames"][n // 4] == n % 4
    flat = values[:n].reshape(n, -1).astype(np.float64)
    np.testing.assert_allclose(stored["running_contrast"].sum(), (flat.std(1) / flat.mean(1)).sum(), rtol=1e-5)
    np.testing.assert_allclose(stored["running_log_sums"].sum(0)[:2], [np.log(flat).sum(), (np.log(flat) ** 2).sum()])
    assert stored["running_minimum"].min() == values[:n].min()
    expected = lithium[:n].structure_factor().values * n
    np.testing.assert_allclose(stored["running_structure_factor"].sum(0), expected, rtol=1e-4)


def test_going_on_from_what_is_stored_is_the_same(lithium, values):
    whole = RunningStatistics(lithium.grid, 54.0, 1, (-3.0, 0.0))
    parted = RunningStatistics(lithium.grid, 54.0, 1, (-3.0, 0.0))
    for i, frame in enumerate(values[:300]):
        whole.update(frame[None])
        parted.update(frame[None])
        if i % 97 == 0:
            stored = {name: xr.DataArray(v, dims=d, attrs=a) for name, (d, v, a) in parted.variables().items()}
            parted = RunningStatistics.restored(stored, lithium.grid, 54.0)
    for name, (_, array, attrs) in whole.variables().items():
        np.testing.assert_array_equal(array, parted.variables()[name][1])
        assert attrs == parted.variables()[name][2]
