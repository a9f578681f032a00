from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from edviz.analysis import rows
from edviz.analysis.floors import cut_blocks, median_with_interval
from edviz.analysis.rows import ROWS, Evidence, Row
from edviz.analysis.summary import Plan, pool_blocks, summarise


def build(generated, reference, training=None) -> Evidence:
    plan = Plan.of(reference)
    given = {"generated": generated, "reference": reference} | ({"training": training} if training else {})
    blocks = {name: cut_blocks(len(traj), len(reference)) for name, traj in given.items()}
    summaries = {name: summarise(traj, plan, blocks[name]) for name, traj in given.items()}
    pooled = {name: pool_blocks(summaries[name], blocks[name]) for name in given}
    return Evidence(generated, reference, training, plan, 10.0, summaries, pooled)


@pytest.fixture
def noise(make_noise):
    """A rollout of two samples, a reference and training data, all from one distribution; without memory in time."""
    return build(make_noise(60, n_samples=2, seed=1), make_noise(20, seed=2), make_noise(80, seed=3))


def test_a_row_s_ratio():
    assert Row(3.0, 2.0).ratio == 1.5
    assert np.isnan(Row(3.0).ratio) and np.isnan(Row(3.0, 0.0).ratio)


def test_every_row_is_documented_and_never_passes_a_gap():
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    for name, row in ROWS.items():
        assert row.__name__ == name and row.__doc__
        assert f"| `{name}` |" in page
    assert Row().verdict == "no data"


@pytest.mark.parametrize("n_generated", [1, 4, 28])
def test_the_distance_rule_seldom_fails_what_is_right_and_finds_what_is_wrong(n_generated):
    rng = np.random.default_rng(0)
    right = wrong = 0
    for _ in range(300):
        floor = median_with_interval(1e-4 * np.exp(0.4 * rng.standard_normal(3)))
        perfect = 1e-4 * np.exp(0.4 * rng.standard_normal(n_generated))
        right += rows._distance_verdict(median_with_interval(perfect), floor)[0] == "pass"
        wrong += rows._distance_verdict(median_with_interval(11 * perfect), floor)[0] == "fail"
    assert right >= 285
    assert wrong >= (200 if n_generated == 1 else 290)


def test_the_distance_rule_at_its_edges():
    floor = median_with_interval([1e-4, 1.2e-4, 0.9e-4])
    verdict = rows._distance_verdict
    assert verdict(median_with_interval([1e-4, np.nan]), floor)[0] == "no data"
    assert verdict(median_with_interval([1e-4]), median_with_interval([0.0]))[0] == "no data"
    assert verdict(median_with_interval([1e-4]), median_with_interval([1e-4]))[0] == "no data"
    one_collapsed = median_with_interval([1e-4] * 11 + [0.5])
    found, why = verdict(one_collapsed, floor)
    assert found == "fail" and "one block" in why
    assert verdict(median_with_interval([0.0, 0.0]), floor)[0] == "pass"


def test_the_level_rule(noise):
    own = noise.aimd["contrast"].values

    def level(shift):
        def of(blocks):
            values = blocks["contrast"].values
            return values + shift if blocks.sizes["block"] == noise.n_blocks("generated") else values

        return of

    scatter = own.std(ddof=1)
    assert rows.level_row(noise, level(0.0)).verdict == "pass"
    assert rows.level_row(noise, level(8 * scatter)).verdict == "fail"
    assert rows.level_row(noise, level(8 * scatter), margin=8 * scatter).verdict == "pass"
    assert rows.level_row(noise, level(np.nan)).verdict == "no data"
    far = rows.level_row(noise, level(20 * scatter))
    assert far.verdict == "fail" and "one block" in far.note
    row = rows.level_row(noise, level(0.0))
    assert row.floor == np.median(own) and row.low <= row.value <= row.high


def drifting(evidence, change) -> Row:
    """A drift row whose series is AIMD's (noise around 1) plus, for the rollout, change(0..1)."""
    generated = evidence.summaries["generated"]
    time = generated["time"].values
    bent = generated.assign(contrast=generated["contrast"] + change((time - time[0]) / (time[-1] - time[0])))
    return rows.drift_std(replace(evidence, summaries={**evidence.summaries, "generated": bent}))


def test_the_drift_rule(make_noise):
    rollout, reference, training = (
        make_noise(400, seed=1, n_samples=2),
        make_noise(100, seed=2),
        make_noise(420, seed=3),
    )
    evidence = build(rollout, reference, training)
    still = drifting(evidence, lambda x: 0 * x)
    assert still.verdict == "pass" and still.low <= 0 <= still.high
    slow = drifting(evidence, lambda x: 0.03 * x)
    assert slow.verdict == "fail" and slow.low > 0
    own = float(evidence.blocks["reference"]["contrast"][0])
    assert slow.value == pytest.approx(0.03 / own / 4.0, rel=0.2)  # 1/ps over 4 ps
    # a sudden collapse is no line: the interval would hold zero
    sudden = drifting(evidence, lambda x: np.where(x > 0.5, -0.3, 0.0))
    assert sudden.verdict == "fail" and "scatter" in sudden.note


def test_stretches_of_aimd_do_not_drift(coarse):
    """Two picoseconds of the bundled run after the other, as rollouts beside the rest of it."""
    test = coarse.split("test")
    plan = Plan.of(test)
    whole = summarise(coarse, plan, [])
    whole = whole.drop_vars([name for name, array in whole.data_vars.items() if "block" in array.dims])
    n_train = len(coarse) - len(test) - 20
    for start in range(0, n_train - 212, 12):
        rest = slice(start + 212, n_train) if start < (n_train - 212) / 2 else slice(0, start)
        parts = {"generated": slice(start, start + 212), "reference": slice(-len(test), None), "training": rest}
        summaries = {name: whole.isel(time=frames) for name, frames in parts.items()}
        blocks = {name: pool_blocks(ds, cut_blocks(ds.sizes["time"], len(test))) for name, ds in summaries.items()}
        evidence = Evidence(coarse, test, coarse, plan, 10.0, summaries, blocks)
        for name in ("drift_jsd", "drift_std", "drift_structure_factor"):
            row = ROWS[name](evidence)
            assert row.verdict != "fail", (start, name, row)


def test_a_drift_below_the_scatter_of_blocks_passes(noise, make_noise):
    evidence = build(make_noise(400, seed=1, n_samples=2), make_noise(100, seed=2), make_noise(420, seed=3))
    shifted = evidence.blocks["training"].assign(
        contrast=evidence.blocks["training"]["contrast"] * [0.95, 1.0, 1.05, 1.0]
    )
    evidence = replace(evidence, blocks={**evidence.blocks, "training": shifted})
    row = drifting(evidence, lambda x: 0.008 * x)
    assert row.low > 0 and abs(row.ratio) < 1 and row.verdict == "pass"


def test_too_short_a_rollout_shows_no_drift(noise):
    row = ROWS["drift_std"](noise)
    assert row.verdict == "no data" and "generate 160 frames" in row.note and np.isnan(row.value)


def test_without_training_there_is_a_value_but_no_floor(make_noise):
    evidence = build(make_noise(40, seed=1), make_noise(20, seed=2))
    for name in ("jsd", "w1", "structure_factor", "step", "lognormal_std"):
        row = ROWS[name](evidence)
        assert np.isfinite(row.value) and row.verdict == "no data" and "training" in row.note, name
    assert np.isnan(ROWS["jsd"](evidence).floor)
    short = build(make_noise(40, seed=1), make_noise(20, seed=2), make_noise(15, seed=3))
    assert "hold no block" in ROWS["jsd"](short).note


def test_too_few_generated_frames(make_noise):
    evidence = build(make_noise(19, seed=1), make_noise(20, seed=2), make_noise(60, seed=3))
    for name in ("jsd", "w1", "structure_factor", "step", "lognormal_mean"):
        row = ROWS[name](evidence)
        assert row.verdict == "no data" and "a block as long as the reference takes 20" in row.note, name


def test_values_without_logarithm(make_noise):
    generated = make_noise(40, seed=1)
    ds = generated.ds.copy(deep=True)
    ds["density"].values[3, 0, 0, 0] = -0.01
    evidence = build(type(generated)(ds), make_noise(20, seed=2), make_noise(60, seed=3))
    row = ROWS["lognormal_std"](evidence)
    assert row.verdict == "no data" and row.note.startswith("1 values of the generated density")
    assert ROWS["minimum"](evidence).verdict == "fail" and ROWS["minimum"](evidence).value == pytest.approx(-0.01)
    assert ROWS["charge"](evidence).verdict == "fail"


def one_step(**errors) -> xr.Dataset:
    names = {"persistence": 6.0, "linear": 4.0, "quadratic": 3.0, "autoencoder": 1.0} | errors
    names = {"ensemble_mean": 2.0, "single": 3.0, "against_reconstruction": 2.0} | names
    return xr.Dataset({name: ("time", np.full(100, value)) for name, value in names.items()}, attrs={"samples": 16})


@pytest.mark.parametrize(
    ("name", "series", "limit"),
    [
        ("nmae", "ensemble_mean", 3.0),
        ("nmae_single", "single", 3 * np.sqrt(2)),
        ("nmae_vs_reconstruction", "against_reconstruction", 3.0),
        ("nmae_autoencoder", "autoencoder", 1.5),
    ],
)
def test_forecast_rows_beside_quadratic_extrapolation(noise, name, series, limit):
    good = ROWS[name](replace(noise, one_step=one_step(**{series: limit - 0.01})))
    assert good.verdict == "pass" and good.floor == 3 and good.value == pytest.approx(limit - 0.01)
    assert good.low == pytest.approx(good.value) and "persistence 6" in good.note
    assert ROWS[name](replace(noise, one_step=one_step(**{series: limit + 0.01}))).verdict == "fail"
    assert ROWS[name](replace(noise, one_step=one_step(**{series: np.nan}))).verdict == "no data"
    assert ROWS[name](noise).verdict == "no data" and "emulator" in ROWS[name](noise).note


def test_forecast_rows_from_the_first_frame_of_a_rollout(noise):
    leads = xr.Dataset(
        {
            name: ("lead_time", [value, 9.0])
            for name, value in {
                "nmae": 3.5,
                "nmae_ensemble_mean": 2.5,
                "persistence": 6.0,
                "linear": 4.0,
                "quadratic": 3.0,
            }.items()
        },
        coords={"lead_time": [10.0, 20.0]},
    )
    evidence = replace(noise, lead_times=leads)
    assert (ROWS["nmae"](evidence).value, ROWS["nmae_single"](evidence).value) == (2.5, 3.5)
    assert ROWS["nmae"](evidence).verdict == "pass" and np.isnan(ROWS["nmae"](evidence).low)
    assert ROWS["nmae_autoencoder"](evidence).verdict == "no data"
    late = replace(noise, lead_times=leads.isel(lead_time=[1]))
    assert ROWS["nmae"](late).verdict == "no data" and "first frame" in ROWS["nmae"](late).note


def test_the_window_is_at_least_a_frame():
    evidence = SimpleNamespace(interval=500.0)
    assert Evidence.n_window.fget(evidence) == 1
    assert Evidence.n_window.fget(SimpleNamespace(interval=10.0)) == 20


@pytest.mark.parametrize(("ratio", "verdict"), [(0.9, "pass"), (1.1, "pass"), (0.89, "fail"), (np.nan, "no data")])
def test_memory_passes_from_nine_tenths(noise, ratio, verdict):
    found = xr.Dataset(
        {"ratio": ratio, "low": 0.8, "high": 1.2, "generated": ("query", [1.0]), "test": ("test_query", [1.0])},
        attrs={"n_training": 100, "stride_fs": 40.0},
    )
    row = ROWS["memory"](replace(noise, memorised=found))
    assert row.verdict == verdict and row.floor == 1 and "100 training frames 40 fs apart" in row.note
    assert ROWS["memory"](replace(noise, notes={"memory": "too near"})).note == "too near"
    assert "pass training=" in ROWS["memory"](noise).note


def test_blocks_too_short_for_f_of_k_and_t_say_so(noise, make_noise):
    row = ROWS["intermediate_scattering"](noise)
    assert row.verdict == "no data" and "20 frames 10 fs apart" in row.note
    longer = build(make_noise(66, n_samples=2, seed=1), make_noise(22, seed=2), make_noise(88, seed=3))
    found = ROWS["intermediate_scattering"](longer)
    assert found.verdict == "pass" and found.ratio == pytest.approx(1, abs=0.3)
