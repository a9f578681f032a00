"""The training process: ``python -m edviz.training.worker RUN_DIRECTORY``.

Works from the run directory alone, so that whoever started it may go away: reads config.json and data.json,
trains the stages one after the other, writes the emulator. SIGTERM ends it after the current step with a checkpoint.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from lightning_fabric import Fabric

from edviz.emulator import DensityEmulator
from edviz.errors import EdvizError
from edviz.grid import PeriodicGrid
from edviz.io import open as open_trajectory
from edviz.models.autoencoder import Autoencoder
from edviz.models.diffusion import LatentDynamics
from edviz.training.config import TrainingConfig
from edviz.training.data import Augmentation, load_block, stored_frames_per_step
from edviz.training.directory import RunDirectory
from edviz.training.loop import StopRequested, train_stage
from edviz.training.stages import AutoencoderStage, DiffusionStage, encode_copies

__all__ = ["main", "train"]


def train(run: RunDirectory, device: str = "auto", devices: int = 1) -> None:
    """Train both stages of a run and write its emulator."""
    config = TrainingConfig.read(run["config.json"])
    data = run.read_json("data.json")
    trajectory = open_trajectory(Path(run.path, data["path"]))
    stride = stored_frames_per_step(trajectory, config.frame_interval)
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    low = config.precision == "bf16" or (config.precision == "auto" and cuda)
    fabric = Fabric(
        accelerator="cuda" if cuda else "cpu", devices=devices, precision="bf16-mixed" if low else "32-true"
    )
    fabric.launch()
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    def stop_requested() -> bool:
        return stopped

    signal.signal(signal.SIGTERM, stop)
    run.write_status(state="running", stage="reading data", step=0, progress=0.0)
    grid = trajectory.grid
    fit, validation = load_block(trajectory, "fit"), load_block(trajectory, "validation")
    first = AutoencoderStage(config, grid, fit, validation)
    autoencoder = train_stage(first, config, run, fabric, stop_requested)
    assert isinstance(autoencoder, Autoencoder)
    autoencoder = autoencoder.eval().requires_grad_(False)
    bank = _latents(
        run, "checkpoints/latents.pt", autoencoder, fit, grid, config.augmented_copies, config.seed, stop_requested
    )
    held = _latents(
        run, "checkpoints/validation-latents.pt", autoencoder, validation, grid, 1, config.seed, stop_requested
    )
    second = DiffusionStage(config, grid, autoencoder, bank, held, fit, stride)
    dynamics = train_stage(second, config, run, fabric, stop_requested)
    assert isinstance(dynamics, LatentDynamics)
    if fabric.is_global_zero:
        emulator = DensityEmulator.from_training(
            autoencoder, dynamics, trajectory, frame_interval=stride * trajectory.frame_interval,
            sampling_steps=config.sampling_steps, context_noise=config.context_noise,
            noise_gain=config.noise_gain, long_wave_damping=config.long_wave_damping,
            variance_relaxation=config.variance_relaxation,
            provenance={"config": config.to_dict(), "data": data, "metrics": _last_figures(run)},
        )  # fmt: skip
        emulator.save(run["emulator"])
        run.write_status(state="finished", stage="done", progress=1.0, seconds_left=0.0)


def _latents(
    run: RunDirectory,
    name: str,
    autoencoder: Autoencoder,
    block: torch.Tensor,
    grid: PeriodicGrid,
    copies: int,
    seed: int,
    stop_requested: Callable[[], bool],
) -> torch.Tensor:
    """Latents of the block and its augmented copies, cached in the run directory."""
    state = run.load_tensors(name)
    if state is None:
        done = []
        for latents in encode_copies(autoencoder, block, Augmentation(grid), copies, seed):
            if stop_requested():
                raise StopRequested
            done.append(latents)
            run.write_status(
                state="running", stage="encoding", step=len(done), steps=copies, progress=len(done) / copies
            )
        state = {"latents": torch.stack(done)}
        run.save_tensors(name, state)
    return state["latents"]


def _last_figures(run: RunDirectory) -> dict[str, float]:
    """The last validation figure of each kind."""
    figures: dict[str, float] = {}
    for record in run.read_metrics():
        figures |= {key: value for key, value in record.items() if key.startswith("validation_")}
        figures[f"{record['stage']}_steps"], figures[f"{record['stage']}_seconds"] = (
            record["step"],
            record["elapsed"],
        )
    return figures


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the process; the exit code is 0 when the run finished or was stopped on request."""
    path, device, devices = (arguments or sys.argv[1:])[:3]
    run = RunDirectory(path)
    run.write_status(state="running", stage="starting", pid=os.getpid(), error=None, progress=0.0, step=0)
    try:
        train(run, device, int(devices))
    except StopRequested:
        run.write_status(state="stopped")
    except EdvizError as error:
        traceback.print_exc()
        run.write_status(state="failed", error=str(error))
        return 1
    except BaseException as error:
        traceback.print_exc()
        run.write_status(state="failed", error=f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
