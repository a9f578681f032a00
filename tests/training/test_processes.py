"""Two processes train what one trains; parts of a batch are the batch."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import edviz
from edviz.errors import TrainingError
from edviz.training import run as training_run
from edviz.training.processes import Rows, smaller_part
from tests.training.conftest import QUICK

TOGETHER = dataclasses.replace(
    QUICK, autoencoder_steps=8, diffusion_steps=8, autoencoder_batch=4, diffusion_batch=4, diffusion_jsd_every=1,
    autoencoder_jsd_weight=0.1, diffusion_jsd_weight=0.1, checkpoint_seconds=1e4, validate_every=4,
    smoothness_weight=0.1, precision="32",
)  # fmt: skip


def test_rows_of_all_processes_and_parts_are_the_batch():
    rows = [Rows(12, 2, rank, 3, part) for rank in range(2) for part in range(3)]
    assert sorted(i for r in rows for i in range(r.start, r.stop)) == list(range(12))
    assert Rows(12, 2, 1, 3, 2).together().tolist() == [4, 5, 10, 11]
    assert [smaller_part(12, n) for n in (1, 2, 4, 6, 12)] == [2, 4, 12, 12, None]


@pytest.fixture(scope="module")
def alone(frames, forks, tmp_path_factory):
    os.environ["OMP_NUM_THREADS"] = "1"
    return train_alone(frames, TOGETHER, tmp_path_factory.mktemp("alone") / "run", forks)


def train_alone(frames, config, out, forks):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_run, "subprocess", forks)
        return edviz.train(frames, config, out=out, device="cpu").wait(False)


def assert_same(run, alone):
    assert run.status["state"] == "finished"
    looks = (
        ("autoencoder", "nmae", 2),
        ("diffusion", "diffusion", 2),
        ("decoder", "nmae", 3),
        ("decoder", "relative", 3),
        ("decoder", "gradient", 3),
    )
    for stage, figure, count in looks:
        expected, found = (
            records.loc[records["stage"] == stage, f"validation_{figure}"].dropna().to_numpy()
            for records in (alone.metrics(), run.metrics())
        )
        assert len(expected) == count
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    expected, found = (load_file(r.directory["emulator"] / "weights.safetensors") for r in (alone, run))
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=5e-3, atol=5e-5, err_msg=name)


def test_two_processes_train_the_same_model_to_the_same_loss(alone, frames, tmp_path):
    run = edviz.train(frames, TOGETHER, out=tmp_path / "two", device="cpu", devices=2).wait(False)
    assert_same(run, alone)
    assert run.directory.read_json("environment.json")["processes"] == 2


def companions(pid):
    """Processes that a process has started and that still work on a run."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    return [int(row[0]) for row in rows if int(row[1]) == pid and "edviz.training.worker" in row[2]]


def test_a_killed_pair_leaves_nobody_behind_and_resumes(alone, frames, tmp_path):
    config = dataclasses.replace(TOGETHER, checkpoint_seconds=0.05)
    run = edviz.train(frames, config, out=tmp_path / "killed", device="cpu", devices=2)
    while not run.directory.read_metrics():
        assert run.pid is not None
        time.sleep(0.02)
    others = companions(run.pid)
    assert len(others) == 1
    os.kill(run.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while any(_alive(pid) for pid in others):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    run.resume().wait(False)
    assert_same(run, alone)


def _alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # nobody may have collected it yet


def test_torchrun_on_a_prepared_run_does_too(alone, frames, tmp_path):
    run = edviz.train(frames, TOGETHER, out=tmp_path / "torchrun", device="cpu", devices=2, launch=False)
    assert run.status["state"] == "prepared"
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "edviz.training.worker"]
    subprocess.run([sys.executable, *command, str(run.directory.path), "cpu", "2"], check=True, capture_output=True)
    assert_same(run, alone)


def test_one_process_without_memory_makes_all_divide_their_rows_and_the_model_is_the_same(frames, forks, tmp_path):
    # parts change the histograms of the Jensen-Shannon terms and the latents' variance: weights too small to matter
    config = dataclasses.replace(
        TOGETHER, autoencoder_jsd_weight=1e-7, diffusion_jsd_weight=1e-7, smoothness_weight=1e-7
    )
    alone = train_alone(frames, config, tmp_path / "alone", forks)
    run = edviz.train(frames, config, out=tmp_path / "narrow", device="cpu", devices=2, launch=False)
    command = [sys.executable, str(Path(__file__).with_name("narrow_worker.py")), str(run.directory.path), "cpu", "2"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    assert_same(run, alone)
    for stage, step, event in zip(("autoencoder", "diffusion"), (3, 0), run.directory.read_events(), strict=True):
        assert (event["kind"], event["stage"], event["step"], event["parts"]) == ("out of memory", stage, step, 2)
        assert "in process 1 of 2" in event["message"] and "Computing 1 at a time" in event["message"]
        assert run.directory.load_tensors(f"checkpoints/{stage}.pt")["parts"] == 2


def test_batches_that_cannot_be_shared_are_refused(frames, tmp_path):
    with pytest.raises(TrainingError, match="autoencoder_batch = 2 cannot be shared by 3 devices"):
        edviz.train(frames, QUICK, out=tmp_path / "three", devices=3)
    assert not (tmp_path / "three").exists()
