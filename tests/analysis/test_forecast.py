from __future__ import annotations

import numpy as np
import pytest

from edviz.analysis import segments
from edviz.analysis.forecast import (
    BASELINES,
    FORECASTS,
    _block_shares,
    baselines,
    beats_climatology_until,
    extrapolate,
    forecast_skill,
    forecast_skill_over_starts,
    lead_times,
    nmae,
    one_step,
    steps,
)
from edviz.errors import ArgumentError, GridMismatchError, MissingDataError, SchemaError

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


# Skill per lead time
# ------------------------------------------------------------------------------------------------------------


def autoregressive(n_frames: int, tau: float, seed: int, first: np.ndarray | None = None, n: int = 8) -> np.ndarray:
    """Mean 1, contrast 0.1, every grid point a process that forgets itself in `tau` frames: all skills are known."""
    rng = np.random.default_rng(seed)
    kept = np.exp(-1 / tau)
    frames = np.empty((n_frames, n, n, n))
    state = rng.standard_normal((n, n, n)) if first is None else (first - 1) / 0.1
    for i in range(n_frames):
        if i or first is not None:
            state = kept * state + np.sqrt(1 - kept**2) * rng.standard_normal((n, n, n))
        frames[i] = 1 + 0.1 * (state - state.mean())
    return frames


@pytest.fixture(scope="module")
def ensemble() -> tuple[np.ndarray, np.ndarray]:
    """Truth (30 frames) and 12 true continuations of its frame 9: a perfect ensemble."""
    truth = autoregressive(30, 5.0, 0)
    return truth, np.stack([autoregressive(20, 5.0, 1 + i, first=truth[9]) for i in range(12)])


def test_skill_of_a_perfect_ensemble(make_field, ensemble):
    truth, members = ensemble
    reference = make_field(truth, n_electrons=125.0)
    training = make_field(autoregressive(400, 5.0, 99), start=-5000.0, n_electrons=125.0)
    rollout = make_field(members, start=100.0, n_electrons=125.0)
    found = forecast_skill(rollout, reference, training)
    assert list(found["forecast"].values) == list(FORECASTS)
    np.testing.assert_allclose(found["lead_time"], 10.0 * np.arange(1, 21))
    np.testing.assert_allclose(found["time"], 100 + 10.0 * np.arange(20))
    kept = np.exp(-np.arange(1, 21) / 5.0)
    unknown = np.sqrt(1 - kept**2)  # of the truth's standard deviation
    of_mean = unknown * np.sqrt(1 + 1 / 12)

    def of(name, forecast):
        return found[name].sel(forecast=forecast).values

    tolerance = {"rtol": 0.12}
    np.testing.assert_allclose(of("vrmse", "rollout"), of_mean, **tolerance)
    np.testing.assert_allclose(of("vrmse", "member"), unknown * np.sqrt(2), **tolerance)
    np.testing.assert_allclose(of("vrmse", "persistence"), np.sqrt(2 - 2 * kept), **tolerance)
    np.testing.assert_allclose(of("vrmse", "climatology"), 1, rtol=0.02)
    np.testing.assert_allclose(of("nmae", "rollout"), 10 * of_mean * np.sqrt(2 / np.pi), **tolerance)
    np.testing.assert_allclose(of("crps", "rollout"), 10 * unknown / np.sqrt(np.pi), **tolerance)
    np.testing.assert_allclose(of("crps", "member"), of("nmae", "member"))
    np.testing.assert_allclose(of("crps", "climatology"), 10 / np.sqrt(np.pi), **tolerance)
    np.testing.assert_allclose(of("acc", "persistence"), kept, atol=0.15)
    np.testing.assert_allclose(of("acc", "rollout"), kept**2 / np.sqrt(kept**2 + unknown**2 / 12), atol=0.15)
    np.testing.assert_array_equal(of("acc", "climatology"), 0)
    np.testing.assert_allclose(found["spread_skill_ratio"], 1, rtol=0.1)
    np.testing.assert_allclose(found["spread"], 10 * unknown, rtol=0.1)
    for name, units in (("nmae", "%"), ("vrmse", "1"), ("acc", "1"), ("crps", "%"), ("spread", "%")):
        assert found[name].attrs["units"] == units
    # the older table says the same where they overlap
    older = lead_times(rollout, reference)
    for new, old in (("member", "nmae"), ("rollout", "nmae_ensemble_mean"), ("quadratic", "quadratic")):
        np.testing.assert_allclose(of("nmae", new), older[old])


def test_too_sure_and_too_wide_ensembles(make_field, ensemble):
    truth, members = ensemble
    reference = make_field(truth, n_electrons=125.0)
    centre = members.mean(axis=0)
    for factor in (0.5, 2.0):
        changed = make_field(centre + factor * (members - centre), start=100.0, n_electrons=125.0)
        found = forecast_skill(changed, reference)
        np.testing.assert_allclose(found["spread_skill_ratio"], factor, rtol=0.1)


def test_limits_of_the_skill(make_field, ensemble):
    truth, _ = ensemble
    reference = make_field(truth, n_electrons=125.0)
    perfect = forecast_skill(reference[10:], reference)
    for name, value in (("nmae", 0), ("vrmse", 0), ("crps", 0), ("acc", 1)):
        for forecast in ("rollout", "member"):
            np.testing.assert_allclose(perfect[name].sel(forecast=forecast), value, atol=1e-6)
    assert np.isnan(perfect["spread"]).all() and np.isnan(perfect["spread_skill_ratio"]).all()
    assert np.isnan(perfect["crps"].sel(forecast="climatology")).all()
    assert beats_climatology_until(perfect) == 200.0
    uniform = forecast_skill(make_field(np.ones((5, 8, 8, 8)), start=100.0, n_electrons=125.0), reference)
    np.testing.assert_allclose(uniform["vrmse"].sel(forecast="rollout"), 1, rtol=0.01)
    np.testing.assert_allclose(uniform["acc"].sel(forecast="rollout"), 0)
    np.testing.assert_allclose(uniform["crps"].sel(forecast="rollout"), uniform["nmae"].sel(forecast="climatology"))
    assert beats_climatology_until(uniform) == 0.0


def test_the_mean_field_of_a_crystal(make_field):
    """Noise about a structured mean field: a forecast of nothing but that field has no skill."""
    rng = np.random.default_rng(0)
    lattice = 1 + 0.5 * np.cos(2 * np.pi * np.arange(8) / 4)[:, None, None] * np.ones((8, 8, 8))
    lattice /= lattice.mean()
    training, truth = (lattice + 0.05 * rng.standard_normal((n, 8, 8, 8)) for n in (200, 20))
    reference = make_field(truth, start=5000.0, n_electrons=125.0)
    known = make_field(training, n_electrons=125.0)
    frozen = make_field(np.broadcast_to(lattice, (5, 8, 8, 8)), start=5050.0, n_electrons=125.0)
    field = forecast_skill(frozen, reference, known, climatology="field")
    uniform = forecast_skill(frozen, reference, known)
    assert float(uniform["acc"].sel(forecast="rollout").min()) > 0.95
    assert float(abs(field["acc"].sel(forecast="rollout")).max()) < 0.2
    expected = 100 * 0.05 * np.sqrt(2 / np.pi)
    np.testing.assert_allclose(field["nmae"].sel(forecast="climatology"), expected, rtol=0.1)
    assert float(uniform["nmae"].sel(forecast="climatology").min()) > 5 * expected


def test_skill_does_not_depend_on_the_batches(make_field, ensemble, monkeypatch):
    truth, members = ensemble
    reference = make_field(truth, n_electrons=125.0)
    rollout = make_field(members[:3], start=100.0, n_electrons=125.0)
    training = make_field(truth, start=-1000.0, n_electrons=125.0)
    whole = forecast_skill(rollout, reference, training)
    monkeypatch.setattr("edviz.analysis.frames.BATCH_BYTES", 1)
    cut = forecast_skill(rollout, reference, training)
    for name in whole.data_vars:
        np.testing.assert_allclose(cut[name], whole[name], rtol=1e-6)


def test_climatology_does_not_look_at_the_frames_it_forecasts(make_field):
    truth = autoregressive(120, 5.0, 0)
    reference = make_field(truth, n_electrons=125.0)
    rollout = reference[60:80]
    whole = forecast_skill(rollout, reference, reference)["crps"].sel(forecast="climatology")
    known = [i for i in range(120) if not 40 <= i < 100]  # 200 fs away from the rollout, before and after
    np.testing.assert_allclose(
        whole, forecast_skill(rollout, reference, reference[known])["crps"].sel(forecast="climatology")
    )
    assert float(whole.mean()) == pytest.approx(10 / np.sqrt(np.pi), rel=0.1)
    with pytest.raises(MissingDataError, match="hold 0 frames"):
        forecast_skill(rollout, reference, reference[40:100])


def test_skill_over_starts(make_field):
    truth = autoregressive(300, 5.0, 3)
    reference = make_field(truth, n_electrons=125.0)
    forecasts = [
        make_field(
            np.stack([autoregressive(8, 5.0, 100 * s + i, first=truth[s - 1]) for i in range(4)]),
            start=10.0 * s,
            n_electrons=125.0,
        )
        for s in range(5, 290, 10)
    ]
    found = forecast_skill_over_starts(forecasts[::-1], reference)
    each = [forecast_skill(f, reference) for f in forecasts]
    assert found.attrs == {"n_samples": 4, "n_starts": 29, "starts_per_block": 2}
    for name in ("nmae", "vrmse", "acc", "crps"):
        np.testing.assert_allclose(found[name], np.mean([one[name] for one in each], axis=0))
        known = found.sel(forecast=["rollout", "member", "persistence", "linear", "quadratic"])
        assert (known[f"{name}_low"] < known[name]).all() and (known[name] < known[f"{name}_high"]).all()
    np.testing.assert_allclose(found["skill"], np.sqrt(np.mean([one["skill"] ** 2 for one in each], axis=0)))
    np.testing.assert_allclose(found["spread_skill_ratio"], 1, atol=0.1)
    # independent starts: half the interval is 1.96 standard errors of the mean
    member = np.array([one["nmae"].sel(forecast="rollout")[0] for one in each])
    first = found.sel(forecast="rollout").isel(lead_time=0)
    half = float(first["nmae_high"] - first["nmae_low"]) / 2
    assert half == pytest.approx(1.96 * member.std(ddof=1) / np.sqrt(29), rel=0.4)
    assert 0 < beats_climatology_until(found) <= 80


def test_the_interval_over_starts_holds_the_truth_as_often_as_it_says():
    """Means of 60 correlated starts, resampled in blocks that outlast their memory."""
    rng = np.random.default_rng(0)
    shares = _block_shares(60, 6, seed=0)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(shares.mean(axis=0), 1 / 60, rtol=0.1)
    inside = 0
    for _ in range(400):
        series = np.convolve(rng.standard_normal(62), np.ones(3) / 3, mode="valid")  # mean zero, three starts' memory
        low, high = np.quantile(shares @ series, [0.025, 0.975])
        inside += low <= 0 <= high
    assert 0.83 < inside / 400 < 0.98
    assert _block_shares(5, 2, seed=0) is None


def test_one_start_has_no_interval(make_field, ensemble):
    truth, members = ensemble
    reference = make_field(truth, n_electrons=125.0)
    rollout = make_field(members, start=100.0, n_electrons=125.0)
    found = forecast_skill_over_starts([rollout], reference)
    np.testing.assert_allclose(found["nmae"], forecast_skill(rollout, reference)["nmae"])
    assert np.isnan(found["nmae_low"]).all() and np.isnan(found["spread_skill_ratio_high"]).all()


def test_beats_climatology_until_the_first_crossing(make_field, ensemble):
    truth, _ = ensemble
    reference = make_field(truth, n_electrons=125.0)
    values = truth[10:].copy()
    values[7:9] = 1 + 2 * (truth[17:19] - 1) * -1  # two bad frames, then good ones again
    skill = forecast_skill(make_field(values, start=100.0, n_electrons=125.0), reference)
    assert beats_climatology_until(skill) == 70.0


def test_skill_of_extrapolation_on_the_bundled_lithium(lithium):
    """The yardsticks of the protocol: persistence 6.7 %, linear 4.0 %, quadratic 3.3 % at 10 fs, uniform 19.6 %."""
    reference = lithium.split("test")
    forecasts = [reference[start : start + 5] for start in range(3, 123, 20)]
    found = forecast_skill_over_starts(forecasts, reference, lithium.split("train")[::10])
    first = found["nmae"].isel(lead_time=0)
    yardsticks = (("persistence", 6.7), ("linear", 4.0), ("quadratic", 3.3), ("climatology", 19.6))
    for forecast, expected in yardsticks:
        assert float(first.sel(forecast=forecast)) == pytest.approx(expected, rel=0.15)
    crps = found["crps"].sel(forecast="climatology")
    assert (crps < found["nmae"].sel(forecast="climatology")).all() and (crps > 10).all()


def test_skill_errors(make_field, make_noise, ensemble):
    truth, members = ensemble
    reference = make_field(truth, n_electrons=125.0)
    rollout = make_field(members, start=100.0, n_electrons=125.0)
    with pytest.raises(ArgumentError, match="uniform"):
        forecast_skill(rollout, reference, climatology="mean")
    with pytest.raises(MissingDataError, match="training="):
        forecast_skill(rollout, reference, climatology="field")
    with pytest.raises(MissingDataError, match="take a sample"):
        forecast_skill(rollout, rollout)
    with pytest.raises(MissingDataError, match=r"training\.sample"):
        forecast_skill(rollout, reference, rollout)
    with pytest.raises(GridMismatchError, match="training"):
        forecast_skill(rollout, reference, make_noise(shape=(8, 8, 6)))
    with pytest.raises(MissingDataError, match="at least one"):
        forecast_skill_over_starts([], reference)
    with pytest.raises(MissingDataError, match="1 and 12 samples"):
        forecast_skill_over_starts([rollout, rollout.sample(0)[1:]], reference)
    with pytest.raises(MissingDataError, match="two forecasts start at 100 fs"):
        forecast_skill_over_starts([rollout, rollout], reference)
    with pytest.raises(MissingDataError, match="starts at 20 fs"):
        forecast_skill_over_starts([reference[2:6], reference[8:12]], reference)
    with pytest.raises(SchemaError, match="elf"):
        elf = make_field(np.ones((5, 8, 8, 8)), density_kind="elf", n_electrons=None)
        forecast_skill(elf, elf)
    with pytest.raises(GridMismatchError, match="generated"):
        forecast_skill_over_starts([rollout, make_noise(n_samples=12, shape=(8, 8, 6), start=500.0)], reference)


def test_baselines_do_not_depend_on_how_the_trajectory_is_cut(make_noise, monkeypatch):
    reference = make_noise(50)
    expected = baselines(reference, (1, 4, 10))
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 1)
    monkeypatch.setattr(segments, "MIN_FRAMES", 7)
    assert len(segments.cut_segments(reference)) == 8
    assert baselines(reference, (1, 4, 10)).identical(expected)
    assert np.isnan(expected["quadratic"].isel(lead_time=0)[:3]).all()
    assert np.isfinite(expected["quadratic"].isel(lead_time=2)[12:]).all()
