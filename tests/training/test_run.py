"""Whole runs in their own process, on real frames: start, watch, kill, resume, use."""

import dataclasses
import os
import resource
import shutil
import signal
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import edviz
from edviz.errors import GridMismatchError, MissingDataError, TrainingError
from edviz.training.assemble import assemble_emulator
from edviz.training.config import TrainingConfig
from tests.training.conftest import QUICK


@pytest.fixture(scope="module")
def finished(frames, tmp_path_factory):
    """An uninterrupted run."""
    os.environ["OMP_NUM_THREADS"] = "1"
    return edviz.train(edviz.open(frames), QUICK, out=tmp_path_factory.mktemp("runs") / "whole", device="cpu").wait()


def weights(run):
    return load_file(run.directory["emulator"] / "weights.safetensors")


def test_a_run_returns_at_once_finishes_and_gives_an_emulator(finished, frames):
    assert finished.status["state"] == "finished"
    assert finished.pid is None
    metrics = finished.metrics()
    assert finished.directory.read_json("environment.json")["threads"] >= 1
    assert {"truth", "reconstruction"} <= set(finished.directory.read_json("preview-autoencoder.json"))
    assert {"aimd", "rollout"} <= set(finished.directory.read_json("preview-diffusion.json"))
    assert set(metrics["stage"]) == {"autoencoder", "diffusion", "decoder"}
    assert metrics.groupby("stage")["step"].max().to_dict() == dict.fromkeys(
        ("autoencoder", "diffusion", "decoder"), 12
    )
    assert {"reconstruction", "spectral", "jsd", "diffusion", "validation_nmae", "learning_rate"} <= set(metrics)
    emulator = finished.emulator()
    assert emulator.frame_interval == 10.0
    assert emulator.provenance["config"] == QUICK.to_dict()
    untuned = assemble_emulator(finished.directory)
    assert not torch.equal(emulator.dynamics.band_power, untuned.dynamics.band_power)
    generated = emulator.rollout(edviz.open(frames)[:5], n_frames=3, n_samples=2)
    assert generated.density.shape == (2, 3, 16, 16, 16)


def test_reattaching_finds_the_run_and_does_not_restart_it(finished):
    again = edviz.TrainingRun(finished.directory.path)
    assert again.status["state"] == "finished"
    assert again.resume().pid is None
    with pytest.raises(TrainingError, match="already holds a run"):
        edviz.train(edviz.load_sample("lithium-800K"), QUICK, out=finished.directory.path)


def assert_equal(run, finished):
    expected, found = weights(finished), weights(run)
    assert expected.keys() == found.keys()
    for name in expected:
        assert expected[name].equal(found[name]), name


@pytest.mark.usefixtures("forked")
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(finished, frames, tmp_path):
    run = edviz.train(frames, QUICK, out=tmp_path / "stop", device="cpu")
    interruptions = 0
    for target in (3, 16):  # in both stages
        deadline = time.monotonic() + 120
        while run.status["state"] in ("starting", "running") and time.monotonic() < deadline:
            records = run.directory.read_metrics()
            if records and records[-1]["step"] + (12 if records[-1]["stage"] == "diffusion" else 0) >= target:
                break
            time.sleep(0.02)
        if run.pid is not None:
            run.stop()
            assert run.status["state"] in ("stopped", "finished")
            interruptions += run.status["state"] != "finished"  # it may have ended between the look and the signal
            run.resume()
    run.wait()
    assert interruptions >= 1
    assert_equal(run, finished)


KILLS = int(os.environ.get("EDVIZ_KILLS", "5"))


def every_file_is_readable(run):
    """All that is whole by promise: JSON files, checkpoints, latents."""
    for path in run.directory.path.rglob("[!.]*"):
        if path.suffix == ".json":
            run.directory.read_json(str(path.relative_to(run.directory.path)))
        elif path.suffix == ".pt":
            assert run.directory.load_tensors(str(path.relative_to(run.directory.path)))["step"] >= 0
        elif path.suffix == ".npy":
            assert np.isfinite(np.load(path)).all()


@pytest.mark.usefixtures("forked")
def test_killed_at_random_moments_and_resumed_equals_uninterrupted_bit_for_bit(finished, frames, tmp_path):
    """EDVIZ_KILLS=20 for the figure in docs/training.md."""
    random = np.random.default_rng(KILLS)
    run = edviz.train(frames, QUICK, out=tmp_path / "kill", device="cpu")
    kills, done = 0, 0
    while kills < KILLS:
        # some kills hit the start and the reading of data, most the stages and what lies between them
        begun = time.monotonic()
        while run.status.get("stage") in (None, "starting", "reading data") and run.pid and random.random() < 0.99:
            time.sleep(0.05)
        assert time.monotonic() - begun < 120
        time.sleep(random.uniform(0, 0.35))
        reported = len(run.directory.read_metrics())
        assert reported >= done  # nothing reported is lost
        done = reported
        if run.pid is None:
            assert run.wait().status["state"] == "finished"
            assert_equal(run, finished)
            run = edviz.train(frames, QUICK, out=tmp_path / f"kill-{kills}", device="cpu")
            done = 0
            continue
        os.kill(run.pid, signal.SIGKILL)
        while run.pid is not None:
            time.sleep(0.01)
        kills += run.status["state"] == "died"
        every_file_is_readable(run)
        run.resume()
    run.wait()
    assert_equal(run, finished)


@pytest.mark.usefixtures("forked")
def test_a_full_disk_ends_the_run_with_a_clear_error_and_leaves_the_last_checkpoint_whole(finished, frames, tmp_path):
    """The kernel refuses what goes beyond a file's largest size, here less than a checkpoint."""
    run = edviz.train(frames, QUICK, out=tmp_path / "full", device="cpu")
    while run.directory.load_tensors("checkpoints/autoencoder.pt") is None:
        assert run.pid is not None
        time.sleep(0.01)
    resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
    with pytest.raises(TrainingError, match=r"could not be written \(File too large\)"):
        run.wait(progress=False)
    assert run.status["state"] == "failed"
    every_file_is_readable(run)
    assert_equal(run.resume().wait(), finished)


def test_emulators_of_a_run_best_and_last_and_exported(finished, tmp_path):
    folder = finished.export(tmp_path / "li", which="best")
    best = finished.directory.load_tensors("checkpoints/diffusion-best.pt")
    assert edviz.load_emulator(folder).provenance["weights"] == "best"
    stored = load_file(folder / "weights.safetensors")
    for name, value in best["average"].items():
        assert torch.equal(stored[f"dynamics.{name}"], value)
    assert {path.name for path in folder.iterdir()} == {
        "emulator.json", "weights.safetensors", "metrics.csv", "environment.json",
    }  # fmt: skip
    with pytest.raises(TrainingError, match="best"):
        finished.emulator("first")


@pytest.mark.usefixtures("forked")
def test_a_run_starts_from_another_runs_weights(finished, frames, tmp_path):
    config = TrainingConfig.from_dict(
        {
            **QUICK.to_dict(),
            "autoencoder_learning_rate": 1e-7,
            "diffusion_learning_rate": 1e-7,
            "decoder_learning_rate": 1e-7,
            "weight_decay": 0.0,
        }
    )
    run = edviz.train(frames, config, out=tmp_path / "fine", device="cpu", start_from=finished).wait()
    expected, found = weights(finished), weights(run)
    for name, value in expected.items():
        if name.startswith("autoencoder."):
            assert (found[name] - value).abs().max() < 1e-5, name  # a tiny rate leaves it where it started
    assert run.emulator().provenance["config"]["start_from"] == str(finished.directory.path)
    assert run.emulator().provenance["start"] == finished.emulator().provenance
    with pytest.raises(TrainingError, match="coarse_channels = 24"):
        edviz.train(frames, TrainingConfig(coarse_channels=24), out=tmp_path / "size", start_from=finished)
    total = edviz.load_sample("lithium-800K", density="total").split("train")
    with pytest.raises(GridMismatchError, match="valence density"):
        edviz.train(total, TrainingConfig(), out=tmp_path / "kind", start_from="lithium-800K")


@pytest.mark.usefixtures("forked")
def test_with_no_steps_for_the_others_the_decoder_alone_is_trained_on(finished, frames, tmp_path):
    config = dataclasses.replace(QUICK, autoencoder_steps=0, diffusion_steps=0, decoder_steps=4)
    with pytest.raises(TrainingError, match="autoencoder_steps = 0 keeps the weights that start_from names"):
        edviz.train(frames, config, out=tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    run = edviz.train(frames, config, out=tmp_path / "refined", device="cpu", start_from=finished).wait()
    expected, found = weights(finished), weights(run)
    changed = {name for name, value in expected.items() if not np.array_equal(found[name], value)}
    assert changed and all(
        name.startswith(("autoencoder.decoder", "value_map", "dynamics.band_power")) for name in changed
    )


@pytest.mark.usefixtures("forked")
def test_a_diffusion_that_is_trained_on_may_learn_to_see_more_frames(finished, frames, tmp_path):
    config = dataclasses.replace(
        QUICK, autoencoder_steps=0, decoder_steps=0, diffusion_steps=2, n_context=4, context_dropout=0.3,
        least_context=1, diffusion_learning_rate=1e-7,
    )  # fmt: skip
    assert finished.emulator().dynamics.context_dropout < 0.3
    run = edviz.train(frames, config, out=tmp_path / "longer", device="cpu", start_from=finished).wait()
    emulator = run.emulator()
    arguments = emulator.dynamics.arguments
    assert [arguments[name] for name in ("n_context", "context_dropout", "least_context")] == [4, 0.3, 1]
    expected, found = weights(finished), weights(run)
    same = [name for name in expected if name.startswith("dynamics.") and expected[name].shape == found[name].shape]
    assert len(same) > 20
    for name in same:
        if "band_power" not in name:
            np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-5, err_msg=name)
    for changes in ({"n_context": 2}, {"diffusion_steps": 0}):
        with pytest.raises(TrainingError, match="n_context"):
            other = dataclasses.replace(config, **changes)
            edviz.train(frames, other, out=tmp_path / "no", device="cpu", start_from=finished)


@pytest.mark.usefixtures("forked")
def test_a_finished_run_goes_on_with_a_larger_budget(finished, frames, tmp_path):
    shutil.copytree(finished.directory.path, tmp_path / "copy")
    run = edviz.TrainingRun(tmp_path / "copy").change(diffusion_steps=15)
    run.resume().wait()
    assert run.metrics().query("stage == 'diffusion'")["step"].max() == 15
    assert run.emulator().provenance["metrics"]["diffusion_steps"] == 15


def test_the_decoder_stage_mends_what_it_weighs_and_leaves_every_latent_alone(finished, frames):
    names = ["decoder", "relative", "gradient", "nmae"]
    looks = finished.metrics().query("stage == 'decoder'")[[f"validation_{name}" for name in names]].dropna()
    figure, relative, gradient, nmae = looks.to_numpy().T
    assert figure[-1] < figure[0] and relative[-1] < relative[0]
    config = finished.config
    np.testing.assert_allclose(figure, config.relative_weight * relative + config.gradient_weight * gradient)
    assert (relative > nmae).all()  # a root mean square against a mean
    first = finished.directory.load_tensors("checkpoints/autoencoder.pt")["average"]
    emulator = finished.emulator()
    changed = {
        name.split("_")[0] for name, value in emulator.autoencoder.state_dict().items() if not value.equal(first[name])
    }
    assert changed == {"decoder"}


def test_a_run_without_decoder_steps_keeps_the_decoder_that_it_has(finished, frames, tmp_path):
    config = TrainingConfig(**{**QUICK.to_dict(), "decoder_steps": 0})
    run = edviz.train(frames, config, out=tmp_path / "run", device="cpu").wait()
    first = run.directory.load_tensors("checkpoints/autoencoder.pt")["average"]
    assert all(value.equal(first[name]) for name, value in run.emulator().autoencoder.state_dict().items())


def test_wrong_input_is_refused_before_a_process_starts(frames, tmp_path):
    traj = edviz.open(frames)
    with pytest.raises(MissingDataError, match="too few"):
        edviz.train(traj[:20], QUICK, out=tmp_path / "few")
    with pytest.raises(MissingDataError, match="validation part"):
        edviz.train(edviz.load_sample("lithium-800K")[:60], QUICK, out=tmp_path / "part")
    with pytest.raises(TrainingError, match="whole multiple"):
        edviz.train(traj, TrainingConfig(frame_interval=15.0), out=tmp_path / "interval")
    with pytest.raises(TrainingError, match="device"):
        edviz.train(traj, QUICK, out=tmp_path / "device", device="tpu")
    with pytest.raises(TrainingError, match=r"devices = 1000: torch finds \d+ GPUs"):
        edviz.train(traj, QUICK, out=tmp_path / "device", device="cuda", devices=1000)
    with pytest.raises(TrainingError, match="no training run here"):
        edviz.TrainingRun(tmp_path)
    assert not any((tmp_path / name).exists() for name in ("few", "part", "interval", "device"))


@pytest.mark.usefixtures("forked")
def test_a_failed_run_says_why(frames, tmp_path):
    run = edviz.train(frames, TrainingConfig(**{**QUICK.to_dict(), "augmented_copies": 1}), out=tmp_path / "bad")
    run.stop()
    run.directory.write_json("data.json", {**run.directory.read_json("data.json"), "path": str(tmp_path / "gone.h5")})
    for stage in ("autoencoder", "diffusion"):
        run.directory[f"checkpoints/{stage}.pt"].unlink(missing_ok=True)
    run.resume()
    with pytest.raises(TrainingError, match=r"gone\.h5"):
        run.wait(progress=False)
    assert "gone.h5" in run.logs()


def test_a_second_handle_in_the_same_kernel_sees_a_killed_process_as_gone(frames, tmp_path):
    run = edviz.train(frames, QUICK, out=tmp_path / "two", device="cpu")
    second = edviz.TrainingRun(tmp_path / "two")
    assert second.pid == run.pid is not None
    os.kill(run.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while second.pid is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert second.status["state"] == run.status["state"] == "died"
