from __future__ import annotations

import json

import dask.array as da
import numpy as np
import pandas as pd
import pytest

import edviz
from edviz import DensityTrajectory
from edviz.analysis.motion import mean_squared_displacement
from edviz.analysis.pairs import pair_distribution
from edviz.analysis.rows import ROWS
from edviz.analysis.scattering import intermediate_scattering
from edviz.analysis.scorecard import COLUMNS, Scorecard, evaluate
from edviz.errors import GridMismatchError, MissingDataError, NonFiniteError
from edviz.grid import apply_symmetry

STATISTICS = ("jsd", "w1", "structure_factor", "step", "lognormal_mean", "lognormal_std", "lognormal_skewness")


def verdicts(card: Scorecard) -> dict[str, str]:
    return card.to_dataframe()["verdict"].to_dict()


def changed(traj: DensityTrajectory, values: np.ndarray, **selection) -> DensityTrajectory:
    """The trajectory with other values (fewer frames keep the first times)."""
    ds = traj.ds.isel(time=slice(0, len(values)))
    return DensityTrajectory(ds.assign(density=ds["density"].copy(data=values.astype(np.float32))))


class Oracle:
    """Stands for an emulator: forecasts and reconstructions that are off by known amounts."""

    n_context = 2

    def __init__(self, error: float, loss: float) -> None:
        self.error, self.loss = error, loss

    def predict_next(self, traj, n_samples=1, seed=0):
        assert (n_samples, seed) == (16, 0)
        values = np.stack([traj.density.values[2:]] * n_samples)
        return self._like(traj[2:], self._off(values, self.error))

    def reconstruct(self, traj):
        return self._like(traj, self._off(traj.density.values, self.loss))

    @staticmethod
    def _off(values, error):
        """Half of the points up, half down, by `error` per cent of the mean."""
        return values + values.mean() * error / 100 * np.where(np.arange(values.shape[-1]) % 2, 1, -1)

    @staticmethod
    def _like(traj, values):
        return DensityTrajectory.from_arrays(values, traj.grid.cell, time=traj.time, n_electrons=traj.n_electrons)


@pytest.fixture(scope="module")
def card(coarse):
    """Real training data in the place of a rollout, as two samples."""
    train = coarse.split("train")
    both = np.stack([train.density.values[:240], train.density.values[240:480]])
    generated = DensityTrajectory.from_arrays(both, coarse.grid.cell, time=train.time[:240], n_electrons=54.0)
    return evaluate(generated, coarse, progress=False)


def test_the_table(card):
    frame = card.to_dataframe()
    assert isinstance(frame, pd.DataFrame)
    assert frame.index.name == "metric" and list(frame.index) == list(ROWS)
    assert list(frame.columns) == ["value", "floor", "ratio", "low", "high", "verdict"] == list(COLUMNS)
    assert set(frame["verdict"]) <= {"pass", "fail", "no data"}
    numbers = frame.drop(columns="verdict")
    assert (numbers.dtypes == np.float64).all()
    filled = frame[frame["floor"].notna()]
    np.testing.assert_allclose(filled["ratio"], filled["value"] / filled["floor"])
    bounded = frame[frame["low"].notna()]
    assert (bounded["low"] <= bounded["value"]).all() and (bounded["value"] <= bounded["high"]).all()
    assert {"nmae", "jsd", "structure_factor", "step", "charge"} <= set(frame.index)
    assert {"drift_jsd", "drift_std", "drift_structure_factor"} <= set(frame.index)


def test_replayed_training_data_fail_the_row_memory_alone(card):
    assert {name for name, verdict in verdicts(card).items() if verdict == "fail"} == {"memory"}
    assert card.rows["memory"].ratio < 0.5 and "training frames 40 fs apart" in card.notes["memory"]
    assert all(verdicts(card)[name] == "pass" for name in (*STATISTICS, "charge", "minimum", "drift_std"))
    assert "no numbers" in card.notes["atoms_diffusion"]


@pytest.mark.parametrize(("density", "start"), [("valence", 360), ("total", 0)])
def test_clean_aimd_fails_no_row(density, start):
    """A block against another, with training data that hold neither: every row about statistics passes."""
    traj = edviz.load_sample("lithium-800K", density=density)
    training = traj[:340] if start else traj[147:488]
    card = evaluate(traj[start : start + 127], traj.split("test"), training, progress=False)
    assert "fail" not in verdicts(card).values(), card
    atoms = ("atoms_peak_position", "atoms_peak_height", "atoms_diffusion")
    assert all(verdicts(card)[name] == "pass" for name in (*STATISTICS, *atoms, "intermediate_scattering", "memory"))
    assert card.rows["memory"].value == pytest.approx(1, abs=0.06)
    assert card.rows["atoms_peak_position"].value == pytest.approx(3.0, abs=0.04)
    assert 0.9 < card.rows["atoms_diffusion"].value < 1.6 and "100.00% of the atoms" in card.notes["atoms_diffusion"]


def test_the_atoms_of_the_reference_are_those_stored(lithium):
    """What the one pass finds in the density, against g(r), D and F(k,t) of the trajectory's own positions."""
    test = lithium.split("test")
    own = evaluate(test, test, progress=False).evidence.blocks["reference"].isel(block=0)
    assert float(own["atoms_found"]) == 1
    positions = test.ds["positions"].values
    stored = mean_squared_displacement(positions, 10.0, 500.0)["msd"]
    np.testing.assert_allclose(own["msd"][20:], stored[20:], rtol=0.03)
    g = pair_distribution(positions, test.grid.cell)["g"].values
    assert np.abs(own["pair_distribution"].values - g).mean() < 0.06
    expected = intermediate_scattering(test)
    np.testing.assert_allclose(own["scattering"], expected, atol=1e-5)
    np.testing.assert_allclose(own["scattering_k"], expected["k"])


def test_frames_in_a_random_order_fail_what_concerns_motion(lithium):
    test, training = lithium.split("test"), lithium[:260]
    shuffled = np.random.default_rng(0).permutation(test.density.values)
    card = evaluate(changed(lithium, shuffled), test, training, progress=False)
    for name in ("atoms_peak_position", "atoms_diffusion", "intermediate_scattering", "step"):
        assert verdicts(card)[name] == "fail", card.notes[name]
    assert card.rows["jsd"].value == pytest.approx(0, abs=1e-12) and verdicts(card)["memory"] == "pass"


def test_forecast_skill_of_a_rollout_over_the_reference(coarse):
    test = coarse.split("test")
    frozen = changed(test[3:], np.repeat(test.density.values[2:3], 124, axis=0))
    skill = evaluate(frozen, coarse, progress=False).forecast_skill
    np.testing.assert_allclose(skill["nmae"].sel(forecast="rollout"), skill["nmae"].sel(forecast="persistence"))
    assert (skill["crps"].sel(forecast="climatology") > 0).all()
    assert evaluate(coarse.split("train")[:130], coarse, progress=False).forecast_skill.sizes["lead_time"] == 0


def test_notes_tell_how_and_why(card):
    assert "training block" in card.notes["split"] and "autocorrelation" in card.notes["blocks"]
    assert 10 < card.autocorrelation_time < 400 and f"up to {card.autocorrelation_time:.3g} fs" in card.notes["blocks"]
    assert set(ROWS) <= set(card.notes)
    assert "emulator" in card.notes["nmae"] and "2 generated blocks" in card.notes["jsd"]


def test_json_has_the_same_and_no_nan(card, tmp_path):
    text = card.to_json(tmp_path / "card.json")
    assert (tmp_path / "card.json").read_text() == text + "\n"
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    frame = card.to_dataframe()
    for name, row in content["rows"].items():
        for column, value in row.items():
            expected = frame.loc[name, column]
            assert value is None if expected != expected else value == expected
    assert content["notes"] == card.notes
    assert content["settings"]["block_fs"] == 1270 and content["settings"]["n_blocks"]["training"] == 3
    assert content["settings"]["autocorrelation_time_fs"] == card.autocorrelation_time
    assert content["baselines"]["lead_time"][0] == 10


def test_the_plot_shows_both(card):
    figure = card.plot()
    names = {trace.name for trace in figure.data}
    assert {"AIMD", "generated", "persistence", "linear", "quadratic"} <= names
    titles = {annotation.text for annotation in figure.layout.annotations}
    assert {"Density values", "Structure factor", "Error per lead time"} <= titles
    assert figure.layout.xaxis.title.text.startswith("log")


def test_the_repr(card):
    shown = card._repr_html_()
    assert shown.count("<tr") == len(ROWS) + 1 and "nan" not in shown.replace("title", "").split("<tbody>")[0]
    assert "–" in shown and "pass" in shown
    assert "pass" in repr(card)


def test_the_timeline(card, coarse):
    line = card.timeline
    assert dict(line.sizes) == {"sample": 2, "time": 240}
    values = coarse.density.values[7]
    mean = coarse.n_electrons / coarse.grid.volume
    assert float(line["contrast"][0, 7]) == pytest.approx(values.std() / mean, rel=1e-5)
    assert np.isnan(line["step_ratio"][:, 0]).all() and np.isfinite(line["step_ratio"][:, 1:]).all()
    assert float(line["step_ratio"][:, 1:].mean()) == pytest.approx(1, abs=0.05)
    assert float(np.abs(line["charge_error"]).max()) < 1e-3
    assert (line["jsd"] > 0).all() and dict(card.reference_timeline.sizes) == {"time": 127}


def test_a_whole_trajectory_is_split_by_its_attributes(coarse):
    generated = coarse.split("train")[:130]
    whole = evaluate(generated, coarse, progress=False)
    parts = evaluate(generated, coarse.split("test"), coarse.split("train"), progress=False)
    pd.testing.assert_frame_equal(whole.to_dataframe(), parts.to_dataframe())
    also = evaluate(generated, coarse.split("test"), coarse, progress=False)
    pd.testing.assert_frame_equal(also.to_dataframe(), parts.to_dataframe())
    alone = evaluate(generated, coarse.split("test"), progress=False)
    assert verdicts(alone)["jsd"] == "no data" and "training" in alone.notes["jsd"]


def test_a_lazy_trajectory_gives_the_same(coarse):
    generated = coarse.split("train")[:130]
    chunks = da.from_array(generated.density.values, chunks=(1, -1, -1, -1))
    lazy = DensityTrajectory(generated.ds.assign(density=(generated.density.dims, chunks, generated.density.attrs)))
    a, b = (evaluate(traj, coarse, progress=False).to_dataframe() for traj in (generated, lazy))
    pd.testing.assert_frame_equal(a, b)


def test_translations_and_symmetries_change_no_statistic(coarse):
    generated = coarse.split("train")[:130]
    values = generated.density.values
    expected = evaluate(generated, coarse, progress=False).to_dataframe()
    operation = coarse.grid.symmetries()[17]
    for moved in (np.roll(values, (3, -2, 5), axis=(1, 2, 3)), apply_symmetry(values, operation)):
        found = evaluate(changed(generated, moved), coarse, progress=False).to_dataframe()
        numbers = [column for column in COLUMNS if column != "verdict"]
        statistics = [*STATISTICS, "lognormal_ks", "minimum"]
        np.testing.assert_allclose(
            found.loc[statistics, numbers].astype(float), expected.loc[statistics, numbers].astype(float), rtol=1e-4
        )
        assert (found["verdict"] == expected["verdict"]).all()


@pytest.mark.parametrize(
    ("fault", "row"),
    [
        ("uniform", "jsd"),
        ("uniform", "structure_factor"),
        ("collapse in the middle", "drift_std"),
        ("one sample collapses", "jsd"),
        ("doubled contrast", "structure_factor"),
        ("doubled contrast", "lognormal_std"),
        ("5 % more contrast", "structure_factor"),
        ("fading by a fifth", "drift_std"),
        ("frozen", "step"),
        ("doubled time step", "step"),
        ("0.1 electron lost", "charge"),
        ("negative", "minimum"),
        ("negative", "charge"),
    ],
)
def test_each_fault_fails_the_row_meant_for_it(coarse, fault, row):
    generated = coarse.split("train")[:400]
    values = generated.density.values.copy()
    mean = values.mean()
    progress = np.linspace(0, 1, len(values))[:, None, None, None]
    if fault == "uniform":
        values = mean + 1e-3 * (values - mean)
    elif fault == "collapse in the middle":
        values[200:] = mean
    elif fault == "one sample collapses":
        values = np.stack([values[:130], values[130:260], np.full_like(values[:130], mean)])
    elif fault == "doubled contrast":
        values = np.maximum(mean + 2 * (values - mean), 1e-5)
        values *= mean / values.mean(axis=(1, 2, 3), keepdims=True)
    elif fault == "5 % more contrast":
        values = mean + 1.05 * (values - mean)
    elif fault == "fading by a fifth":
        values = mean + (1 - 0.2 * progress) * (values - mean)
    elif fault == "frozen":
        values = np.repeat(values[:1], 150, axis=0)
    elif fault == "doubled time step":
        values = values[::2]
    elif fault == "0.1 electron lost":
        values[-1] *= 53.9 / 54
    elif fault == "negative":
        values[17, 3, 3, 3] = -1e-4
    if values.ndim == 5:
        time = generated.time[: values.shape[1]]
        broken = DensityTrajectory.from_arrays(values, coarse.grid.cell, time=time, n_electrons=54.0)
    else:
        broken = changed(generated, values)
    card = evaluate(broken, coarse, progress=False)
    assert verdicts(card)[row] == "fail", card.notes[row]
    if fault == "0.1 electron lost":
        assert card.to_dataframe().loc["charge", "value"] == pytest.approx(0.1, abs=1e-3)


def test_an_emulator_s_one_step_errors(coarse):
    generated = coarse.split("train")[:130]
    frame = evaluate(generated, coarse, emulator=Oracle(2.0, 0.5), progress=False).to_dataframe()
    assert frame.loc["nmae", "value"] == pytest.approx(2.0, rel=1e-3)
    assert frame.loc["nmae_single", "value"] == pytest.approx(2.0, rel=1e-3)
    assert frame.loc["nmae_autoencoder", "value"] == pytest.approx(0.5, rel=1e-3)
    assert frame.loc["nmae_vs_reconstruction", "value"] == pytest.approx(1.5, rel=1e-3)
    assert frame.loc["nmae", "low"] <= 2.0001 and (frame.loc["nmae":"nmae_autoencoder", "verdict"] == "pass").all()
    assert 3.0 < frame.loc["nmae", "floor"] < 3.5  # quadratic extrapolation at 10 fs
    worse = evaluate(generated, coarse, emulator=Oracle(8.0, 3.0), progress=False).to_dataframe()
    assert (worse.loc["nmae":"nmae_autoencoder", "verdict"] == "fail").all()


def test_a_rollout_over_the_reference_has_lead_times(coarse):
    test = coarse.split("test")
    frozen = changed(test[3:], np.repeat(test.density.values[2:3], 124, axis=0))
    card = evaluate(frozen, coarse, progress=False)
    leads = card.lead_times
    np.testing.assert_allclose(leads["lead_time"][:3], [10, 20, 30])
    np.testing.assert_allclose(leads["nmae"], leads["persistence"], rtol=1e-5)
    row = card.to_dataframe().loc["nmae"]
    assert row["value"] == pytest.approx(float(leads["persistence"][0]), rel=1e-5) and row["verdict"] == "fail"
    assert row["floor"] == pytest.approx(float(leads["quadratic"][0]))
    assert evaluate(coarse.split("train")[:130], coarse, progress=False).lead_times.sizes["lead_time"] == 0


def test_yardsticks_of_the_bundled_data(lithium):
    """On the full grid: what DESIGN.md quotes for persistence, linear and quadratic extrapolation at 10 fs."""
    test = lithium.split("test")
    found = edviz.evaluate(test, lithium, progress=False)
    step = found.baselines.isel(lead_time=0)
    np.testing.assert_allclose([step["persistence"], step["linear"], step["quadratic"]], [6.65, 3.91, 3.21], atol=0.05)
    frame = found.to_dataframe()
    assert 5e-5 < frame.loc["jsd", "floor"] < 6e-4 and frame.loc["jsd", "value"] == 0
    assert 0.01 < frame.loc["structure_factor", "floor"] < 0.06
    assert frame.loc["nmae", "value"] == 0 and frame.loc["step", "value"] == 1
    assert "fail" not in set(frame["verdict"])


def test_what_does_not_fit_together(coarse, make_noise):
    train = coarse.split("train")
    with pytest.raises(GridMismatchError, match=r"traj\[::2\]"):
        evaluate(train, coarse[::2], progress=False)
    with pytest.raises(GridMismatchError, match="the training frames"):
        evaluate(train, coarse.split("test"), train[::2], progress=False)
    with pytest.raises(GridMismatchError, match="resample_grid"):
        evaluate(train.resample_grid((12, 16, 16)), coarse, progress=False)
    ensemble = make_noise(n_samples=2)
    with pytest.raises(MissingDataError, match=r"sample\(0\)"):
        evaluate(make_noise(), ensemble, progress=False)
    with pytest.raises(MissingDataError, match="two are needed"):
        evaluate(make_noise(), make_noise(1), progress=False)


def test_nan_is_named(coarse):
    generated = coarse.split("train")[:130]
    values = generated.density.values.copy()
    values[77, 1, 2, 3] = np.nan
    ds = generated.ds.assign(density=generated.density.copy(data=values))
    with pytest.raises(NonFiniteError, match="frame 77"):
        evaluate(DensityTrajectory._from_valid(ds), coarse, progress=False)


def test_too_short_a_rollout_says_so(coarse):
    card = evaluate(coarse.split("train")[:50], coarse, progress=False)
    assert all(verdicts(card)[name] == "no data" for name in (*STATISTICS, "drift_jsd"))
    assert "takes 127" in card.notes["jsd"] and verdicts(card)["charge"] == "pass"
