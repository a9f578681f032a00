from __future__ import annotations

import numpy as np
import pytest

from edviz.analysis.forecast import BASELINES, baselines, extrapolate, lead_times, nmae, one_step, steps
from edviz.errors import GridMismatchError, MissingDataError

SHAPE = (4, 5, 6)


def polynomial(degree: int, n_frames: int, start: int = 0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Fields that are polynomials in the frame number, mean 1 on average, and the highest coefficient."""
    rng = np.random.default_rng(seed)
    coefficients = 0.02 * rng.standard_normal((degree + 1, *SHAPE)) / 10.0 ** np.arange(degree + 1)[:, None, None, None]
    coefficients -= coefficients.mean(axis=(1, 2, 3), keepdims=True)
    t = start + np.arange(n_frames)
    values = 1 + sum(c * t[:, None, None, None] ** p for p, c in enumerate(coefficients))
    return values, coefficients[-1]


@pytest.mark.parametrize("degree", [0, 1, 2])
@pytest.mark.parametrize("lead", [1, 2, 5])
def test_extrapolation_is_exact_on_polynomials(degree, lead):
    values, _ = polynomial(degree, 12)
    np.testing.assert_allclose(extrapolate(values[:6], degree, lead), values[5 + lead], atol=1e-12)


def test_baselines_on_a_parabola(make_field, small_batches):
    """Persistence misses by the change itself, linear by lead (lead + 1) times the curvature, quadratic by nothing."""
    values, curvature = polynomial(2, 15)
    found = baselines(make_field(values), leads=(1, 2, 4))
    np.testing.assert_array_equal(found["lead_time"], [10, 20, 40])
    for lead in (1, 2, 4):
        errors = found.sel(lead_time=10 * lead)
        assert np.isnan(errors["linear"][: lead + 2]).all() and np.isfinite(errors["linear"][lead + 2 :]).all()
        expected = lead * (lead + 1) * np.abs(curvature).mean() * 100
        np.testing.assert_allclose(errors["linear"][lead + 2 :], expected, rtol=1e-3)
        assert float(errors["quadratic"].max()) < 1e-3
        moved = 100 * np.abs(values[lead:] - values[:-lead]).mean(axis=(1, 2, 3))
        np.testing.assert_allclose(errors["persistence"][lead + 2 :], moved[2:], rtol=1e-3)


def test_baselines_do_not_depend_on_the_batches(make_noise, monkeypatch):
    traj = make_noise(n_frames=17)
    whole = baselines(traj, (1, 3, 6))
    monkeypatch.setattr("edviz.analysis.frames.BATCH_BYTES", 1)
    for name in BASELINES:
        np.testing.assert_allclose(baselines(traj, (1, 3, 6))[name], whole[name], rtol=1e-6)


def test_baselines_need_frames(make_noise):
    with pytest.raises(MissingDataError, match="needs 4 frames"):
        baselines(make_noise(n_frames=3))
    with pytest.raises(MissingDataError, match="sample"):
        baselines(make_noise(n_frames=8, n_samples=2))


def test_nmae_aligns_on_time(make_noise, make_field):
    reference = make_noise(n_frames=10)
    values = reference.density.values
    wrong = values[4:8] + 0.02 * np.where(np.arange(8) % 2, 1, -1)  # by 2 % of the mean, up and down
    found = nmae(make_field(wrong, start=40.0), reference)
    np.testing.assert_array_equal(found["time"], [40, 50, 60, 70])
    np.testing.assert_allclose(found, 2.0, rtol=1e-5)
    assert found.attrs["units"] == "%"
    # frames beyond the reference's end are left out
    late = make_field(values[5:], start=80.0)
    assert nmae(late, reference)["time"].values.tolist() == [80, 90]
    with pytest.raises(MissingDataError, match="share no time"):
        nmae(make_field(values, start=205.0), reference)
    with pytest.raises(GridMismatchError):
        nmae(make_noise(shape=(8, 8, 6)), reference)


def test_steps(make_field, small_batches):
    values, slope = polynomial(1, 9)
    found = steps(make_field(values))
    assert found["time"].values.tolist() == [10.0 * i for i in range(1, 9)]
    np.testing.assert_allclose(found, 100 * np.abs(slope).mean(), rtol=1e-3)
    ensemble = steps(make_field(np.stack([values, np.ones_like(values)])))
    assert ensemble.dims == ("sample", "time")
    np.testing.assert_allclose(ensemble[1], 0)


def test_lead_times_beside_extrapolation_from_the_same_frames(make_field):
    values, _ = polynomial(2, 14)
    reference = make_field(values)
    persistent = np.broadcast_to(values[5], (2, 6, *SHAPE))  # a rollout that never moves, from context up to frame 5
    found = lead_times(make_field(persistent, start=60.0), reference)
    np.testing.assert_allclose(found["lead_time"], 10.0 * np.arange(1, 7))
    np.testing.assert_allclose(found["time"], 60 + 10.0 * np.arange(6))
    np.testing.assert_allclose(found["nmae"], found["persistence"], rtol=1e-5)
    np.testing.assert_allclose(found["nmae_ensemble_mean"], found["nmae"], rtol=1e-5)
    assert float(found["quadratic"].max()) < 1e-3 and float(found["linear"].min()) > 1e-3


def test_the_ensemble_mean_is_better_than_its_members(make_field, make_noise):
    truth = np.ones((8, 6, 6, 6))
    noise = np.random.default_rng(0).normal(0, 0.01, (16, 4, 6, 6, 6))
    found = lead_times(make_field(truth[:4] + noise, start=40.0, n_electrons=125.0), make_field(truth))
    np.testing.assert_allclose(found["nmae"] / found["nmae_ensemble_mean"], 4.0, rtol=0.1)
    np.testing.assert_allclose(found["nmae"], 100 * 0.01 * np.sqrt(2 / np.pi), rtol=0.05)


def test_lead_times_without_context_have_no_extrapolation(make_noise):
    found = lead_times(make_noise(n_frames=5, seed=1), make_noise(n_frames=5))
    assert np.isnan(found["quadratic"]).all() and np.isfinite(found["nmae"]).all()


def test_one_step_errors(make_field):
    rng = np.random.default_rng(0)
    values, _ = polynomial(2, 12)
    reference = make_field(values)
    signs = np.where(np.arange(6) % 2, 1.0, -1.0)
    rebuilt = make_field(values + 0.01 * signs)
    pair = np.stack([values[2:] + 0.03 * signs, values[2:] + 0.01 * signs])  # mean off by 2 %, its members by 3 and 1
    found = one_step(make_field(pair, start=20.0), rebuilt, reference)
    assert found["time"].values.tolist() == [10.0 * i for i in range(3, 12)]  # quadratic needs three frames
    for name, expected in (
        ("ensemble_mean", 2.0),
        ("single", 2.0),
        ("autoencoder", 1.0),
        ("against_reconstruction", 1.0),
    ):
        np.testing.assert_allclose(found[name], expected, rtol=1e-4)
    assert float(found["quadratic"].max()) < 1e-3
    with pytest.raises(MissingDataError, match="share no time"):
        one_step(make_field(rng.uniform(0.5, 1.5, (3, *SHAPE)), start=500.0), rebuilt, reference)
