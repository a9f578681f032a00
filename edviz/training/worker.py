"""The training process: ``python -m edviz.training.worker RUN_DIRECTORY [DEVICE [DEVICES [NODES]]]``.

Works from the run directory alone, so that whoever started it may go away: reads config.json and data.json,
trains the stages one after the other, writes the emulator. SIGTERM ends it after the current step with a checkpoint.
Several devices: it starts its own companions, or is one of those that torchrun or srun started.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from edviz.emulator import DensityEmulator
from edviz.errors import EdvizError, WriteError
from edviz.models.augmentation import Augmentation
from edviz.models.autoencoder import Autoencoder
from edviz.models.diffusion import LatentDynamics
from edviz.training.assemble import assemble_emulator, open_data
from edviz.training.config import TrainingConfig
from edviz.training.control import Requests, end_with_parent, start_heartbeat
from edviz.training.data import FrameBlock, load_block, stored_frames_per_step
from edviz.training.directory import RunDirectory
from edviz.training.loop import REPORT_SECONDS, StopRequested, train_stage
from edviz.training.previews import reconstruction_preview, rollout_preview
from edviz.training.processes import require_devices
from edviz.training.stages import AutoencoderStage, DecoderStage, DiffusionStage, encode_copies
from edviz.training.thermostat import tune_thermostat

__all__ = ["computes_in_bf16", "emulates_bf16", "main", "make_fabric", "train"]

LARGEST_BANK = 16e9
"""Bytes of latents on disk, at most: fewer augmented copies of long trajectories."""
PREVIEW_FRAMES = 8


def computes_in_bf16() -> bool:
    """Whether the processor has instructions for bf16 (AVX-512 or AMX); without them it is emulated, and slow."""
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask is not None and ask() for ask in asked)


def emulates_bf16(config: TrainingConfig, device_type: str) -> bool:
    """Whether the run was told to compute in bf16 on a processor that cannot."""
    return config.precision == "bf16" and device_type == "cpu" and not computes_in_bf16()


def make_fabric(config: TrainingConfig, device: str, devices: int, nodes: int = 1) -> Fabric:
    """Device, precision and strategy of a run."""
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    require_devices("cuda" if cuda else "cpu", devices)
    low = config.precision == "bf16" or (config.precision == "auto" and (cuda or computes_in_bf16()))
    several = devices * nodes > 1
    return Fabric(
        accelerator="cuda" if cuda else "cpu",
        devices=devices,
        num_nodes=nodes,
        # the others wait while the first process encodes, which takes long for long trajectories
        # and buffers, which only the data decide, are the same everywhere
        strategy=DDPStrategy(timeout=timedelta(days=1), broadcast_buffers=False) if several else "auto",
        precision="bf16-mixed" if low else "32-true",
    )


def train(run: RunDirectory, fabric: Fabric, config: TrainingConfig) -> None:
    """Train the stages of a run and write its emulator."""
    requests = Requests(run, config)
    requests.listen()
    chief = fabric.is_global_zero
    if chief:
        run.write_json("environment.json", environment(fabric))
        run.write_status(state="running", stage="reading data", step=0, progress=0.0, device=_device_name(fabric))
        if emulates_bf16(config, fabric.device.type):
            run.append_event(
                "slow",
                'precision = "bf16", which this processor has no instructions for: PyTorch emulates it, about 25 times '
                'slower than float32; precision "auto" would take float32 here',
            )
    trajectory = open_data(run)
    stride = stored_frames_per_step(trajectory, config.frame_interval)
    grid = trajectory.grid
    # of the validation frames a few are held, the others are read once
    fit, validation = load_block(trajectory, "fit"), load_block(trajectory, "validation", memory=0)
    start = DensityEmulator.load(run["start"]) if run["start"].exists() else None
    autoencoder, dynamics = (None, None) if start is None else (_free(start.autoencoder), _free(start.dynamics))
    shown = validation.evenly(PREVIEW_FRAMES)

    def show_reconstruction(model: torch.nn.Module, step: int) -> None:
        picture = reconstruction_preview(model, shown[len(shown) // 2], grid.cell)
        run.write_json("preview-autoencoder.json", {"step": step, **picture})

    def show_rollout(model: torch.nn.Module, step: int) -> None:
        assert isinstance(model, LatentDynamics) and autoencoder is not None
        picture = rollout_preview(autoencoder, model, held, shown, config, stride)
        run.write_json("preview-diffusion.json", {"step": step, **picture})

    first = AutoencoderStage(config, grid, fit, validation, autoencoder, stride)
    trained = train_stage(first, config, run, fabric, requests, show_reconstruction)
    assert isinstance(trained, Autoencoder)
    autoencoder = trained.eval().requires_grad_(False)
    augment = Augmentation(grid)
    copies = config.augmented_copies
    if chief:
        copies = _affordable_copies(run, fit, config)
        _encode(run, "checkpoints/latents.npy", autoencoder, fit, augment, copies, config.seed, requests)
        _encode(run, "checkpoints/validation-latents.npy", autoencoder, validation, augment, 1, config.seed, requests)
    fabric.barrier()
    bank = np.load(run["checkpoints/latents.npy"], mmap_mode="r")
    held = np.load(run["checkpoints/validation-latents.npy"], mmap_mode="r")
    second = DiffusionStage(config, grid, autoencoder, bank, held, fit, stride, dynamics)
    steps = train_stage(second, config, run, fabric, requests, show_rollout)

    def show_both(model: torch.nn.Module, step: int) -> None:
        assert isinstance(model, Autoencoder) and isinstance(steps, LatentDynamics)
        show_reconstruction(model, step)
        picture = rollout_preview(model, steps, held, shown, config, stride)
        run.write_json("preview-diffusion.json", {"step": step, **picture})

    if config.decoder_steps > 0:
        third = DecoderStage(config, grid, fit, validation, autoencoder)
        train_stage(third, config, run, fabric, requests, show_both)
    if chief:
        emulator = assemble_emulator(run).to(fabric.device)
        if config.thermostat_frames > 0 and config.variance_relaxation > 0:
            latents = torch.from_numpy(bank[0, ::stride].astype(np.float32))
            report = _reporter(run, requests, "tuning rollouts", config.thermostat_frames)
            tune_thermostat(emulator, latents, config.thermostat_frames, config.seed, report)
        emulator.save(run["emulator"])
        run.write_status(state="finished", stage="done", progress=1.0, seconds_left=0.0)


def _free(model: Any) -> Any:
    """A loaded model, made trainable."""
    return model.train().requires_grad_(True)


def _reporter(run: RunDirectory, requests: Requests, stage: str, total: int) -> Callable[[int], None]:
    """To be told how far a stage without checkpoints is; ends it where that was asked for."""
    told = -1e9

    def report(done: int) -> None:
        nonlocal told
        if requests.look():
            raise StopRequested
        if time.monotonic() - told > REPORT_SECONDS:
            told = time.monotonic()
            run.write_status(state="running", stage=stage, step=done, steps=total, progress=done / total)

    return report


def _latent_shape(autoencoder: Autoencoder, block: FrameBlock) -> tuple[int, ...]:
    with torch.no_grad():
        return tuple(autoencoder.encode(block[0][None].to(next(autoencoder.parameters()).device)).shape[1:])


def _affordable_copies(run: RunDirectory, fit: FrameBlock, config: TrainingConfig) -> int:
    """Augmented copies, fewer of them where the latents would fill the disk."""
    one = 2.0 * len(fit) * config.latent_channels * float(np.prod([max(3, -(-n // 4)) for n in fit.shape]))
    copies = max(1, min(config.augmented_copies, int(LARGEST_BANK / one)))
    if copies < config.augmented_copies:
        run.append_event(
            "fewer copies",
            f"{copies} augmented copies instead of {config.augmented_copies}: the latents of more would take "
            f"over {LARGEST_BANK / 1e9:g} GB of disk.",
        )
    return copies


def _encode(
    run: RunDirectory,
    name: str,
    autoencoder: Autoencoder,
    block: FrameBlock,
    augment: Augmentation,
    copies: int,
    seed: int,
    requests: Requests,
) -> None:
    """Latents of the block and its augmented copies, cached in the run directory as an array that is mapped."""
    target = run[name]
    if target.exists():
        return
    report = _reporter(run, requests, "encoding", copies * len(block))
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        shape = (copies, len(block), *_latent_shape(autoencoder, block))
        out = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
        # a full disk would end a process that writes to a map it has no room for
        if hasattr(os, "posix_fallocate"):
            with open(temporary, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, out.offset + out.nbytes)
        encode_copies(autoencoder, block, augment, seed, out, report)
        out.flush()
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise WriteError(
            f"{target}: could not be written ({error.strerror}); the autoencoder's checkpoint is whole. "
            "Free some space, then resume."
        ) from error


def environment(fabric: Fabric) -> dict[str, Any]:
    """Versions, machine and device."""
    from importlib.metadata import version

    import edviz

    return {
        "edviz": edviz.__version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "lightning-fabric", "numpy", "xarray", "azula", "h5py")},
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": _device_name(fabric),
        "processes": fabric.world_size,
        "precision": str(fabric._precision.precision),
    }


def _device_name(fabric: Fabric) -> str:
    if fabric.device.type == "cuda":
        name = torch.cuda.get_device_name(fabric.device)
    else:
        name = f"CPU, {torch.get_num_threads()} threads"
    return f"{fabric.world_size} x {name}" if fabric.world_size > 1 else name


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the process; the exit code is 0 when the run finished or was stopped on request."""
    given = arguments or sys.argv[1:]
    path, device, devices, nodes = [*given, *("", "auto", "1", "1")[len(given) :]]
    run = RunDirectory(path)
    chief = True

    def tell(**status: Any) -> None:
        if chief:
            run.write_status(**status)

    try:
        config = TrainingConfig.read(run["config.json"])
        fabric = make_fabric(config, device, int(devices), int(nodes))
        chief = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", os.environ.get("LOCAL_RANK", "0")))) == 0
        if int(devices) * int(nodes) == 1:
            chief = True
        if chief:
            run["stop.request"].unlink(missing_ok=True)
            start_heartbeat(run)
        else:
            end_with_parent()
        tell(
            state="running", stage="starting", pid=os.getpid(), host=socket.gethostname(), error=None,
            progress=0.0, step=0,
        )  # fmt: skip
        fabric.launch()
        chief = fabric.is_global_zero
        train(run, fabric, config)
    except StopRequested:
        tell(state="stopped")
    except BaseException as error:
        traceback.print_exc()
        with suppress(EdvizError):  # on a full disk the log's last line, or nothing, must do
            tell(
                state="failed",
                error=str(error) if isinstance(error, EdvizError) else f"{type(error).__name__}: {error}",
            )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
