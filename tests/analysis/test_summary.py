from __future__ import annotations

import numpy as np
import pytest

from edviz.analysis.conservation import conservation
from edviz.analysis.correlation import structure_factor
from edviz.analysis.floors import cut_blocks
from edviz.analysis.forecast import steps
from edviz.analysis.histogram import histogram
from edviz.analysis.summary import Plan, pool_blocks, pool_windows, summarise
from edviz.grid import apply_symmetry


@pytest.fixture
def reference(make_noise):
    return make_noise(n_frames=8, seed=5)


def test_the_one_pass_agrees_with_the_single_measurements(make_noise, reference, small_batches):
    traj = make_noise(n_frames=19, n_samples=2)
    plan = Plan.of(reference)
    found = summarise(traj, plan, [])
    np.testing.assert_allclose(
        found["counts"] / traj.grid.n_points, histogram(traj, plan.log_bins, per_frame=True)["probability"]
    )
    scale = traj.n_electrons / plan.n_electrons
    expected = structure_factor(traj, k_max=6.0, per_frame=True) * scale
    np.testing.assert_allclose(found["structure_factor"], expected, rtol=1e-5)
    np.testing.assert_allclose(found["step"][:, 1:], steps(traj), rtol=1e-5)
    assert np.isnan(found["step"][:, 0]).all()
    kept = conservation(traj)
    np.testing.assert_allclose(found["electrons"], kept["electrons"])
    np.testing.assert_array_equal(found["minimum"], kept["minimum"])
    values = traj.density.values
    np.testing.assert_allclose(found["contrast"], values.std(axis=(-3, -2, -1)) / plan.mean, rtol=1e-5)
    assert int(found["not_positive"].sum()) == 0


def test_values_that_are_not_positive_are_counted(make_noise, reference):
    ds = make_noise(n_frames=3).ds.copy(deep=True)
    ds["density"].values[1, :2, 0, 0] = (0, -1)
    found = summarise(type(reference)(ds), Plan.of(reference), [])
    assert found["not_positive"].values.tolist() == [[0, 2, 0]]


def test_blocks_pool_their_frames(make_noise, reference, small_batches):
    traj = make_noise(n_frames=19, n_samples=2)
    plan = Plan.of(reference)
    blocks = cut_blocks(19, 8)
    pooled = pool_blocks(summarise(traj, plan, blocks), blocks)
    assert pooled.sizes["block"] == 4
    for index, (sample, block) in enumerate((s, b) for s in range(2) for b in blocks):
        part = traj.sample(sample)[block]
        one = pooled.isel(block=index)
        n_values = part.density.size
        assert float(one["n_values"]) == n_values
        np.testing.assert_allclose(one["counts"] / n_values, histogram(part, plan.log_bins)["probability"])
        values = part.density.values
        edges = [-np.inf, *plan.value_bins.edges, np.inf]
        assert np.abs(np.cumsum(one["value_counts"] - np.histogram(values, edges)[0])).max() <= 2
        logs = np.log(values.astype(np.float64))
        np.testing.assert_allclose(one["log_sums"], [(logs**p).sum() for p in (1, 2, 3)], rtol=1e-4)
        above = np.maximum(values - plan.value_bins.high, 0).sum()
        assert float(one["value_excess"][1]) == pytest.approx(above, rel=1e-4, abs=1e-4)


def test_windows_pool_samples_and_end_with_the_last_frame(make_noise, reference):
    traj = make_noise(n_frames=19, n_samples=2)
    found = summarise(traj, Plan.of(reference), [])
    windows = pool_windows(found, 5)
    np.testing.assert_allclose(windows["time"], [60, 110, 160])  # frames 4 to 8, 9 to 13, 14 to 18
    last = found.isel(time=slice(14, 19))
    np.testing.assert_allclose(windows["contrast"][-1], last["contrast"].mean())
    np.testing.assert_allclose(windows["counts"][-1], last["counts"].sum(("sample", "time")))
    assert pool_windows(found, 20).sizes["time"] == 0


def test_translations_and_symmetries_change_nothing(make_noise, reference):
    traj = make_noise(n_frames=4)
    plan = Plan.of(reference)
    expected = summarise(traj, plan, [slice(0, 4)])
    values = traj.density.values
    moved = [np.roll(values, (1, 2, -3), axis=(1, 2, 3))]
    moved += [apply_symmetry(values, operation) for operation in traj.grid.symmetries()[1::9]]
    for changed in moved:
        found = summarise(type(traj)(traj.ds.assign(density=traj.density.copy(data=changed))), plan, [slice(0, 4)])
        for name in expected.data_vars:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6, err_msg=name)
