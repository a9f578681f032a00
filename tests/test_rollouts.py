"""Rollouts to files: resumed, extended, refused; every k-th frame; contexts of their own; running statistics."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import edviz
from edviz.emulator import DensityEmulator
from edviz.errors import ArgumentError, FileFormatError, GenerationError, GridMismatchError, MissingDataError
from edviz.models.autoencoder import Autoencoder
from edviz.models.diffusion import LatentDynamics


@pytest.fixture(scope="module")
def lithium():
    """Real frames on a coarse grid, 10 fs apart."""
    return edviz.load_sample("lithium-800K")[400:420].resample_grid((12, 12, 12)).renormalized()


def untrained(trajectory, **options):
    """What is tested here does not depend on what an emulator has learnt."""
    torch.manual_seed(0)
    autoencoder, dynamics = Autoencoder(fine_channels=8, coarse_channels=8), LatentDynamics(channels=16, blocks=1)
    for parameter in autoencoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return DensityEmulator.from_training(autoencoder, dynamics, trajectory, frame_interval=10.0, **options)


@pytest.fixture(scope="module")
def emulator(lithium):
    return untrained(lithium, variance_relaxation=0.2)


def identical(one, other):
    xr.testing.assert_identical(one.ds.compute().drop_encoding(), other.ds.compute().drop_encoding())


def test_killed_rollouts_go_on_to_the_same_bits(emulator, lithium, tmp_path):
    emulator.save(tmp_path / "emulator")
    lithium[:3].to_file(tmp_path / "context.h5")
    script = Path(__file__).parent / "killed_rollout.py"
    arguments = [str(tmp_path / "emulator"), str(tmp_path / "context.h5"), str(tmp_path), "3", "1"]
    done = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 3 and all(one["bits"] and one["same"] for one in found), found
    assert sum(one["kills"] for one in found) >= 3, found
    assert any(any(one["parts"]) for one in found), found  # at least one was killed halfway


def test_a_finished_file_is_continued_and_not_done_twice(emulator, lithium, tmp_path, monkeypatch):
    arguments = {"n_samples": 2, "seed": 3, "stat_every": 2}
    whole = emulator.rollout(lithium, 7, **arguments)
    path = tmp_path / "r.h5"
    emulator.rollout(lithium, 4, out=path, **arguments)
    identical(emulator.rollout(lithium, 7, out=path, **arguments), whole)
    assert [p.name for p in tmp_path.iterdir()] == ["r.h5"]
    monkeypatch.setattr(emulator, "_next", None)  # would fail if called
    identical(emulator.rollout(lithium, 7, out=path, **arguments), whole)


def test_a_rollout_in_memory_can_be_saved_and_continued(emulator, lithium, tmp_path):
    emulator.rollout(lithium, 3, stat_every=1).to_file(tmp_path / "r.h5")
    identical(
        emulator.rollout(lithium, 5, stat_every=1, out=tmp_path / "r.h5"), emulator.rollout(lithium, 5, stat_every=1)
    )


def test_an_interrupt_keeps_the_frames_so_far(emulator, lithium, tmp_path, monkeypatch):
    whole = emulator.rollout(lithium, 6)
    original = emulator._next

    def stop_at_four(state, seed, frame, *more):
        if frame == 4:
            raise KeyboardInterrupt
        return original(state, seed, frame, *more)

    monkeypatch.setattr(emulator, "_next", stop_at_four)
    with pytest.raises(KeyboardInterrupt):
        emulator.rollout(lithium, 6, out=tmp_path / "r.h5")
    assert len(edviz.open(tmp_path / "r.h5")) == 4
    monkeypatch.undo()
    identical(emulator.rollout(lithium, 6, out=tmp_path / "r.h5"), whole)


def test_another_rollout_is_refused_and_named(emulator, lithium, tmp_path):
    path = tmp_path / "r.h5"
    emulator.rollout(lithium[:10], 3, seed=1, out=path)
    before = path.read_bytes()
    twin = DensityEmulator.from_training(
        emulator.autoencoder, LatentDynamics(channels=16, blocks=1), lithium, frame_interval=10.0
    )
    cases = {
        r"seed \(1 there, 2 here\)": lambda **o: emulator.rollout(lithium[:10], 4, seed=2, out=path, **o),
        "n_samples": lambda **o: emulator.rollout(lithium[:10], 4, 2, 1, path, **o),
        "context": lambda **o: emulator.rollout(lithium[:9], 4, seed=1, out=path, **o),
        "emulator": lambda **o: twin.rollout(lithium[:10], 4, seed=1, out=path, **o),
        "save_every": lambda **o: emulator.rollout(lithium[:10], 4, seed=1, out=path, save_every=2, **o),
        "more than asked for": lambda **o: emulator.rollout(lithium[:10], 2, seed=1, out=path, **o),
    }
    for word, call in cases.items():
        with pytest.raises(ArgumentError, match=f"{word}(.|\n)*overwrite=True"):
            call()
        assert path.read_bytes() == before
    made = cases["context"](overwrite=True)
    identical(made, emulator.rollout(lithium[:9], 4, seed=1))


@pytest.mark.parametrize("what", ["AIMD", "a piece", "no trajectory"])
def test_what_is_no_rollout_is_not_continued(what, emulator, lithium, tmp_path):
    path = tmp_path / "r.h5"
    if what == "AIMD":
        lithium.to_file(path)
    elif what == "a piece":
        emulator.rollout(lithium, 4)[:2].to_file(path)
    else:
        path.write_text("shopping list")
    with pytest.raises((ArgumentError, FileFormatError), match="overwrite=True"):
        emulator.rollout(lithium, 5, out=path)


def test_every_kth_frame_is_kept_with_its_time(emulator, lithium):
    whole = emulator.rollout(lithium, 8, seed=4)
    some = emulator.rollout(lithium, 8, seed=4, save_every=3)
    np.testing.assert_array_equal(some.density.values, whole.density.values[:, 2::3])
    np.testing.assert_allclose(some.time - lithium.time[-1], [30.0, 60.0])


def test_only_frames_kept_or_looked_at_are_decoded(emulator, lithium, monkeypatch):
    decoded = []
    original = emulator.autoencoder.decode

    def decode(*arguments):
        decoded.append(1)
        return original(*arguments)

    monkeypatch.setattr(emulator.autoencoder, "decode", decode)
    emulator.rollout(lithium, 24, save_every=8, stat_every=6)
    assert len(decoded) == 1 + len({8, 16, 24} | {6, 12, 18, 24})  # the first fixes the histogram's range


def test_each_sample_can_have_its_own_context(emulator, lithium):
    early, late = lithium[:10], lithium[5:15]
    both = emulator.rollout(early, 3, n_samples=2, seed=6)
    np.testing.assert_array_equal(emulator.rollout([early, early], 3, seed=6).density.values, both.density.values)
    with pytest.warns(UserWarning, match="counts from 0"):
        mixed = emulator.rollout([early, late], 3, seed=6)
    np.testing.assert_allclose(mixed.density.values[0], both.density.values[0], rtol=1e-4)
    assert np.abs(mixed.density.values[1] - both.density.values[1]).max() > 1e-3
    np.testing.assert_allclose(mixed.time, [10.0, 20.0, 30.0])
    with pytest.raises(ArgumentError, match="2 contexts and 3 samples"):
        emulator.rollout([early, late], 3, n_samples=3)
    again = [both.sample(i) for i in range(2)]
    assert emulator.rollout(again, 2, seed=7).n_samples == 2  # a rollout's last frames are a context as well


def test_frames_of_another_run_at_the_same_conditions(emulator, lithium):
    """No positions, no split, another clock, a cell with fewer digits."""
    other = edviz.DensityTrajectory.from_arrays(
        lithium.density.values[4:7], np.round(lithium.grid.cell, 4), time=[0.0, 10.0, 20.0], n_electrons=54.0
    )
    generated = emulator.rollout(other, 2, seed=1)
    np.testing.assert_allclose(generated.time, [30.0, 40.0])
    here = emulator.rollout(lithium[:7], 2, seed=1)
    electrons, expected = (traj.density.values * traj.grid.volume for traj in (generated, here))
    np.testing.assert_allclose(electrons, expected, rtol=1e-6)  # as many in each voxel; the cells differ by 1e-5
    with pytest.raises(GridMismatchError, match=r"resample_grid\(\(12, 12, 12\)\)"):
        emulator.rollout(other.resample_grid((14, 14, 14)), 2)


@pytest.mark.parametrize("numbers", [{"save_every": 0}, {"stat_every": 1.5}, {"save_every": 9}])
def test_numbers_that_make_no_sense(numbers, emulator, lithium):
    with pytest.raises(ArgumentError, match=next(iter(numbers))):
        emulator.rollout(lithium, 8, **numbers)


def test_running_statistics_are_those_of_the_frames(emulator, lithium, tmp_path):
    """Looked at every frame and kept every frame: two ways to the same numbers."""
    made = emulator.rollout(lithium, 20, n_samples=2, stat_every=1, out=tmp_path / "r.h5")
    found = made.running_statistics()
    values = made.density.values.astype(np.float64).reshape(2, 10, 2, -1)
    mean = 54 / made.grid.volume
    np.testing.assert_allclose(found["contrast_sample"].values.T, (values.std(-1) / mean).mean(-1), rtol=1e-5)
    np.testing.assert_allclose(found["minimum"], values.min(axis=(0, 2, 3)))
    np.testing.assert_allclose(found["log_mean"], np.log(values).mean(axis=(0, 2, 3)), rtol=1e-5)
    expected = made.structure_factor().mean("sample")
    np.testing.assert_allclose(found["structure_factor"].mean("tenth"), expected.squeeze(), rtol=1e-4)
    assert bool(found["positive"]) and bool(found["electrons"]) and int(found["frames"].sum()) == 20
    one = made.sample(0).running_statistics()["contrast_sample"]
    np.testing.assert_array_equal(one.squeeze(), found["contrast_sample"][:, 0])
    with pytest.raises(MissingDataError, match="has no running statistics"):
        lithium.running_statistics()
    with pytest.raises(MissingDataError, match="stat_every"):
        emulator.rollout(lithium, 20).running_statistics()


@pytest.fixture(scope="module")
def total():
    """An emulator of a total density, and a context for it."""
    with_cores = edviz.load_sample("lithium-800K", density="total")[400:420].resample_grid((12, 12, 12)).renormalized()
    return untrained(with_cores), with_cores


def odd_or_even(densities):
    """Stands for the number of atoms: a property of the frame that it has by chance."""
    # the last bit of the largest value: one voxel's may be zero in every attempt, and then it is always even
    return np.asarray(densities.max(axis=(-3, -2, -1)), np.float32).view(np.int32) % 2


def test_blocks_that_lose_atoms_are_drawn_anew_and_resumed_to_the_same_bits(total, tmp_path, monkeypatch):
    emulator, context = total
    arguments = {"n_samples": 2, "seed": 1, "save_every": 5, "stat_every": 5}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edviz.emulator.count_maxima", lambda densities: np.zeros(len(densities), int))
        free = emulator.rollout(context, 60, conserve_atoms=False, **arguments)
        identical_frames = emulator.rollout(context, 60, **arguments)
    np.testing.assert_array_equal(identical_frames.density, free.density)  # nothing lost: nothing changes
    monkeypatch.setattr("edviz.rejection.TRIES", 200)
    monkeypatch.setattr("edviz.emulator.count_maxima", odd_or_even)
    whole = emulator.rollout(context, 60, **arguments)
    counts = odd_or_even(whole.density.values)
    assert (counts == counts[:, :1]).all()
    assert not np.array_equal(whole.density, free.density)
    path = tmp_path / "r.h5"
    for n_frames in (15, 35, 60):  # the first two end within a block
        found = emulator.rollout(context, n_frames, out=path, **arguments)
    identical(found, whole)
    with pytest.raises(ArgumentError, match="conserve_atoms"):
        emulator.rollout(context, 60, out=path, conserve_atoms=False, **arguments)


def test_a_sample_that_keeps_losing_atoms_ends_the_rollout_and_keeps_what_there_is(total, tmp_path, monkeypatch):
    emulator, context = total
    seen = []

    def lost(densities):
        seen.append(len(densities))
        return np.full(len(densities), 54 if len(seen) <= 9 else 53)  # the start and two blocks of four frames kept

    monkeypatch.setattr("edviz.emulator.count_maxima", lost)
    with pytest.raises(GenerationError, match=r"between frames 40 and 60 .*conserve_atoms=False"):
        emulator.rollout(context, 60, out=tmp_path / "r.h5", save_every=5, stat_every=5)
    assert len(edviz.open(tmp_path / "r.h5")) == 4


def test_atoms_of_a_valence_density_are_held_by_its_holes(lithium, monkeypatch):
    emulator, levels = untrained(lithium), []

    def lost(densities, level):
        levels.append(level)
        return np.full(len(densities), 54 if len(levels) == 1 else 53)

    monkeypatch.setattr("edviz.emulator.count_holes", lost)
    assert len(emulator.rollout(lithium, 5)) == 5 and not levels  # no level is known: left alone
    emulator.hole_level = 0.25
    with pytest.raises(GenerationError, match="atoms were lost"):
        emulator.rollout(lithium, 5)
    assert set(levels) == {0.25}
