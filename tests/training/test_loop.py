"""The loop's guards: NaN, memory, early stop, budgets. Its resume is tested on whole runs (test_run.py)."""

import dataclasses

import pytest
import torch
from lightning_fabric import Fabric

import edviz
from edviz.errors import TrainingError
from edviz.training import loop
from edviz.training.control import Requests
from edviz.training.data import load_block
from edviz.training.directory import RunDirectory
from edviz.training.loop import StopRequested, train_stage
from edviz.training.stages import AutoencoderStage
from tests.training.conftest import QUICK

NO_JSD = dataclasses.replace(QUICK, autoencoder_jsd_weight=0.0, autoencoder_batch=4)


def make_stage(frames, config, kind=AutoencoderStage):
    traj = edviz.open(frames)
    return kind(config, traj.grid, load_block(traj, "fit"), load_block(traj, "validation"))


def run_stage(path, stage, config=None):
    run = RunDirectory(path)
    config = config or stage.config
    return train_stage(stage, config, run, Fabric(accelerator="cpu", devices=1), Requests(run, config)), run


class FailsAt(AutoencoderStage):
    """The loss is not a number the first `times` times that step 7 is reached."""

    times = 1

    def losses(self, step, batch, rows):
        losses = super().losses(step, batch, rows)
        if step == 7 and self.times > 0:
            self.times -= 1
            losses["loss"] = losses["loss"] * torch.nan
        return losses


def test_a_loss_that_is_not_a_number_steps_back_to_the_last_checkpoint(frames, tmp_path):
    config = dataclasses.replace(QUICK, checkpoint_seconds=1e4)  # the last checkpoint is the first one
    model, run = run_stage(tmp_path, make_stage(frames, config, FailsAt))
    (event,) = run.read_events()
    assert event["kind"] == "step back" and (event["step"], event["back_to"], event["factor"]) == (7, 0, 0.5)
    assert "not a number" in event["message"]
    assert all(torch.isfinite(p).all() for p in model.parameters())
    state = run.load_tensors("checkpoints/autoencoder.pt")
    assert state["finished"] and state["step"] == 12 and state["factor"] == 0.5


def test_a_loss_that_never_is_a_number_ends_the_run_and_keeps_the_checkpoint(frames, tmp_path):
    stage = make_stage(frames, QUICK, FailsAt)
    stage.times = 10**6
    with pytest.raises(TrainingError, match="step 7: the loss or its gradient is not a number"):
        run_stage(tmp_path, stage)
    state = RunDirectory(tmp_path).load_tensors("checkpoints/autoencoder.pt")
    assert state["step"] <= 7 and all(torch.isfinite(x).all() for x in state["model"].values())


class Narrow(AutoencoderStage):
    """A device on which `largest` frames fit."""

    largest = 1

    def losses(self, step, batch, rows):
        if len(batch["target"]) > self.largest:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().losses(step, batch, rows)


def test_out_of_memory_divides_the_batch_and_trains_the_same_model(frames, tmp_path):
    whole, _ = run_stage(tmp_path / "whole", make_stage(frames, NO_JSD))
    parted, run = run_stage(tmp_path / "parted", make_stage(frames, NO_JSD, Narrow))
    assert [event["parts"] for event in run.read_events()] == [2, 4]
    assert "batch stays 4" in run.read_events()[0]["message"]
    for expected, found in zip(whole.parameters(), parted.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-5)
    assert run.load_tensors("checkpoints/autoencoder.pt")["parts"] == 4


def test_a_frame_too_large_for_memory_is_an_error_that_says_so(frames, tmp_path):
    stage = make_stage(frames, NO_JSD, Narrow)
    stage.largest = 0
    with pytest.raises(TrainingError, match="out of memory with 1 rows"):
        run_stage(tmp_path, stage)


class Worsens(AutoencoderStage):
    """Validation is best at the first look."""

    looks = 0

    def validate(self, model):
        self.looks += 1
        return {self.figure: float(self.looks)}


def test_early_stopping_goes_on_with_the_best_weights(frames, tmp_path):
    config = dataclasses.replace(QUICK, validate_every=2, patience=3)
    model, run = run_stage(tmp_path, make_stage(frames, config, Worsens))
    assert run.load_tensors("checkpoints/autoencoder.pt")["step"] == 8  # best at 2, then three looks in vain
    assert [event["kind"] for event in run.read_events()] == ["early stop"]
    best = run.load_tensors("checkpoints/autoencoder-best.pt")
    assert best["step"] == 2
    for name, value in model.state_dict().items():
        assert torch.equal(value, best["average"][name])
    again, _ = run_stage(tmp_path, make_stage(frames, config, Worsens))  # resumed: ended stays ended
    assert torch.equal(next(again.parameters()), next(model.parameters()))


def test_with_a_weight_on_their_acceleration_latents_move_more_smoothly(frames, tmp_path):
    found = []
    for weight in (1e-9, 3.0):
        config = dataclasses.replace(QUICK, autoencoder_steps=30, smoothness_weight=weight)
        _, run = run_stage(tmp_path / str(weight), make_stage(frames, config))
        *_, last = (record for record in run.read_metrics() if "validation_acceleration" in record)
        found.append(last["validation_acceleration"])
    assert 0 < found[1] < 0.8 * found[0]


def test_budgets_by_epochs_and_by_wall_time(frames, tmp_path):
    epochs = dataclasses.replace(QUICK, autoencoder_epochs=0.5)
    stage = make_stage(frames, epochs)
    assert stage.steps == -(-len(stage.fit) // 4)  # half an epoch of batches of two
    _, run = run_stage(tmp_path / "epochs", stage)
    assert run.read_metrics()[-1]["step"] == stage.steps
    timed = dataclasses.replace(QUICK, autoencoder_steps=10**6, autoencoder_minutes=0.02)
    _, run = run_stage(tmp_path / "timed", make_stage(frames, timed))
    state = run.load_tensors("checkpoints/autoencoder.pt")
    assert state["finished"] and 1 <= state["step"] < 10**6 and state["elapsed"] >= 1.2


class Asks(AutoencoderStage):
    """Asks for changes while it runs."""

    requests: dict = {}  # noqa: RUF012

    def losses(self, step, batch, rows):
        for name, values in self.requests.pop(step, {}).items():
            self.run.write_json(name, values)
            self.asked._looked = -1e9
        return super().losses(step, batch, rows)


def test_changes_of_budget_and_rate_are_taken_up_and_noted_and_a_stop_from_elsewhere_too(frames, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    stage = make_stage(frames, QUICK, Asks)
    run = stage.run = RunDirectory(tmp_path)
    stage.requests = {
        3: {"control.json": {"autoencoder_steps": 9, "autoencoder_learning_rate": 1e-5}},
        6: {"stop.request": {}},
    }
    stage.asked = Requests(run, QUICK)
    with pytest.raises(StopRequested):
        train_stage(stage, QUICK, run, Fabric(accelerator="cpu", devices=1), stage.asked)
    assert run.load_tensors("checkpoints/autoencoder.pt")["step"] == 7
    assert "autoencoder_steps is now 9" in run.read_events()[0]["message"]
    run["stop.request"].unlink()
    _, run = run_stage(tmp_path, make_stage(frames, QUICK))  # changes hold after a resume
    assert run.load_tensors("checkpoints/autoencoder.pt")["step"] == 9
    rates = [record["learning_rate"] for record in run.read_metrics() if "learning_rate" in record]
    assert rates[-1] < 1e-5
