from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import edviz
from edviz.analysis import memory
from edviz.analysis.memory import memorisation, nearest_frames
from edviz.errors import ArgumentError, GridMismatchError, MissingDataError
from edviz.grid import PeriodicGrid, apply_symmetry, fourier_resample

TETRAGONAL = np.diag([4.0, 4.0, 5.0])


def brute_force(frame, others, grid):
    """Every translation by whole grid steps, every symmetry, every frame, one by one."""
    best = np.inf
    for other in others:
        for W in grid.symmetries():
            turned = apply_symmetry(other.astype(float), W)
            for shift in product(*map(range, grid.shape)):
                best = min(best, np.sqrt(((frame - np.roll(turned, shift, (0, 1, 2))) ** 2).mean()))
    return best


def fourier_shift(values, fractional):
    """Translate by any vector, wave by wave."""
    waves = np.fft.fftn(values)
    orders = np.meshgrid(*[np.fft.fftfreq(n, 1 / n) for n in values.shape], indexing="ij")
    return np.fft.ifftn(waves * np.exp(-2j * np.pi * sum(h * x for h, x in zip(orders, fractional, strict=True)))).real


@pytest.mark.parametrize(("cell", "shape"), [(TETRAGONAL, (4, 4, 6)), (np.eye(3) * 4, (4, 4, 4))])
def test_agrees_with_brute_force(make_noise, monkeypatch, cell, shape, small_batches):
    training = make_noise(n_frames=5, shape=shape, cell=cell, seed=1)
    frames = make_noise(n_frames=3, shape=shape, cell=cell, seed=2).density.values
    grid = training.grid
    assert len(grid.symmetries()) == (16 if shape[2] == 6 else 48)
    between = nearest_frames(frames, training)["distance"].values
    monkeypatch.setattr(memory, "refine_maxima", lambda *_: (np.empty((0, 3)), np.empty(0)))  # whole grid steps only
    found = nearest_frames(frames, training)["distance"].values
    expected = [brute_force(frame, training.density.values, grid) for frame in frames]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (between <= found + 1e-12).all()


def test_the_screening_loses_nothing_on_real_data(coarse, monkeypatch):
    frames, training = coarse.split("test").density.values[[5, 90]], coarse.split("train")[::9]
    fast = nearest_frames(frames, training)
    assert np.prod(fast.attrs["band"]) < 0.6 * coarse.grid.n_points
    monkeypatch.setattr(memory, "BAND_SHARE", 1.1)  # screen on the full grid
    full = nearest_frames(frames, training)
    np.testing.assert_allclose(fast["distance"], full["distance"], rtol=1e-9)
    np.testing.assert_array_equal(fast["frame"], full["frame"])


def test_says_where_a_planted_frame_came_from(coarse):
    """Translated by a fraction of the grid spacing, too: the real density's waves are below Nyquist."""
    grid, training = coarse.grid, coarse.split("train")[::20]
    W = grid.symmetries()[29]
    shift = np.array([0.13, 0.71, 0.377])
    frame = fourier_resample(training.frame(7), (15, 15, 15)).astype(float)  # no Nyquist wave
    planted = fourier_shift(apply_symmetry(fourier_resample(frame, grid.shape), W), shift)
    ds = training.ds.copy(deep=True)
    ds["density"].values[7] = fourier_resample(frame, grid.shape)
    found = nearest_frames(planted[None], edviz.DensityTrajectory(ds))
    assert float(found["distance"][0]) < 1e-3 * planted.std()
    assert int(found["frame"][0]) == 7 and int(found["sample"][0]) == 0
    np.testing.assert_array_equal(grid.symmetries()[int(found["symmetry"][0])], W)
    np.testing.assert_allclose(grid.to_fractional(found["shift"].values[0]), shift, atol=1e-4)


def test_a_recording_scores_zero_and_aimd_one(coarse):
    training, test = coarse.split("train")[::6], coarse.split("test")
    values = training.density.values[3:33]
    turned = np.roll(apply_symmetry(values, coarse.grid.symmetries()[11]), (5, 2, 9), (1, 2, 3))
    copied = test.ds.isel(time=slice(0, 30)).assign(density=(test.density.dims, turned, test.density.attrs))
    found = memorisation(edviz.DensityTrajectory(copied), test, training, n_frames=6)
    assert float(found["ratio"]) < 1e-3 and float(found["high"]) < 1e-3
    assert (found["frame"].values >= 3).all() and (found["frame"].values < 33).all()
    half = memorisation(test[:60], test[60:], training, n_frames=6)
    assert 0.9 < float(half["ratio"]) < 1.1
    assert float(half["low"]) <= float(half["ratio"]) <= float(half["high"])
    assert 0.9 < float(half["test"].median()) < 1.4  # sqrt(2) for unrelated frames, less for the best of many


def test_frames_near_the_test_block_are_no_training_frames(coarse):
    test = coarse[300:330]
    found = memorisation(test, test, coarse[200:320:8], n_frames=3)
    # times from 2800 fs on are within 200 fs of the test block, which starts at 3000 fs
    assert found.attrs["n_left_out"] == sum(t > 2800 for t in coarse.time[200:320:8])
    assert (coarse.time[200:320:8][found["frame"].values] <= 2800).all()
    with pytest.raises(MissingDataError, match="within 200 fs of the test block"):
        memorisation(test, test, coarse[300:320])


def test_an_ensemble_of_training_runs(make_noise):
    training = make_noise(n_frames=4, n_samples=2, shape=(4, 4, 4))
    frame = np.roll(training.density.values[1, 2], 3, axis=1)
    found = nearest_frames(frame[None], training)
    assert (int(found["sample"][0]), int(found["frame"][0])) == (1, 2)
    assert float(found["distance"][0]) < 1e-5


def test_refuses_what_does_not_fit(make_noise):
    training = make_noise(n_frames=3)
    with pytest.raises(ArgumentError, match="frames must be"):
        nearest_frames(np.ones((2, 4, 4, 4)), training)
    with pytest.raises(ArgumentError, match="no training frame"):
        nearest_frames(training.density.values, training, leave_out=np.ones(3, dtype=bool))
    with pytest.raises(GridMismatchError):
        memorisation(make_noise(shape=(4, 4, 4)), training, training)


def test_symmetries_of_a_skewed_cell_are_used(make_noise):
    cell = np.array([[4.0, 0, 0], [2.0, np.sqrt(12), 0], [0, 0, 5.0]])  # hexagonal
    training = make_noise(n_frames=3, shape=(6, 6, 4), cell=cell)
    W = PeriodicGrid(cell, (6, 6, 4)).symmetries()[5]
    turned = apply_symmetry(training.density.values[1], W)
    assert float(nearest_frames(turned[None], training)["distance"][0]) < 1e-5
    only_translations = np.eye(3, dtype=int)[None]
    assert float(nearest_frames(turned[None], training, only_translations)["distance"][0]) > 0.1
