"""What a training step sees: frames and windows of a trajectory, augmented, drawn from (seed, stage, step).

Every draw is a pure function of those three numbers, so that a resumed run sees exactly the batches that an
uninterrupted one would, and so that each of several processes can take its own rows of the same batch. Augmentation
uses what an equilibrium fluid in this cell is invariant to: translations by whole grid steps, the symmetries that the
cell and the grid really have, and time reversal of windows.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edviz.errors import MissingDataError, NonFiniteError, TrainingError
from edviz.models.augmentation import Augmentation
from edviz.models.seeding import torch_generator
from edviz.trajectory import DensityTrajectory

__all__ = [
    "FrameBlock",
    "Prefetcher",
    "block_frames",
    "draw_frames",
    "draw_triples",
    "draw_windows",
    "load_block",
    "step_generators",
    "stored_frames_per_step",
]

VALIDATION_SHARE = 0.1
AHEAD = 3
"""Batches prepared ahead of the step that is computed."""


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


class FrameBlock:
    """Frames of a trajectory as rho / mean(rho), held in memory or read when they are asked for.

    Parameters
    ----------
    trajectory : DensityTrajectory
        Where the frames come from.
    chosen : array of int
        Their numbers.
    in_memory : bool
        Read them all now.
    """

    def __init__(self, trajectory: DensityTrajectory, chosen: NDArray[np.int64], in_memory: bool) -> None:
        self._trajectory, self._chosen = trajectory, chosen
        self.shape = trajectory.grid.shape
        self._held: Tensor | None = None
        if in_memory:
            held = torch.empty((len(chosen), *self.shape))
            for row in range(len(chosen)):
                held[row] = self._read(row)
            self._held = held

    def __len__(self) -> int:
        return len(self._chosen)

    @property
    def in_memory(self) -> bool:
        """Whether the frames are held."""
        return self._held is not None

    def _read(self, row: int) -> Tensor:
        number = int(self._chosen[row])
        values = np.array(self._trajectory.frame(number), dtype=np.float32)
        mean = values.mean(dtype=np.float64)
        if not np.isfinite(mean):
            raise NonFiniteError(f"frame {number} of the training data holds a NaN or an infinity: leave it out.")
        values /= np.float32(mean)
        return torch.from_numpy(values)

    def __getitem__(self, row: int) -> Tensor:
        """One frame, (A, B, C) float32."""
        return self._held[row] if self._held is not None else self._read(row)

    def take(self, rows: Any) -> Tensor:
        """Several frames, (n, A, B, C) float32."""
        if self._held is not None:
            return self._held[torch.as_tensor(rows, dtype=torch.long)]
        return torch.stack([self._read(int(row)) for row in rows])

    def evenly(self, count: int) -> Tensor:
        """At most `count` frames, evenly spread, (n, A, B, C)."""
        return self.take(torch.linspace(0, len(self) - 1, min(count, len(self))).long())


def load_block(trajectory: DensityTrajectory, part: str, memory: float | None = None) -> FrameBlock:
    """Frames of the "fit" or "validation" part (`block_frames`) as rho / mean(rho).

    Parameters
    ----------
    trajectory : DensityTrajectory
        The training data.
    part : {"fit", "validation"}
        Which part.
    memory : float, optional
        Bytes that the block may hold; a larger one is read frame by frame, again and again. Default: a quarter of
        the memory that is free now.

    Returns
    -------
    FrameBlock
    """
    chosen = block_frames(trajectory, part)
    if memory is None:
        memory = 0.25 * _free_memory()
    size = 4.0 * len(chosen) * float(np.prod(trajectory.grid.shape))
    return FrameBlock(trajectory, chosen, in_memory=size <= memory)


def _free_memory() -> float:
    """Bytes; of all memory a half where the system does not tell what is free."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError):  # macOS
        return 0.5 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


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


def draw_frames(
    block: FrameBlock,
    augment: Augmentation,
    size: int,
    random: np.random.Generator,
    rows: tuple[int, int] | None = None,
) -> Tensor:
    """A batch of augmented frames, (size, A, B, C); only rows [start, stop) of it where `rows` says so."""
    return _draw_in_a_row(block, 1, 1, augment, size, random, rows)[:, 0]


def draw_triples(
    block: FrameBlock,
    stride: int,
    augment: Augmentation,
    size: int,
    random: np.random.Generator,
    rows: tuple[int, int] | None = None,
) -> Tensor:
    """A batch of three consecutive frames, `stride` stored frames apart, (size, 3, A, B, C); each under one operation.

    Only rows [start, stop) of it where `rows` says so.
    """
    return _draw_in_a_row(block, stride, 3, augment, size, random, rows)


def _draw_in_a_row(
    block: FrameBlock,
    stride: int,
    length: int,
    augment: Augmentation,
    size: int,
    random: np.random.Generator,
    rows: tuple[int, int] | None,
) -> Tensor:
    _check_span(len(block), stride, length)
    span = stride * (length - 1)
    starts = random.integers(len(block) - span, size=size)
    operations = [augment.draw(random) for _ in starts]
    batch = []
    for i in range(*(rows or (0, size))):
        start = int(starts[i])
        frames = torch.stack([block[n] for n in range(start, start + span + 1, stride)])
        batch.append(augment.apply(frames, operations[i]))
    return torch.stack(batch)


def _check_span(frames: int, stride: int, length: int) -> None:
    span = stride * (length - 1)
    if frames <= span:
        raise MissingDataError(
            f"a window of {length} frames, {stride} stored frames apart, needs {span + 1} frames; "
            f"the training block has {frames}."
        )


def draw_windows(
    bank: NDArray[np.float16] | Tensor,
    stride: int,
    length: int,
    size: int,
    random: np.random.Generator,
    rows: tuple[int, int] | None = None,
) -> Tensor:
    """A batch of windows of consecutive latents.

    Parameters
    ----------
    bank : array or Tensor
        Latents of augmented copies of the training block, (copies, T, C, a, b, c); may be a memory map.
    stride : int
        Stored frames per model step.
    length : int
        Latents a window (context and target).
    size : int
        Windows.
    random : numpy.random.Generator
        Source of the choices: copy, start, direction of time, translation by whole latent voxels.
    rows : (int, int), optional
        Read only these windows of the batch, [start, stop).

    Returns
    -------
    Tensor
        (size, length, C, a, b, c) float32.
    """
    copies, frames = bank.shape[:2]
    _check_span(frames, stride, length)
    span = stride * (length - 1)
    start_row, stop_row = rows or (0, size)
    windows = []
    for row in range(size):
        start, copy = random.integers(frames - span), random.integers(copies)
        backward = random.random() < 0.5
        shift = tuple(int(random.integers(n)) for n in bank.shape[-3:])
        if start_row <= row < stop_row:
            read = bank[copy, start : start + span + 1 : stride]
            window = torch.as_tensor(np.asarray(read, dtype=np.float32))
            windows.append((window.flip(0) if backward else window).roll(shift, (-3, -2, -1)))
    return torch.stack(windows)


class Prefetcher:
    """Prepare the batches of the coming steps in a thread while the current one is computed.

    Parameters
    ----------
    draw : callable
        The batch of a step, a pure function of its number.
    """

    def __init__(self, draw: Callable[[int], Any]) -> None:
        self._draw = draw
        self._pool = ThreadPoolExecutor(1, "edviz-loader")
        self._waiting: deque[tuple[int, Future[Any]]] = deque()

    def __call__(self, step: int, last: int) -> Any:
        """The batch of `step`; those after it, before `last`, are begun."""
        if not self._waiting or self._waiting[0][0] != step:  # the first step, or one that was stepped back to
            self._cancel()
        begin = self._waiting[-1][0] + 1 if self._waiting else step
        for ahead in range(begin, max(step + 1, min(step + AHEAD + 1, last))):
            self._waiting.append((ahead, self._pool.submit(self._draw, ahead)))
        return self._waiting.popleft()[1].result()

    def _cancel(self) -> None:
        while self._waiting:
            self._waiting.popleft()[1].cancel()

    def close(self) -> None:
        """End the thread."""
        self._cancel()
        self._pool.shutdown(wait=True)
