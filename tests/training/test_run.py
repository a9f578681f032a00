"""Whole runs in their own process, on real frames: start, watch, kill, resume, use."""

import os
import signal
import time

import pytest
from safetensors.torch import load_file

import edviz
from edviz.errors import MissingDataError, TrainingError
from edviz.training.config import TrainingConfig

QUICK = TrainingConfig(
    fine_channels=8,
    coarse_channels=16,
    autoencoder_steps=12,
    autoencoder_batch=2,
    diffusion_steps=12,
    diffusion_batch=2,
    diffusion_channels=16,
    diffusion_blocks=1,
    diffusion_jsd_every=4,
    augmented_copies=2,
    checkpoint_seconds=0.05,
)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """60 frames of the bundled training block, 20 of them for validation, on a coarser grid, as a file."""
    path = tmp_path_factory.mktemp("data") / "li.h5"
    edviz.load_sample("lithium-800K")[400:460].resample_grid((16, 16, 16)).to_file(path)
    return path


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
    assert set(metrics["stage"]) == {"autoencoder", "diffusion"}
    assert metrics.groupby("stage")["step"].max().to_dict() == {"autoencoder": 12, "diffusion": 12}
    assert {"reconstruction", "spectral", "jsd", "diffusion", "validation_nmae", "learning_rate"} <= set(metrics)
    emulator = finished.emulator()
    assert emulator.frame_interval == 10.0
    assert emulator.provenance["config"] == QUICK.to_dict()
    generated = emulator.rollout(edviz.open(frames)[:5], n_frames=3, n_samples=2)
    assert generated.density.shape == (2, 3, 16, 16, 16)


def test_reattaching_finds_the_run_and_does_not_restart_it(finished):
    again = edviz.TrainingRun(finished.directory.path)
    assert again.status["state"] == "finished"
    assert again.resume().pid is None
    with pytest.raises(TrainingError, match="already holds a run"):
        edviz.train(edviz.load_sample("lithium-800K"), QUICK, out=finished.directory.path)


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(how, finished, frames, tmp_path):
    run = edviz.train(frames, QUICK, out=tmp_path / how, device="cpu")
    interruptions = 0
    for target in (3, 9, 16, 22):  # in both stages
        deadline = time.monotonic() + 120
        while run.status["state"] in ("starting", "running") and time.monotonic() < deadline:
            records = run.directory.read_metrics()
            if records and records[-1]["step"] + (12 if records[-1]["stage"] == "diffusion" else 0) >= target:
                break
            time.sleep(0.005)
        if run.pid is not None:
            if how == "kill":
                os.kill(run.pid, signal.SIGKILL)
                while run.pid is not None:
                    time.sleep(0.01)
                assert run.status["state"] in ("died", "finished")
            else:
                run.stop()
                assert run.status["state"] in ("stopped", "finished")
            interruptions += run.status["state"] != "finished"  # it may have ended between the look and the signal
            run.resume()
    run.wait()
    assert interruptions >= 2
    expected, found = weights(finished), weights(run)
    assert expected.keys() == found.keys()
    for name in expected:
        assert expected[name].equal(found[name]), name


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
    with pytest.raises(TrainingError, match="no training run here"):
        edviz.TrainingRun(tmp_path)
    assert not any((tmp_path / name).exists() for name in ("few", "part", "interval", "device"))


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
