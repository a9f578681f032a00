"""What a training step sees: frames and windows of a trajectory, augmented, drawn from (seed, stage, step).

Every draw is a pure function of those three numbers, so that a resumed run sees exactly the batches that an
uninterrupted one would. Augmentation uses what an equilibrium fluid in this cell is invariant to: translations by
whole grid steps, the symmetries that the cell and the grid really have, and time reversal of windows.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from edviz.errors import MissingDataError, TrainingError
from edviz.grid import PeriodicGrid, symmetry_index
from edviz.models.seeding import torch_generator
from edviz.trajectory import DensityTrajectory

__all__ = [
    "Augmentation",
    "block_frames",
    "draw_frames",
    "draw_windows",
    "load_block",
    "step_generators",
    "stored_frames_per_step",
]

VALIDATION_SHARE = 0.1


def block_frames(trajectory: DensityTrajectory, part: str) -> np.ndarray:
    """Which frames belong to the "fit" or the "validation" part.

    By the split times in the trajectory's attributes: "fit" ends where "validation" starts. A trajectory
    without split times gives its last tenth to validation.

    Raises
    ------
    edviz.errors.MissingDataError
        If there is no frame in the part.
    """
    attributes = trajectory.ds.attrs
    time = trajectory.time
    if "validation_start_fs" in attributes and "train_end_fs" in attributes:
        start, end = float(attributes["validation_start_fs"]), float(attributes["train_end_fs"])
    else:
        start, end = float(time[int(len(time) * (1 - VALIDATION_SHARE))]), float(time[-1])
    chosen = np.flatnonzero(time < start if part == "fit" else (time >= start) & (time <= end))
    if len(chosen) == 0:
        raise MissingDataError(
            f"the trajectory ({time[0]:g} to {time[-1]:g} fs) has no frame in its {part} part "
            f"({'before' if part == 'fit' else 'from'} {start:g} fs): give the whole training block."
        )
    return chosen


def load_block(trajectory: DensityTrajectory, part: str) -> Tensor:
    """Frames of the "fit" or "validation" part (`block_frames`) as rho / mean(rho).

    Returns
    -------
    Tensor
        (T, A, B, C) float32.
    """
    chosen = block_frames(trajectory, part)
    block = np.empty((len(chosen), *trajectory.grid.shape), dtype=np.float32)
    for row, index in enumerate(chosen):
        block[row] = trajectory.frame(int(index))
    block /= block.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float64).astype(np.float32)
    return torch.from_numpy(block)


def stored_frames_per_step(trajectory: DensityTrajectory, frame_interval: float | None) -> int:
    """How many stored frames one model step spans; the interval must be a whole multiple of the stored one."""
    stored = trajectory.frame_interval
    if not np.allclose(np.diff(trajectory.time), stored, rtol=1e-3):
        raise TrainingError(
            f"the frames are not evenly spaced in time (median {stored:g} fs): the model steps by a fixed interval. "
            "Select an even part, for instance traj[10:500]."
        )
    ratio = (frame_interval or stored) / stored
    if round(ratio) < 1 or abs(ratio - round(ratio)) > 1e-3:
        raise TrainingError(
            f"frame_interval = {frame_interval} fs is not a whole multiple of the trajectory's {stored:g} fs."
        )
    return round(ratio)


def step_generators(seed: int, stage: int, step: int) -> tuple[np.random.Generator, torch.Generator]:
    """The random sources of one training step: (choices, noise)."""
    return np.random.default_rng([seed, stage, step]), torch_generator(seed, stage, step)


class Augmentation:
    """Random translations and cell symmetries of fields on a periodic grid.

    Parameters
    ----------
    grid : PeriodicGrid
        Decides which symmetries there are.
    """

    def __init__(self, grid: PeriodicGrid) -> None:
        self.shape = grid.shape
        self.symmetries = grid.symmetries()

    def __call__(self, fields: Tensor, random: np.random.Generator) -> Tensor:
        """Apply one random operation to all of (..., A, B, C): a permutation of the voxels."""
        matrix = self.symmetries[random.integers(len(self.symmetries))]
        index = torch.from_numpy(symmetry_index(matrix, self.shape).copy())
        shift = tuple(int(random.integers(n)) for n in self.shape)
        turned = fields.flatten(-3)[..., index].reshape(fields.shape)
        return turned.roll(shift, (-3, -2, -1))


def draw_frames(block: Tensor, augment: Augmentation, size: int, random: np.random.Generator) -> Tensor:
    """A batch of augmented frames, (size, A, B, C)."""
    chosen = random.integers(len(block), size=size)
    return torch.stack([augment(block[i], random) for i in chosen])


def draw_windows(bank: Tensor, stride: int, length: int, size: int, random: np.random.Generator) -> Tensor:
    """A batch of windows of consecutive latents.

    Parameters
    ----------
    bank : Tensor
        Latents of augmented copies of the training block, (copies, T, C, a, b, c).
    stride : int
        Stored frames per model step.
    length : int
        Latents a window (context and target).
    size : int
        Windows.
    random : numpy.random.Generator
        Source of the choices: copy, start, direction of time, translation by whole latent voxels.

    Returns
    -------
    Tensor
        (size, length, C, a, b, c) float32.
    """
    copies, frames = bank.shape[:2]
    span = stride * (length - 1)
    if frames <= span:
        raise MissingDataError(
            f"a window of {length} frames, {stride} stored frames apart, needs {span + 1} frames; "
            f"the training block has {frames}."
        )
    windows = []
    for _ in range(size):
        start = random.integers(frames - span)
        window = bank[random.integers(copies), start : start + span + 1 : stride].float()
        if random.random() < 0.5:
            window = window.flip(0)
        shift = tuple(int(random.integers(n)) for n in window.shape[-3:])
        windows.append(window.roll(shift, (-3, -2, -1)))
    return torch.stack(windows)
