"""The emulator: conservation, seeds, files, refusals; and the figures the bundled one is held to."""

import json
import warnings

import numpy as np
import pytest
import torch

import edviz
from edviz.analysis.sites import count_maxima
from edviz.emulator import DensityEmulator
from edviz.errors import (
    GenerationError,
    GridMismatchError,
    MissingDataError,
    ModelFileError,
    NonFiniteError,
    UnknownSampleError,
)
from edviz.models.autoencoder import Autoencoder
from edviz.models.diffusion import LatentDynamics


@pytest.fixture(scope="module")
def bundled():
    return edviz.load_emulator("lithium-800K")


@pytest.fixture(scope="module")
def test_block():
    return edviz.load_sample("lithium-800K").split("test")


@pytest.fixture(scope="module")
def triclinic():
    """An untrained emulator of a small triclinic cell whose grid the strides do not divide, and frames for it."""
    cell = np.array([[4.0, 0, 0], [1.0, 5.0, 0], [0.5, 0.7, 6.0]])
    random = np.random.default_rng(0)
    volume = np.linalg.det(cell)
    density = random.uniform(0.5, 1.5, (8, 13, 14, 18))
    density *= 10 / volume / density.mean((1, 2, 3), keepdims=True)
    traj = edviz.DensityTrajectory.from_arrays(density, cell, time=5.0 * np.arange(8), n_electrons=10.0)
    torch.manual_seed(0)
    autoencoder, dynamics = Autoencoder(fine_channels=8, coarse_channels=8), LatentDynamics(channels=16, blocks=1)
    for parameter in autoencoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return DensityEmulator.from_training(autoencoder, dynamics, traj, frame_interval=5.0), traj


def electrons(traj):
    return traj.density.values.mean(axis=(-3, -2, -1), dtype=np.float64) * traj.grid.volume


def test_electrons_positivity_and_clock_on_any_cell_and_grid(triclinic):
    emulator, traj = triclinic
    reconstruction = emulator.reconstruct(traj)
    forecasts = emulator.predict_next(traj, n_samples=2)
    generated = emulator.rollout(traj, n_frames=4, n_samples=3, seed=1)
    for made in (reconstruction, forecasts, generated):
        np.testing.assert_allclose(electrons(made), 10.0, rtol=1e-5)
        assert made.density.values.min() > 0
    np.testing.assert_array_equal(reconstruction.time, traj.time)
    np.testing.assert_array_equal(forecasts.time, traj.time[3:])
    np.testing.assert_allclose(generated.time, [40.0, 45.0, 50.0, 55.0])
    assert generated.density.dims == ("sample", "time", "a", "b", "c")


def test_same_seed_same_rollout_in_memory_and_on_file(triclinic, tmp_path):
    emulator, traj = triclinic
    one = emulator.rollout(traj, n_frames=5, n_samples=2, seed=3)
    on_file = emulator.rollout(traj, n_frames=5, n_samples=2, seed=3, out=tmp_path / "r.h5")
    other = emulator.rollout(traj, n_frames=5, n_samples=2, seed=4)
    np.testing.assert_array_equal(one.density.values, on_file.density.values)
    np.testing.assert_array_equal(one.time, on_file.time)
    assert not np.array_equal(one.density.values, other.density.values)
    assert not np.array_equal(one.frame(4)[0], one.frame(4)[1])


def test_saved_and_loaded_emulator_is_the_same(triclinic, tmp_path, monkeypatch):
    emulator, traj = triclinic
    monkeypatch.setattr(emulator, "hole_level", 1e-3)
    emulator.save(tmp_path / "e")
    twin = edviz.load_emulator(tmp_path / "e")
    assert sorted(p.name for p in (tmp_path / "e").iterdir()) == ["emulator.json", "weights.safetensors"]
    assert repr(twin) == repr(emulator) and twin.hole_level == 1e-3
    a, b = (e.rollout(traj, 2, seed=1, conserve_atoms=False).density.values for e in (emulator, twin))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("damage", ["cut weights", "cut json", "no weights", "no json", "newer", "nan", "other shape"])
def test_damaged_emulators_are_refused(damage, triclinic, tmp_path):
    emulator, _ = triclinic
    folder = emulator.save(tmp_path / "e")
    weights, description = folder / "weights.safetensors", folder / "emulator.json"
    if damage == "cut weights":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "cut json":
        description.write_text(description.read_text()[:200])
    elif damage == "no weights":
        weights.unlink()
    elif damage == "no json":
        description.unlink()
    elif damage == "nan":
        broken = DensityEmulator.load(folder)
        next(broken.dynamics.parameters()).fill_(float("nan"))
        broken.save(folder)
    else:
        values = json.loads(description.read_text())
        if damage == "newer":
            values["format_version"] = 99
        else:
            values["autoencoder"]["coarse_channels"] = 9
        description.write_text(json.dumps(values))
    with pytest.raises(ModelFileError, match="/e"):
        edviz.load_emulator(folder)


def test_names_that_do_not_exist(tmp_path):
    with pytest.raises(UnknownSampleError, match="lithium-800K"):
        edviz.load_emulator("sodium")
    with pytest.raises(UnknownSampleError, match="valence"):
        edviz.load_emulator("lithium-800K", density="spin")
    with pytest.raises(ModelFileError, match=r"emulator\.json"):
        edviz.load_emulator(tmp_path)


def test_foreign_trajectories_are_refused_and_can_be_forced(triclinic):
    emulator, traj = triclinic
    cases = {
        "grid": traj.resample_grid((12, 14, 18)),
        "cell": edviz.DensityTrajectory.from_arrays(
            traj.density.values, traj.grid.cell * [[1.1], [1], [1 / 1.1]], time=traj.time, n_electrons=10.0
        ),
        "total density": edviz.DensityTrajectory.from_arrays(
            traj.density.values, traj.grid.cell, time=traj.time, density_kind="total", n_electrons=10.0
        ),
        "electrons": edviz.DensityTrajectory.from_arrays(
            2 * traj.density.values, traj.grid.cell, time=traj.time, n_electrons=20.0
        ),
        "7 fs apart": edviz.DensityTrajectory.from_arrays(
            traj.density.values, traj.grid.cell, time=7.0 * np.arange(8), n_electrons=10.0
        ),
    }
    for word, foreign in cases.items():
        with pytest.raises(GridMismatchError, match=word):
            emulator.rollout(foreign, n_frames=1)
        generated = emulator.rollout(foreign, n_frames=1, allow_mismatch=True)
        assert np.isfinite(generated.density.values).all()
    with pytest.raises(MissingDataError, match="3 frames"):
        emulator.rollout(traj[:2], n_frames=1)
    with pytest.raises(MissingDataError, match="sample"):
        emulator.rollout(emulator.rollout(traj, n_frames=4), n_frames=1)


def test_forecasts_seen_under_symmetries_err_less_in_the_mean(bundled, test_block):
    frames = test_block[:27]
    truth = frames[bundled.n_context :].density.values
    turned = bundled.predict_next(frames, 6, seed=1).density.values
    same = bundled.predict_next(frames, 6, seed=1, symmetrise=False).density.values
    np.testing.assert_array_equal(turned[0], same[0])
    errors, plain = (np.abs(made - truth).mean((1, 2, 3, 4)) for made in (turned, same))
    np.testing.assert_allclose(errors, plain.mean(), rtol=0.08)  # each is turned back to where it belongs
    assert np.abs(turned.mean(0) - truth).mean() < 0.98 * np.abs(same.mean(0) - truth).mean()


def test_finer_frames_are_subsampled_with_a_notice(triclinic):
    emulator, traj = triclinic
    fine = edviz.DensityTrajectory.from_arrays(
        np.repeat(traj.density.values, 2, axis=0)[1:], traj.grid.cell, time=2.5 * np.arange(1, 16), n_electrons=10.0
    )
    with pytest.warns(UserWarning, match="one frame in 2"):
        generated = emulator.rollout(fine, n_frames=1, seed=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = emulator.rollout(traj, n_frames=1, seed=2)
    np.testing.assert_array_equal(generated.density.values, expected.density.values)


def test_a_nan_never_passes(triclinic):
    emulator, traj = triclinic
    values = traj.density.values.copy()
    traj = edviz.DensityTrajectory.from_arrays(values, traj.grid.cell, time=traj.time, n_electrons=10.0)
    broken = DensityEmulator.from_training(emulator.autoencoder, emulator.dynamics, traj, frame_interval=5.0)
    original = broken.dynamics.sample
    try:
        broken.dynamics.sample = lambda *a, **k: original(*a, **k) * float("nan")
        with pytest.raises(NonFiniteError, match="frame 0"):
            broken.rollout(traj, n_frames=2)
    finally:
        del broken.dynamics.sample


def test_bundled_emulator_is_small_and_says_where_it_comes_from(bundled):
    folder = edviz.samples.emulator_folder("lithium-800K", "valence")
    assert sum(p.stat().st_size for p in folder.iterdir()) < 20e6
    assert bundled.frame_interval == 10.0
    assert bundled.compression >= 16
    assert {"config", "data", "metrics"} <= bundled.provenance.keys()
    assert bundled.provenance["data"]["last_fs"] <= 4870


def test_bundled_autoencoder_translates_with_its_input(bundled, test_block):
    rho = torch.from_numpy(test_block.frame(0)).unsqueeze(0)
    rho = rho / rho.mean()
    shift, dims = (4, 8, -12), (1, 2, 3)
    moved = bundled.autoencoder(rho.roll(shift, dims))
    torch.testing.assert_close(moved, bundled.autoencoder(rho).roll(shift, dims), rtol=0, atol=1e-5)


def test_bundled_emulator_beats_persistence_on_the_test_block(bundled, test_block):
    block = test_block[:40]
    true = block.density.values
    mean = true.mean()
    reconstruction = np.abs(bundled.reconstruct(block).density.values - true).mean() / mean
    forecast = bundled.predict_next(block, n_samples=2).density.values
    k = bundled.n_context
    one_step = np.abs(forecast.mean(0) - true[k:]).mean() / mean
    persistence = np.abs(true[k:] - true[k - 1 : -1]).mean() / mean
    assert reconstruction <= 0.015
    assert one_step <= 0.067
    assert one_step < persistence


def test_bundled_rollout_neither_collapses_nor_explodes(bundled, test_block):
    generated = bundled.rollout(test_block[:3], n_frames=100, n_samples=2, seed=0)
    spread = generated.density.values.std(axis=(-3, -2, -1)).mean(axis=0)
    reference = test_block.density.values.std(axis=(-3, -2, -1)).mean()
    # single AIMD frames scatter by 5 % themselves (10 % and more at the extremes)
    assert np.abs(spread.reshape(5, 20).mean(1) / reference - 1).max() < 0.12
    np.testing.assert_allclose(electrons(generated), 54.0, rtol=1e-5)
    assert generated.density.values.min() > 0


def test_a_start_from_nothing_is_refused_by_an_emulator_of_whole_contexts(bundled):
    with pytest.raises(MissingDataError, match="context_dropout"):
        bundled.rollout(None, n_frames=2)


def test_a_start_from_nothing_counts_from_zero_and_depends_on_seed_and_sample_alone(triclinic):
    emulator, traj = triclinic
    torch.manual_seed(1)
    dynamics = LatentDynamics(channels=16, blocks=1, context_dropout=0.1)
    emulator = DensityEmulator.from_training(emulator.autoencoder, dynamics, traj, frame_interval=5.0)
    generated = emulator.rollout(None, n_frames=3, n_samples=2, seed=4)
    assert generated.time.tolist() == [5.0, 10.0, 15.0]
    assert generated.density.shape == (2, 3, 13, 14, 18)
    assert np.allclose(generated.density.mean(("a", "b", "c")) * traj.grid.volume, 10.0, rtol=1e-5)
    first, second = generated.density.values
    assert not np.allclose(first, second)
    assert np.array_equal(emulator.rollout(None, n_frames=3, n_samples=2, seed=4).density, generated.density)
    assert not np.allclose(emulator.rollout(None, n_frames=3, n_samples=2, seed=5).density, generated.density)


def test_a_start_from_nothing_without_its_atoms_is_drawn_anew_or_refused(triclinic, tmp_path, monkeypatch):
    emulator, traj = triclinic
    torch.manual_seed(1)
    dynamics = LatentDynamics(channels=16, blocks=1, context_dropout=0.1)
    settings = {"frame_interval": 5.0, "n_sites": 10**6}
    emulator = DensityEmulator.from_training(emulator.autoencoder, dynamics, traj, **settings)
    monkeypatch.setattr(edviz.emulator, "START_TRIES", 2)
    plain = emulator._from_nothing(2, 4, None)
    with pytest.raises(GenerationError, match="1000000 atoms in 2 tries"):
        emulator.rollout(None, n_frames=1, seed=4)
    counts = iter([[7, 5], [7, 7]])
    monkeypatch.setattr(emulator, "count_atoms", lambda density: np.array(next(counts)))
    mended = emulator._from_nothing(2, 4, 7)
    assert torch.equal(mended[0], plain[0])  # the one that holds stays
    assert not torch.allclose(mended[1], plain[1])
    assert DensityEmulator.load(emulator.save(tmp_path / "saved")).n_sites == 10**6


def test_a_context_of_fewer_frames_starts_an_emulator_of_cut_contexts_and_no_other(triclinic, tmp_path):
    whole, traj = triclinic
    torch.manual_seed(1)
    dynamics = LatentDynamics(channels=16, blocks=1, context_dropout=0.1)
    for parameter in dynamics.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    emulator = DensityEmulator.from_training(whole.autoencoder, dynamics, traj, frame_interval=5.0)
    with pytest.raises(MissingDataError, match="needs 3 frames 5 fs apart; got 2"):
        whole.rollout(traj[:2], n_frames=3)
    short = emulator.rollout(traj[2:3], n_frames=4, n_samples=2, seed=2)
    assert short.time.tolist() == [15.0, 20.0, 25.0, 30.0]
    # the frames before the one that is given are not there, whatever they may be
    np.testing.assert_array_equal(emulator.rollout([traj[1:3], traj[2:3]], n_frames=4, seed=2).density, short.density)
    longer = emulator.rollout(traj[:3], n_frames=1, n_samples=2, seed=2)
    assert not np.allclose(longer.density, short.density[:, :1])
    # a stopped one goes on with as many known frames as it had
    emulator.rollout(traj[2:3], n_frames=1, n_samples=2, seed=2, out=tmp_path / "a.h5")
    went_on = emulator.rollout(traj[2:3], n_frames=4, n_samples=2, seed=2, out=tmp_path / "a.h5")
    np.testing.assert_array_equal(went_on.density, short.density)


@pytest.fixture(scope="module")
def total():
    return edviz.load_emulator("lithium-800K", density="total")


def test_the_bundled_emulator_of_the_total_density_reconstructs_held_out_frames(total):
    test = edviz.load_sample("lithium-800K", density="total").split("test")[::16]
    error = np.abs(total.reconstruct(test).density - test.density).mean() / test.density.mean()
    assert 100 * float(error) < 1.0
    assert total.compression == 16
    assert total.n_electrons == 162


def test_a_rollout_of_the_total_density_from_nothing_looks_like_aimd(total):
    """A start that no frame was given to: contrast, values and S(k) are those of the liquid."""
    aimd = edviz.load_sample("lithium-800K", density="total").split("test")[::8]
    generated = total.rollout(None, n_frames=3, n_samples=2, seed=0)
    assert total.n_sites == 54
    assert (count_maxima(generated.density.values.reshape(-1, 32, 32, 32)) == 54).all()  # most starts have others
    contrast = generated.density.std(("a", "b", "c")).mean() / aimd.density.std(("a", "b", "c")).mean()
    assert abs(float(contrast) - 1) < 0.05
    found, expected = (t.structure_factor(k_max=6.0) for t in (generated, aimd))
    ratio = (found.mean([d for d in ("sample",) if d in found.dims]) / expected).values
    assert 0.6 < ratio.min() and ratio.max() < 1.6


def test_known_cores_are_written_in_on_the_grid_of_the_training_data_alone(total, tmp_path):
    here = edviz.load_sample("lithium-800K", density="total").split("test")[:1]
    wider = edviz.DensityTrajectory.from_arrays(
        here.density.values / 1.01**3, 1.01 * here.grid.cell, numbers=here.ds["numbers"].values, density_kind="total"
    )
    twin = edviz.load_emulator(total.save(tmp_path / "twin"))
    written = twin.reconstruct(here).density.values
    np.testing.assert_array_equal(written, total.reconstruct(here).density.values)
    there = twin.reconstruct(wider, allow_mismatch=True).density.values
    twin.frozen_cores = None
    assert not np.allclose(twin.reconstruct(here).density.values, written, rtol=1e-3)
    np.testing.assert_array_equal(twin.reconstruct(wider, allow_mismatch=True).density.values, there)
    contrast = written.std() / written.mean(dtype=np.float64)
    assert contrast == pytest.approx(float(here.density.std() / here.density.mean()), rel=1e-3)


def test_a_frame_that_is_not_finite_ends_a_rollout_with_cores_too(total, monkeypatch):
    monkeypatch.setattr(total.autoencoder, "decode", lambda latent, shape=None: torch.full((1, *shape), torch.nan))
    with pytest.raises(NonFiniteError):
        total.rollout(edviz.load_sample("lithium-800K", density="total").split("test")[:3], 1, conserve_atoms=False)
