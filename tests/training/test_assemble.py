"""Which density a run is trained on: what the data hold, or the frozen cores added to it."""

import shutil

import numpy as np
import pytest

import edviz
from edviz.errors import MissingDataError, SchemaError, TrainingError
from edviz.training.assemble import _calibrate, _hole_level, open_data, training_part, wanted_density
from edviz.training.directory import RunDirectory
from tests.training.conftest import QUICK


@pytest.mark.parametrize("as_path", [True, False])
def test_a_run_on_the_total_density_sees_valence_and_cores(frames, tmp_path, as_path):
    traj = edviz.open(frames)
    run = edviz.train(frames if as_path else traj, QUICK, out=tmp_path / "run", launch=False, density="total")
    seen, expected = open_data(RunDirectory(run.directory.path)), traj.with_core().split("train")
    assert seen.density_kind == "total" and seen.n_electrons == 54 * 3
    assert len(seen) == len(expected)
    np.testing.assert_allclose(seen.frame(7), expected.frame(7), rtol=1e-6)
    assert run.directory["data.h5"].exists() != as_path  # a file is read where it lies
    assert run.directory.read_json("data.json")["density_kind"] == "total"


def test_valence_is_made_sure_of(frames):
    traj = edviz.open(frames)
    assert wanted_density(traj, None, "li.h5") is wanted_density(traj, "valence", "li.h5") is traj
    with pytest.raises(TrainingError, match=r"li\.h5 holds a total density; this needs a valence density"):
        wanted_density(traj.with_core(), "valence", "li.h5")


def test_data_without_the_density_asked_for_are_refused_by_name(frames, tmp_path):
    traj = edviz.open(frames)
    with pytest.raises(TrainingError, match='choose "valence" or "total"'):
        edviz.train(frames, QUICK, out=tmp_path / "run", density="core")
    with pytest.raises(TrainingError, match=r"li\.h5 holds a total density already. Leave the choice out"):
        wanted_density(traj.with_core(), "total", "li.h5")
    ds = traj[:20].ds.load()
    pseudo = edviz.DensityTrajectory(ds.assign_attrs(density_kind="pseudo"))
    with pytest.raises(TrainingError, match=r"p\.h5 holds a pseudo density"):
        wanted_density(pseudo, "total", "p.h5")
    sodium = edviz.DensityTrajectory(ds.assign(numbers=("atom", np.full(54, 11))))
    with pytest.raises(MissingDataError, match=r"na\.h5: no frozen core is tabulated for Na"):
        wanted_density(sodium, "total", "na.h5")
    bare = edviz.DensityTrajectory(ds.drop_vars(["positions", "velocities", "forces"], errors="ignore"))
    with pytest.raises(MissingDataError, match=r"bare\.h5: .*no positions"):
        wanted_density(bare, "total", "bare.h5")
    full = edviz.DensityTrajectory(ds.assign(density=3 * ds["density"]).assign_attrs(n_electrons=3 * 54.0))
    with pytest.raises(SchemaError, match=r"full\.h5: .*holds the 1s electrons already"):
        wanted_density(full, "total", "full.h5")
    assert not (tmp_path / "run").exists()


def test_other_data_than_the_run_was_started_with_are_noticed(frames, tmp_path):
    path = tmp_path / "li.h5"
    shutil.copy(frames, path)
    run = edviz.train(path, QUICK, out=tmp_path / "run", launch=False, density="total")
    assert len(open_data(run.directory)) == 60
    for other in (edviz.open(frames)[:50], edviz.load_sample("lithium-800K")[401:461].resample_grid((16, 16, 16))):
        path.unlink()
        other.to_file(path)
        with pytest.raises(TrainingError, match=r"li\.h5: these are not the data that the run was started with"):
            open_data(run.directory)


@pytest.mark.parametrize("density", ["valence", "total"])
def test_the_bundled_emulators_are_calibrated_as_trained_ones_would_be(density):
    emulator = edviz.load_emulator("lithium-800K", density=density)
    level, cores, found = emulator.hole_level, emulator.frozen_cores, emulator.value_map
    emulator.hole_level = None
    _calibrate(emulator, training_part(edviz.load_sample("lithium-800K", density=density)))
    assert emulator.hole_level == (pytest.approx(level) if density == "valence" else None)
    np.testing.assert_allclose(emulator.value_map.generated, found.generated, rtol=1e-4)
    np.testing.assert_allclose(emulator.value_map.true, found.true, rtol=1e-6)
    assert (cores is None) == (emulator.frozen_cores is None) == (density == "valence")  # holes are no cores
    if cores is not None:
        np.testing.assert_allclose(emulator.frozen_cores.profile, cores.profile, atol=1e-6)
        np.testing.assert_allclose(emulator.frozen_cores.gain, cores.gain, atol=1e-3)


def test_an_autoencoder_that_loses_atoms_does_not_count_them(lithium):
    training = lithium[:60]
    noise = np.random.default_rng(0).uniform(0.5, 1.5, (3, 32, 32, 32))
    true = training.density.values[:3]
    assert _hole_level(training, true, true) is not None
    assert _hole_level(training, noise, true) is None
    assert _hole_level(training.with_core(), true, true) is None  # there, atoms are maxima
