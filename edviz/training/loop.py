"""The training loop of one stage, from top to bottom.

Lightning Fabric brings device, precision and (several processes) strategy; the loop is ours because every draw,
the learning rate and the averaged weights must be exactly what they were after a kill and a resume, which
`lightning.Trainer` does not restore in mid-epoch (measured). Fabric is also the part of lightning that does not
import torchvision, whose PyPI build fails to load beside a CPU build of torch.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric

from edviz.errors import TrainingError
from edviz.training.config import TrainingConfig
from edviz.training.directory import RunDirectory
from edviz.training.stages import Stage

__all__ = ["StopRequested", "train_stage"]

WARM_UP_STEPS = 50
REPORT_SECONDS = 1.0


class StopRequested(Exception):
    """The user asked the run to stop; the checkpoint is written."""


def _learning_rate(step: int, progress: float) -> float:
    """Linear warm-up, then half a cosine down to 0.3 % of the peak."""
    return min(1.0, (step + 1) / WARM_UP_STEPS) * (0.5 * (1 + math.cos(math.pi * min(1.0, progress))) + 0.003)


def train_stage(
    stage: Stage,
    config: TrainingConfig,
    run: RunDirectory,
    fabric: Fabric,
    stop_requested: Callable[[], bool],
) -> torch.nn.Module:
    """Train a stage to the end of its budget, from its last checkpoint if there is one.

    Parameters
    ----------
    stage : Stage
        Model, batches and losses.
    config : TrainingConfig
        Optimiser settings.
    run : RunDirectory
        Where checkpoints, metrics and status go.
    fabric : Fabric
        Device, precision, strategy.
    stop_requested : callable
        Asked before every step.

    Returns
    -------
    torch.nn.Module
        The averaged model.

    Raises
    ------
    StopRequested
        After writing a checkpoint.
    edviz.errors.TrainingError
        If the loss stops being a number.
    """
    model = stage.model.to(fabric.device)
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=stage.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay
    )
    wrapped, optimizer = fabric.setup(model, optimizer)
    stage.model = wrapped
    checkpoint = f"checkpoints/{stage.name}.pt"
    step, elapsed, finished = 0, 0.0, False
    if (state := run.load_tensors(checkpoint)) is not None:
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, elapsed, finished = int(state["step"]), float(state["elapsed"]), bool(state["finished"])
    begun = time.monotonic() - elapsed

    def save(finished: bool) -> None:
        if fabric.is_global_zero:
            state: dict[str, Any] = {"model": model.state_dict(), "average": average.state_dict()}
            state |= {
                "optimizer": optimizer.state_dict(),
                "step": step,
                "elapsed": elapsed,
                "finished": finished,
            }
            run.save_tensors(checkpoint, state)
            validation = stage.validate(average) if step else {}
            run.append_metrics({"stage": stage.name, "step": step, "elapsed": elapsed, **validation})

    def report(losses: dict[str, torch.Tensor], rate: float, left: float) -> None:
        if fabric.is_global_zero:
            figures = {name: value.item() for name, value in losses.items()}
            record = {"stage": stage.name, "step": step, "elapsed": elapsed, **figures, "learning_rate": rate}
            run.append_metrics(record)
            run.write_status(
                state="running", stage=stage.name, step=step, steps=stage.steps, seconds_left=left,
                progress=progress, steps_per_second=step / max(elapsed, 1e-9), loss=figures["loss"],
            )  # fmt: skip

    saved = reported = time.monotonic()
    while not finished:
        elapsed = time.monotonic() - begun
        progress = max(step / stage.steps, elapsed / (60 * stage.minutes) if stage.minutes else 0.0)
        if progress >= 1:
            break
        if stop_requested():
            save(finished=False)
            raise StopRequested
        rate = stage.learning_rate * _learning_rate(step, progress)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        losses = stage.losses(step)
        fabric.backward(losses["loss"])
        norm = fabric.clip_gradients(wrapped, optimizer, max_norm=config.gradient_clip, error_if_nonfinite=False)
        if not torch.isfinite(norm):  # type: ignore[arg-type]
            raise TrainingError(
                f"{stage.name}, step {step}: the loss or its gradient is not a number. Lower "
                f"{stage.name}_learning_rate; the last checkpoint in {run[checkpoint]} is whole."
            )
        optimizer.step()
        decay = min(config.average_decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(average.parameters()), [p.detach() for p in model.parameters()], 1 - decay)
        step += 1
        now = time.monotonic()
        if now - reported >= REPORT_SECONDS or step == 1:
            elapsed, reported = now - begun, now
            report(losses, rate, elapsed * (1 / max(progress, 1e-9) - 1) if progress > 0 else 0.0)
        if now - saved >= config.checkpoint_seconds:
            elapsed = now - begun
            save(finished=False)
            saved = time.monotonic()
    if not finished:
        save(finished=True)
    return average
