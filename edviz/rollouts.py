"""Where a rollout goes, in memory or to a file, and how it goes on from there.

Three things make a resumed rollout the uninterrupted one, bit for bit on the same machine:

* the noise of a frame comes from (seed, number of the frame), not from a stream;
* beside the frames stand the latents that the next one is made from (`rollout_latents`) and the running statistics,
  in the same part file, so that a kill cannot part them; a decoded density is never encoded again;
* the file holds the settings (attribute `settings`), with hashes of weights and context: another rollout is refused.

Results in memory hold the same, so that one saved with `to_file` can be continued too.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from edviz.analysis.running import RunningStatistics
from edviz.errors import ArgumentError, FileFormatError
from edviz.grid import PeriodicGrid
from edviz.io import open as open_trajectory
from edviz.io.parts import CARRIED, PartWriter, carried_by, parts_folder, unfinished
from edviz.trajectory import DensityTrajectory

__all__ = ["Destination", "InFile", "InMemory", "Progress", "fingerprint"]

PART_SECONDS = 60.0  # a kill loses at most this much work, and the frames up to the next one kept
_LATENTS = "rollout_latents"
_LATENT_DIMS = ("sample", "past", "channel", "latent_a", "latent_b", "latent_c")


class Progress:
    """How far a rollout has come: all that its next frame depends on.

    Attributes
    ----------
    frame
        Frames generated.
    state
        (sample, n_context, channel, a, b, c) the last latents, oldest first.
    statistics
        Of the frames looked at.
    attempts
        (sample,) how often the block of frames under way was drawn anew.
    """

    def __init__(
        self, frame: int, state: Tensor, statistics: RunningStatistics, attempts: ArrayLike | None = None
    ) -> None:
        self.frame, self.state, self.statistics = frame, state, statistics
        self.attempts: NDArray[np.intp] = np.zeros(len(state), np.intp)
        if attempts is not None:
            self.attempts[:] = attempts

    def advance(self, state: Tensor, block: int) -> None:
        """One frame on; a new block of `block` frames begins with its first attempt."""
        self.state = state
        self.frame += 1
        if self.frame % block == 0:
            self.attempts[:] = 0

    def variables(self) -> dict[str, Any]:
        """As variables of a dataset: name -> (dims, values, attributes)."""
        latents = (
            _LATENT_DIMS,
            self.state.cpu().numpy().copy(),
            {"frame": self.frame, "attempts": " ".join(map(str, self.attempts))},
        )
        return {_LATENTS: latents, **self.statistics.variables()}


class Destination:
    """Takes the frames that are kept; `begin` says where to start."""

    def begin(self, grid: PeriodicGrid, device: torch.device) -> Progress | None:
        """What is there already, or None."""
        return None

    def append(self, density: NDArray[np.float32], progress: Progress) -> None:
        """Keep a frame, (sample, a, b, c)."""
        raise NotImplementedError

    def finish(self) -> DensityTrajectory:
        """All frames."""
        raise NotImplementedError

    def __enter__(self) -> Destination:
        return self

    def __exit__(self, *error: Any) -> None:
        """Free what is held; after an error keep what is whole."""


class InMemory(Destination):
    """Frames in an array.

    Parameters
    ----------
    times
        Of the frames to keep, fs.
    fixed
        Arguments of `DensityTrajectory.from_arrays` that do not depend on the frames.
    """

    def __init__(self, times: NDArray[np.float64], fixed: Mapping[str, Any]) -> None:
        self._times, self._fixed = times, fixed
        self._density = np.empty(0, np.float32)
        self._kept = 0
        self._carried: dict[str, Any] = {}

    def append(self, density: NDArray[np.float32], progress: Progress) -> None:
        """Keep a frame."""
        if not self._kept:
            self._density = np.empty((len(density), len(self._times), *density.shape[1:]), np.float32)
        self._density[:, self._kept] = density
        self._kept += 1
        if self._kept == len(self._times):
            self._carried = progress.variables()

    def finish(self) -> DensityTrajectory:
        """The trajectory."""
        made = DensityTrajectory.from_arrays(self._density, time=self._times, **self._fixed)
        marked = {name: (dims, values, {**at, CARRIED: 1}) for name, (dims, values, at) in self._carried.items()}
        return DensityTrajectory(made.ds.assign(marked))


class InFile(Destination):
    """Frames in a file that can be resumed.

    Parameters
    ----------
    path
        The file.
    times
        Of the frames to keep, fs, those in the file included.
    fixed
        As for `InMemory`.
    overwrite
        Throw away what is there.

    Raises
    ------
    ArgumentError
        If the file holds another rollout, or more than is asked for.
    """

    def __init__(self, path: str | Path, times: NDArray[np.float64], fixed: Mapping[str, Any], overwrite: bool) -> None:
        self.path = Path(path).expanduser()
        self._times, self._fixed = times, fixed
        self._carried: dict[str, Any] = {}
        there = None if overwrite else _latest(self.path)
        self._kept = 0 if there is None else self._checked(*there)
        self.complete = self._kept == len(times) and unfinished(self.path) is None
        self._writer: PartWriter | None = None
        self._last_part = time.monotonic()

    def _checked(self, part: Path, first: int) -> int:
        """Frames in the file, if it is this rollout."""
        cure = f"another out, or overwrite=True to throw {self.path} away"
        try:
            with h5py.File(part, "r") as file:
                found = json.loads(file.attrs.get("settings", "{}"))
                kept = first + len(file["time"])
            self._carried = carried_by(part)
        except (OSError, KeyError, ValueError) as error:
            raise FileFormatError(
                f"{part} is no rollout, or damaged ({error}): move it away, which leaves the parts before it to go on "
                f"from, or choose {cure}"
            ) from error
        if _LATENTS not in self._carried:
            raise ArgumentError(f"{self.path} is there and no rollout that can be continued: choose {cure}")
        settings = json.loads(self._fixed["attrs"]["settings"])
        different = [
            f"{key} ({found.get(key)} there, {settings[key]} here)"
            for key in settings
            if found.get(key) != settings[key]
        ]
        if different:
            raise ArgumentError(
                f"{self.path} holds a rollout with another {', '.join(different)}: give what it had to go on with it, "
                f"or choose {cure}"
            )
        frame = int(self._carried[_LATENTS][2]["frame"])
        if kept * settings["save_every"] != frame:
            raise ArgumentError(
                f"{self.path} holds {kept} frames of a rollout of {frame}, so it is a piece of one: choose {cure}"
            )
        if kept > len(self._times):
            raise ArgumentError(
                f"{self.path} holds this rollout up to frame {frame}, more than asked for: "
                f"edviz.open({str(self.path)!r})[:{len(self._times)}] takes the first ones, or choose {cure}"
            )
        return kept

    def begin(self, grid: PeriodicGrid, device: torch.device) -> Progress | None:
        """Latents and statistics after the last frame on file."""
        if not self._carried:
            return None
        variables = {name: xr.DataArray(v, dims=d, attrs=a) for name, (d, v, a) in self._carried.items()}
        latents = variables[_LATENTS]
        statistics = RunningStatistics.restored(variables, grid, self._fixed["n_electrons"])
        frame, attempts = int(latents.attrs["frame"]), [int(n) for n in latents.attrs["attempts"].split()]
        return Progress(frame, torch.from_numpy(latents.values).to(device), statistics, attempts)

    def __enter__(self) -> InFile:
        if not self.complete:
            attributes = {k: self._fixed[k] for k in ("density_kind", "n_electrons", "source", "history")}
            self._writer = PartWriter(
                self.path,
                cell=self._fixed["cell"],
                attrs=attributes | self._fixed["attrs"],
                numbers=self._fixed["numbers"],
                resume=self._kept > 0,
                overwrite=self._kept == 0,
            )
        return self

    def append(self, density: NDArray[np.float32], progress: Progress) -> None:
        """Write a frame, now and then a part."""
        assert self._writer is not None, "a complete file takes no frames"
        before = self._writer.n_finished
        self._writer.append(density, self._times[self._kept], carried=progress.variables())
        self._kept += 1
        if time.monotonic() - self._last_part > PART_SECONDS:
            self._writer.flush()
        if self._writer.n_finished > before:
            self._last_part = time.monotonic()

    def __exit__(self, *error: Any) -> None:
        if self._writer is not None:
            self._writer.__exit__(*error)

    def finish(self) -> DensityTrajectory:
        """The trajectory, read from the file."""
        return open_trajectory(self.path)


def _latest(path: Path) -> tuple[Path, int] | None:
    """The file that holds the last frames of what is at `path`, and the number of its first; None if there is none."""
    folder = unfinished(path)
    if folder is None:
        return (path, 0) if path.exists() else None
    parts = sorted(parts_folder(path).glob("part-*.h5"))
    return (parts[-1], int(parts[-1].stem.removeprefix("part-"))) if parts else None


def fingerprint(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Short hash of named tensors."""
    found = hashlib.sha256()
    for name, tensor in tensors:
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
