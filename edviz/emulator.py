"""DensityEmulator: autoencoder + latent diffusion + what they were trained on; rollout, save, load.

A saved emulator is a folder with two files: `emulator.json` (architecture, frame interval, cell, grid, density
kind, electrons, sampling defaults, provenance) and `weights.safetensors`. Loading either
executes no code.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from tqdm.auto import tqdm

from edviz.analysis.running import RunningStatistics, log_range
from edviz.analysis.sites import count_holes, count_maxima
from edviz.errors import (
    ArgumentError,
    GenerationError,
    GridMismatchError,
    MissingDataError,
    ModelFileError,
    NonFiniteError,
    UnknownSampleError,
    WriteError,
)
from edviz.grid import PeriodicGrid
from edviz.models.augmentation import Augmentation
from edviz.models.autoencoder import STRIDE, Autoencoder, working_shape
from edviz.models.diffusion import LatentDynamics
from edviz.models.frozen_cores import FrozenCores
from edviz.models.seeding import torch_generator
from edviz.models.value_map import ValueMap
from edviz.rejection import Made, held_blocks
from edviz.rollouts import InFile, InMemory, Progress, fingerprint
from edviz.samples import emulator_folder, sample_names
from edviz.trajectory import DensityTrajectory

__all__ = ["DensityEmulator", "load_emulator"]

FORMAT_VERSION = 1
SOURCE = "edviz emulator"
BURN_IN = 30
"""Frames thrown away at a start from nothing: three times as long as lithium's density remembers, at 10 fs."""
START_TRIES = 64
"""How often starts from nothing are drawn until each has its atoms."""
BLOCK = 20
"""Frames that are thrown away together where an atom is lost (`edviz.rejection`)."""
_FITTED = {
    "value_map": ("generated", "true"),
    "frozen_cores": ("profile", "form_factor", "gain", "radii_and_floor"),
}
"""Parts that may be there beside the networks, and the arrays among the weights that they are made of."""
_START_KEY = 2**40
"""Noise of a start from nothing is drawn under this and the following numbers, far from those of the frames."""


class DensityEmulator:
    """A generative model of one system's density dynamics.

    Parameters
    ----------
    autoencoder : Autoencoder
        Density to latent and back.
    dynamics : LatentDynamics
        Next latent given the last `n_context`.
    grid : PeriodicGrid
        Cell and grid of the training data.
    frame_interval : float
        Time between frames, fs.
    density_kind : str
        Kind of density ("valence", "total", ...).
    n_electrons : float
        Electrons in the cell.
    sampling_steps : int
        Default denoiser calls a frame.
    context_noise : float
        Default noise level of the context in rollouts, in units of the latent's standard deviation.
    noise_gain : float
        Noise really put on a rollout's context, over that level (see `LatentDynamics.sample`).
    variance_relaxation : float
        Rate a frame at which the power of a rollout's latent is pulled to that of the training data (see
        `LatentDynamics.relax`).
    hole_level : float, optional
        Level, in units of the mean density, below which each minimum is an atom (`edviz.analysis.sites.hole_level`);
        None where the holes say nothing of the atoms, or atoms are maxima.
    n_sites : int, optional
        Maxima of a total density, or deep holes, in every frame of the training data; None where they differ. What a
        start from nothing has to have.
    frozen_cores : FrozenCores, optional
        What is known of every atom and written into each decoded frame (`edviz.models.frozen_cores`), on the grid and
        cell of the training data alone; before the values are mapped.
    value_map : ValueMap, optional
        What the decoder's values, in units of their mean, are mapped by (`edviz.models.value_map`).
    provenance : dict
        What it was trained on and how; written to emulator.json.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        dynamics: LatentDynamics,
        *,
        grid: PeriodicGrid,
        frame_interval: float,
        density_kind: str,
        n_electrons: float,
        sampling_steps: int = 4,
        context_noise: float = 0.03,
        noise_gain: float = 1.0,
        variance_relaxation: float = 0.0,
        hole_level: float | None = None,
        n_sites: int | None = None,
        frozen_cores: FrozenCores | None = None,
        value_map: ValueMap | None = None,
        provenance: dict[str, Any] | None = None,
    ) -> None:
        self.autoencoder = autoencoder.float().eval().requires_grad_(False)
        self.dynamics = dynamics.float().eval().requires_grad_(False)
        self.grid = grid
        self.frame_interval = float(frame_interval)
        self.density_kind = density_kind
        self.n_electrons = float(n_electrons)
        self.sampling_steps = sampling_steps
        self.context_noise = context_noise
        self.noise_gain = noise_gain
        self.variance_relaxation = variance_relaxation
        self.hole_level = hole_level
        self.n_sites = n_sites
        self.frozen_cores = frozen_cores
        self.value_map = value_map
        self.provenance = provenance or {}

    @classmethod
    def from_training(
        cls,
        autoencoder: Autoencoder,
        dynamics: LatentDynamics,
        trajectory: DensityTrajectory,
        **settings: Any,
    ) -> DensityEmulator:
        """Build from trained models and the trajectory that they were trained on (cell, grid, kind, electrons)."""
        return cls(
            autoencoder,
            dynamics,
            grid=trajectory.grid,
            density_kind=trajectory.density_kind,
            n_electrons=trajectory.n_electrons,
            **settings,
        )

    def __repr__(self) -> str:
        a, b, c = self.grid.shape
        size = sum(p.numel() for m in (self.autoencoder, self.dynamics) for p in m.parameters()) / 1e6
        return (
            f"DensityEmulator({self.density_kind} density, {self.n_electrons:g} electrons, {a} x {b} x {c} grid, "
            f"{self.frame_interval:g} fs a frame, context of {self.n_context} frames, {size:.1f} M weights)"
        )

    @property
    def n_context(self) -> int:
        """Past frames that a prediction needs."""
        return self.dynamics.n_context

    @property
    def finds_atoms(self) -> bool:
        """Whether atoms can be counted in densities of its kind."""
        return self.density_kind == "total" or self.hole_level is not None

    def count_atoms(self, densities: NDArray[np.floating]) -> NDArray[np.intp]:
        """Maxima, or deep holes where there is a `hole_level`, of each density (n, a, b, c)."""
        return count_maxima(densities) if self.hole_level is None else count_holes(densities, self.hole_level)

    @property
    def compression(self) -> float:
        """Density values per latent value."""
        return float(4**3 / self.autoencoder.latent_channels)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.autoencoder.parameters()).device

    def to(self, device: str | torch.device) -> DensityEmulator:
        """Move the weights to a device ("cuda", "cpu"); returns itself."""
        self.autoencoder.to(device)
        self.dynamics.to(device)
        return self

    # Input ------------------------------------------------------------------------------------------------------

    def _matching(self, trajectory: DensityTrajectory, allow_mismatch: bool, timed: bool = True) -> DensityTrajectory:
        """Check that a trajectory is what the emulator was trained on; subsample finer frame intervals."""
        if trajectory.is_ensemble:
            raise MissingDataError(
                "the emulator takes a single trajectory; choose one sample: traj.sample(0). A rollout takes a list."
            )
        problems = []
        if trajectory.grid.shape != self.grid.shape:
            cure = f"traj.resample_grid({self.grid.shape})"
            problems.append(f"its grid is {trajectory.grid.shape}, the emulator's {self.grid.shape} (cure: {cure})")
        if np.abs(trajectory.grid.cell - self.grid.cell).max() > 1e-3:
            problems.append(f"its cell is\n{trajectory.grid.cell} A, the emulator's\n{self.grid.cell} A")
        if trajectory.density_kind != self.density_kind:
            problems.append(f"it holds a {trajectory.density_kind} density, the emulator's is {self.density_kind}")
        if abs(trajectory.n_electrons - self.n_electrons) > 1e-3 * self.n_electrons:
            problems.append(f"it has {trajectory.n_electrons:g} electrons, the emulator's data {self.n_electrons:g}")
        stride = 1
        if timed and len(trajectory) > 1:
            ratio = self.frame_interval / trajectory.frame_interval
            if abs(ratio - round(ratio)) < 1e-3 * ratio and round(ratio) >= 1:
                stride = round(ratio)
            else:
                problems.append(
                    f"its frames are {trajectory.frame_interval:g} fs apart, "
                    f"the emulator steps by {self.frame_interval:g} fs"
                )
        if problems and not allow_mismatch:
            raise GridMismatchError(
                f"the trajectory is not what the emulator was trained on: {'; '.join(problems)}. "
                "allow_mismatch=True overrides this check; the emulator's accuracy is then unknown."
            )
        if stride > 1:
            warnings.warn(
                f"the frames are {trajectory.frame_interval:g} fs apart, the emulator steps by "
                f"{self.frame_interval:g} fs: one frame in {stride} is used, the last one included.",
                stacklevel=3,
            )
            return trajectory[(len(trajectory) - 1) % stride :: stride]
        return trajectory

    def _tensor(self, trajectory: DensityTrajectory, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as (T, A, B, C) on the device."""
        frames = np.stack([trajectory.frame(i) for i in range(start, stop)]).astype(np.float32, copy=False)
        if not np.isfinite(frames).all():
            raise NonFiniteError(f"frames {start} to {stop - 1} of the trajectory hold a NaN or an infinity.")
        return torch.from_numpy(frames).to(self.device)

    def _densities(self, relative: Tensor, grid: PeriodicGrid) -> np.ndarray:
        """rho / mean -> rho in e/A^3, float32, the electron number exact to rounding."""
        values = relative.double().cpu().numpy()
        if self.frozen_cores is not None and np.isfinite(values).all() and self.frozen_cores.grid.matches(grid):
            values = self.frozen_cores(values)
        if self.value_map is not None:
            values = self.value_map(values)
        values *= self.n_electrons / grid.volume / values.mean(axis=(-3, -2, -1), keepdims=True)
        return values.astype(np.float32)

    def _trajectory(
        self, density: np.ndarray, time: np.ndarray, like: DensityTrajectory, line: str
    ) -> DensityTrajectory:
        return DensityTrajectory.from_arrays(
            density,
            like.grid.cell,
            time=time,
            numbers=_numbers(like),
            density_kind=self.density_kind,
            n_electrons=self.n_electrons,
            source=SOURCE,
            history=line,
        )

    # Use ----------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def reconstruct(self, trajectory: DensityTrajectory, allow_mismatch: bool = False) -> DensityTrajectory:
        """D(E(rho)): every frame through the autoencoder.

        Parameters
        ----------
        trajectory : DensityTrajectory
            Any frames on the emulator's grid.
        allow_mismatch : bool
            Accept other cells, grids, kinds and electron numbers.

        Returns
        -------
        DensityTrajectory
            Same times; positive; electrons as the emulator's.
        """
        trajectory = self._matching(trajectory, allow_mismatch, timed=False)
        blocks = []
        for start in _progress(range(0, len(trajectory), 8), "reconstructing", "batch"):
            relative = self.autoencoder(self._tensor(trajectory, start, min(start + 8, len(trajectory))))
            blocks.append(self._densities(relative, trajectory.grid))
        return self._trajectory(np.concatenate(blocks), trajectory.time, trajectory, "reconstructed by the autoencoder")

    def _next(
        self,
        context: Tensor,
        seed: int,
        frame: int,
        steps: int | None,
        noise: float | None,
        attempt: int = 0,
        known: int | None = None,
    ) -> Tensor:
        """One generated latent a row; the noise depends on (seed, frame, attempt) alone."""
        return self.dynamics.sample(
            context,
            torch_generator(seed, frame, *([attempt] if attempt else [])),
            n_steps=self.sampling_steps if steps is None else steps,
            context_noise=self.context_noise if noise is None else noise,
            noise_gain=self.noise_gain,
            known=known,
        )

    @torch.no_grad()
    def predict_next(
        self,
        trajectory: DensityTrajectory,
        n_samples: int = 1,
        seed: int = 0,
        *,
        sampling_steps: int | None = None,
        context_noise: float = 0.0,
        symmetrise: bool = True,
        allow_mismatch: bool = False,
    ) -> DensityTrajectory:
        """One-step forecasts of every frame from the true frames before it.

        Parameters
        ----------
        trajectory : DensityTrajectory
            At least n_context + 1 frames, one emulator step apart (finer intervals that divide are subsampled).
        n_samples : int
            Forecasts a frame.
        seed : int
            Seed of the sampler.
        sampling_steps : int, optional
            Denoiser calls a frame, instead of the emulator's default.
        context_noise : float
            Noise on the context; none by default, since this context is true. A rollout's own context is not, and
            has the emulator's `context_noise`.
        symmetrise : bool
            Show the network the frames of each sample but the first under another random symmetry of the cell and
            translation (`edviz.models.augmentation`), and turn its forecasts back. One forecast is as good as without;
            the mean of several is better, since the network's errors differ.
        allow_mismatch : bool
            Accept other cells, grids, kinds and electron numbers.

        Returns
        -------
        DensityTrajectory
            (sample, time, a, b, c) at the times ``trajectory.time[n_context:]``.
        """
        trajectory = self._matching(trajectory, allow_mismatch)
        k, frames = self.n_context, len(trajectory)
        if frames <= k:
            raise MissingDataError(
                f"a one-step forecast needs {k + 1} frames {self.frame_interval:g} fs apart; got {frames}."
            )
        augment, random = Augmentation(trajectory.grid), np.random.default_rng(seed)
        density = np.empty((n_samples, frames - k, *trajectory.grid.shape), np.float32)
        with _progress(None, "one-step forecasts", "frame", total=n_samples * (frames - k)) as bar:
            for s in range(n_samples):
                turn = augment.draw(random) if s and symmetrise else augment.identity
                if s == 0 or symmetrise:
                    parts = (self._tensor(trajectory, i, min(i + 8, frames)) for i in range(0, frames, 8))
                    latents = torch.cat([self.autoencoder.encode(augment.apply(part, turn)) for part in parts])
                    windows = torch.stack([latents[i : i + k] for i in range(frames - k)])
                for i in range(0, frames - k, 8):
                    predicted = self._next(windows[i : i + 8], seed, s * 2**32 + i, sampling_steps, context_noise)
                    decoded = augment.undo(self.autoencoder.decode(predicted, trajectory.grid.shape), turn)
                    density[s, i : i + 8] = self._densities(decoded, trajectory.grid)
                    bar.update(len(decoded))
        return self._trajectory(density, trajectory.time[k:], trajectory, f"one-step forecasts, seed {seed}")

    @torch.no_grad()
    def rollout(
        self,
        context: DensityTrajectory | Sequence[DensityTrajectory] | None,
        n_frames: int,
        n_samples: int | None = None,
        seed: int = 0,
        out: str | Path | None = None,
        *,
        save_every: int = 1,
        stat_every: int = 10,
        overwrite: bool = False,
        sampling_steps: int | None = None,
        context_noise: float | None = None,
        conserve_atoms: bool = True,
        allow_mismatch: bool = False,
        progress: bool = True,
    ) -> DensityTrajectory:
        """Generate trajectories, frame after frame, from the last frames of a context.

        Nothing in the model counts atoms, and two that come too close may merge. In a total density atoms are maxima,
        in a valence density deep holes (`hole_level`), so their number is looked at: a block of BLOCK frames in which
        a sample has lost or gained one is thrown away and drawn anew, with other noise, for this sample alone, and the
        block before as well if that does not help (`edviz.rejection`).

        With `out`, the same call goes on where a stopped one ended, and gives what it would have given, bit for bit on
        the same machine; with more frames it continues a finished file.

        Parameters
        ----------
        context : DensityTrajectory, or a list of them, or None
            The last n_context frames start every sample; a list starts each sample with its own. Any run at the
            conditions of the training data will do. Finer frame intervals that divide are subsampled with a notice.
            Emulators trained with cut contexts take fewer frames as well, down to `dynamics.least_context`. Where that
            is 0, None starts from nothing: the first latents are drawn by the model (`LatentDynamics.start`), and the
            clock starts at 0 after BURN_IN frames, which are thrown away.
        n_frames : int
            Frames to generate (the context's are not repeated), rounded down to a multiple of `save_every`.
        n_samples : int, optional
            Independent trajectories, generated side by side; by default one a context.
        seed : int
            The same seed gives the same rollout.
        out : path, optional
            Stream to this file instead of memory; a kill loses at most a minute and the frames up to the next one kept.
        save_every : int
            Keep frames save_every, 2 save_every, ... only. Others are not decoded, which saves a third of their cost.
        stat_every : int
            Look at frames stat_every, 2 stat_every, ... for the running statistics, kept or not: see
            `DensityTrajectory.running_statistics`. They take the same memory for any length.
        overwrite : bool
            Throw away what is at `out`.
        sampling_steps : int, optional
            Denoiser calls a frame, instead of the emulator's default.
        context_noise : float, optional
            Noise on the context, instead of the emulator's default.
        conserve_atoms : bool
            Hold the number of atoms, by the maxima of a total density or the holes of one with a `hole_level`, in the
            frames that are kept or looked at and the last of each block. Other densities are left alone.
        allow_mismatch : bool
            Accept another cell, grid, density kind, electron number or frame interval.
        progress : bool
            Show a progress bar.

        Returns
        -------
        DensityTrajectory
            (sample, time, a, b, c); its clock goes on from the context's last frame. Contexts that end at different
            times make it count from 0, with a notice.

        Raises
        ------
        edviz.errors.GridMismatchError
            If a context is not what the emulator was trained on.
        edviz.errors.MissingDataError
            If a context is too short, or none is given and the emulator needs one.
        edviz.errors.NonFiniteError
            If a context or a generated frame holds a NaN.
        edviz.errors.GenerationError
            If a block and the one before it, drawn anew again and again, lose or gain atoms.
        edviz.errors.ArgumentError
            If `out` holds another rollout (the message says what differs), or a number makes no sense.
        """
        given = [context] if isinstance(context, DensityTrajectory) else list(context or [])
        if n_samples is None:
            n_samples = max(1, len(given))
        _check_numbers(n_frames, n_samples, save_every, stat_every, 1 if context is None else len(given))
        starts = self._starts(given, allow_mismatch)
        grid, clock = (starts[0].grid, _clock(starts)) if starts else (self.grid, 0.0)
        frames = [self._tensor(one, 0, len(one)) for one in starts]
        settings = {
            "emulator": fingerprint(self._tensors().items()),
            "context": fingerprint((str(clock), one) for one in frames),
            "seed": int(seed),
            "n_samples": int(n_samples),
            "save_every": int(save_every),
            "stat_every": int(stat_every),
            "sampling_steps": self.sampling_steps if sampling_steps is None else sampling_steps,
            "context_noise": self.context_noise if context_noise is None else context_noise,
            "noise_gain": self.noise_gain,
            "variance_relaxation": self.variance_relaxation,
            "hole_level": self.hole_level,
            "conserve_atoms": bool(conserve_atoms),
            "frame_interval_fs": self.frame_interval,
        }
        fixed = {
            "cell": grid.cell,
            "numbers": _numbers(starts[0]) if starts else None,
            "density_kind": self.density_kind,
            "n_electrons": self.n_electrons,
            "source": SOURCE,
            "history": f"rollout, {n_samples} samples, seed {seed}, one frame in {save_every} kept",
            "attrs": {"settings": json.dumps(settings)},
        }
        times = clock + self.frame_interval * save_every * np.arange(1.0, n_frames // save_every + 1)
        to = InMemory(times, fixed) if out is None else InFile(out, times, fixed, overwrite)
        with to:
            done = to.begin(grid, self.device) or self._begin(frames, grid, n_samples, seed, conserve_atoms)
            n_frames = n_frames // save_every * save_every
            atoms = None
            if conserve_atoms and self.finds_atoms:
                begun = self._densities(self.autoencoder.decode(done.state[:, -1], grid.shape), grid)
                atoms = self.count_atoms(begun)
            every = (save_every, stat_every)

            def draw(state: Tensor, first: int, end: int, attempts: NDArray[np.intp]) -> tuple[Made, NDArray[np.bool_]]:
                known = len(frames[0]) if frames else self.n_context
                return self._draw(
                    state, first, end, attempts, grid, seed, sampling_steps, context_noise, every, atoms, known
                )

            blocks: Iterator[tuple[Made, NDArray[np.intp]]]
            if atoms is None:
                blocks = ((draw(done.state, i, i + 1, done.attempts)[0], done.attempts) for i in count(done.frame))
            else:
                blocks = held_blocks(draw, done.state, done.frame, done.attempts, BLOCK)
            with _progress(None, "rollout", "frame", progress, initial=done.frame, total=n_frames) as bar:
                while done.frame < n_frames:
                    made, done.attempts = next(blocks)
                    for state, density in made[: n_frames - done.frame]:
                        done.advance(state, BLOCK)
                        bar.update()
                        if density is None:
                            continue
                        if done.frame % stat_every == 0:
                            done.statistics.update(density)
                        if done.frame % save_every == 0:
                            to.append(density, done)
        return to.finish()

    def _draw(
        self,
        state: Tensor,
        first: int,
        end: int,
        attempts: NDArray[np.intp],
        grid: PeriodicGrid,
        seed: int,
        steps: int | None,
        noise: float | None,
        every: tuple[int, int],
        atoms: NDArray[np.intp] | None,
        known: int,
    ) -> tuple[Made, NDArray[np.bool_]]:
        """Frames [first, end) from the last latents, and in which samples the number of atoms holds.

        Decoded where a frame is kept or looked at, and with `atoms`, the number that each sample has to have, at the
        end. `known` frames were given before frame 0.
        """
        whole = np.ones(len(state), bool)
        made: Made = []
        for frame in range(first, end):
            # All rows for each attempt, since the numbers of a row must not depend on which others are drawn anew.
            drawn = {n: self._next(state, seed, frame, steps, noise, n, known + frame) for n in set(attempts.tolist())}
            new = torch.stack([drawn[n][row] for row, n in enumerate(attempts.tolist())])
            new, state = self.dynamics.advance(state, new, self.variance_relaxation)
            wanted = any((frame + 1) % n == 0 for n in every)
            if not (wanted or (atoms is not None and frame + 1 == end)):
                made.append((state, None))
                continue
            density = self._densities(self.autoencoder.decode(new, grid.shape), grid)
            if not np.isfinite(density).all():
                raise NonFiniteError(
                    f"frame {frame} of the rollout is not a number: the emulator is unfit for this context."
                )
            if atoms is not None:
                whole &= self.count_atoms(density) == atoms
            made.append((state, density if wanted else None))
            if not whole.any():
                break
        return made, whole

    def _starts(self, given: Sequence[DensityTrajectory], allow_mismatch: bool) -> list[DensityTrajectory]:
        """The frames that each context gives to a rollout; none where it starts from nothing."""
        least = self.dynamics.least_context
        if not given and least > 0:
            raise MissingDataError(
                "this emulator was never trained without a past (context_dropout above 0, least_context = 0), so it "
                f"cannot start from nothing: give it {self.n_context} frames of a trajectory."
            )
        starts = [self._matching(one, allow_mismatch) for one in given]
        length = min([self.n_context, *map(len, starts)])
        if length < max(1, least):
            raise MissingDataError(
                f"the context needs {max(1, least)} frames {self.frame_interval:g} fs apart; got {length}."
            )
        if any(one.grid.shape != starts[0].grid.shape for one in starts):
            raise GridMismatchError("the contexts of one rollout need one grid: traj.resample_grid(...) gives it.")
        return [one[len(one) - length :] for one in starts]

    def _begin(
        self, frames: Sequence[Tensor], grid: PeriodicGrid, n_samples: int, seed: int, conserve_atoms: bool
    ) -> Progress:
        """The latents of one context for all samples, one for each, or of none; statistics that have seen nothing."""
        if frames:
            latents = torch.stack([self.autoencoder.encode(one) for one in frames])
            unknown = latents[:, :1].expand(-1, self.n_context - latents.shape[1], *latents.shape[2:])
            latents = torch.cat((unknown, latents), dim=1)
        else:
            latents = self._from_nothing(n_samples, seed, self.n_sites if conserve_atoms else None)
        seen = self._densities(self.autoencoder.decode(latents[:, -1], grid.shape), grid)
        statistics = RunningStatistics(grid, self.n_electrons, n_samples, log_range(seen))
        return Progress(0, latents.expand(n_samples, *latents.shape[1:]).contiguous(), statistics)

    def _from_nothing(self, n_samples: int, seed: int, n_sites: int | None) -> Tensor:
        """Contexts that the model draws itself, after BURN_IN frames; anew where one has not `n_sites` atoms."""
        a, b, c = (n // STRIDE for n in working_shape(self.grid.shape))
        chosen: Tensor | None = None
        found = np.zeros(n_samples, bool)
        for attempt in range(START_TRIES):
            key = (seed, _START_KEY, *([attempt] if attempt else []))
            state = self.dynamics.start(n_samples, (a, b, c), torch_generator(*key))
            for frame in range(BURN_IN):
                new = self._next(state, seed, _START_KEY + 1 + frame, None, None, attempt)
                _, state = self.dynamics.advance(state, new, self.variance_relaxation)
            if n_sites is None:
                return state
            density = self._densities(self.autoencoder.decode(state[:, -1], self.grid.shape), self.grid)
            good = ~found & (self.count_atoms(density) == n_sites)
            chosen = state if chosen is None else chosen
            chosen[torch.from_numpy(good)] = state[torch.from_numpy(good)]
            found |= good
            if found.all():
                return chosen
        raise GenerationError(
            f"no start from nothing with {n_sites} atoms in {START_TRIES} tries: give the rollout frames of a "
            "trajectory, or conserve_atoms=False."
        )

    # Files ----------------------------------------------------------------------------------------------------

    def _tensors(self) -> dict[str, Tensor]:
        """All numbers that were fitted, by name."""
        tensors = {f"autoencoder.{k}": v for k, v in self.autoencoder.state_dict().items()}
        tensors |= {f"dynamics.{k}": v for k, v in self.dynamics.state_dict().items()}
        for name, arrays in _FITTED.items():
            if (part := getattr(self, name)) is not None:
                tensors |= {f"{name}.{k}": torch.from_numpy(getattr(part, k)) for k in arrays}
        return tensors

    def save(self, path: str | Path) -> Path:
        """Write the emulator to a folder (emulator.json, weights.safetensors), whole or not at all.

        Returns
        -------
        Path
            The folder.
        """
        folder = Path(path)
        description = {
            "format": "edviz emulator",
            "format_version": FORMAT_VERSION,
            "autoencoder": self.autoencoder.arguments,
            "dynamics": self.dynamics.arguments,
            "cell": self.grid.cell.tolist(),
            "grid": list(self.grid.shape),
            "frame_interval_fs": self.frame_interval,
            "density_kind": self.density_kind,
            "n_electrons": self.n_electrons,
            "sampling_steps": self.sampling_steps,
            "context_noise": self.context_noise,
            "noise_gain": self.noise_gain,
            "variance_relaxation": self.variance_relaxation,
            "hole_level": self.hole_level,
            "n_sites": self.n_sites,
            "provenance": self.provenance,
        }
        weights = self._tensors()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / f".{os.getpid()}.tmp"
            temporary.write_bytes(save({k: v.detach().cpu().contiguous() for k, v in weights.items()}))
            description["weights_sha256"] = _sha256(temporary)
            os.replace(temporary, folder / "weights.safetensors")
            temporary.write_text(json.dumps(description, indent=1))
            os.replace(temporary, folder / "emulator.json")
        except OSError as error:
            raise WriteError(f"{folder}: the emulator could not be written ({error}).") from error
        return folder

    @classmethod
    def load(cls, path: str | Path) -> DensityEmulator:
        """Read a folder that `save` wrote.

        Raises
        ------
        edviz.errors.ModelFileError
            If a file is missing, damaged, or of a newer format.
        """
        folder = Path(path)
        for name in ("emulator.json", "weights.safetensors"):
            if not (folder / name).is_file():
                raise ModelFileError(
                    f"{folder}: no {name}. An emulator is a folder written by emulator.save(path) or by a finished "
                    "training run."
                )
        try:
            description = json.loads((folder / "emulator.json").read_text())
            if description["format_version"] > FORMAT_VERSION:
                raise ModelFileError(
                    f"{folder}: format version {description['format_version']}, this edviz reads up to "
                    f"{FORMAT_VERSION}: upgrade edviz."
                )
            if _sha256(folder / "weights.safetensors") != description["weights_sha256"]:
                raise ModelFileError(
                    f"{folder}: weights.safetensors is not the file that emulator.json describes (cut, damaged or from "
                    "another emulator). Copy or train it anew."
                )
            autoencoder = Autoencoder(**description["autoencoder"])
            dynamics = LatentDynamics(**description["dynamics"])
            weights = load_file(folder / "weights.safetensors")
            for prefix, module in (("autoencoder.", autoencoder), ("dynamics.", dynamics)):
                module.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
            if not all(torch.isfinite(v).all() for v in weights.values()):
                raise ModelFileError(
                    f"{folder / 'weights.safetensors'}: holds NaN or infinite weights; retrain or copy it anew."
                )
            grid = PeriodicGrid(np.array(description["cell"]), tuple(description["grid"]))
            values, cores = (
                [weights[f"{name}.{k}"].numpy() for k in arrays] if f"{name}.{arrays[0]}" in weights else None
                for name, arrays in _FITTED.items()
            )
            return cls(
                autoencoder,
                dynamics,
                grid=grid,
                frame_interval=description["frame_interval_fs"],
                density_kind=description["density_kind"],
                n_electrons=description["n_electrons"],
                sampling_steps=description["sampling_steps"],
                context_noise=description["context_noise"],
                noise_gain=description.get("noise_gain", 1.0),
                variance_relaxation=description.get("variance_relaxation", 0.0),
                hole_level=description.get("hole_level"),
                n_sites=description.get("n_sites"),
                frozen_cores=None if cores is None else FrozenCores(grid, *cores),
                value_map=None if values is None else ValueMap(*values),
                provenance=description["provenance"],
            )
        except (
            json.JSONDecodeError,
            UnicodeDecodeError,
            ArgumentError,
            KeyError,
            TypeError,
            RuntimeError,
            SafetensorError,
        ) as error:
            raise ModelFileError(f"{folder}: damaged or not an emulator ({error}). Copy or train it anew.") from error


def load_emulator(name: str | Path, density: str = "valence") -> DensityEmulator:
    """A bundled emulator by name, or a saved one by path.

    Parameters
    ----------
    name : str or Path
        "lithium-800K", or a folder that `DensityEmulator.save` wrote.
    density : {"valence", "total"}
        Which of the bundled emulators of that name; ignored for paths.

    Returns
    -------
    DensityEmulator

    Raises
    ------
    edviz.errors.UnknownSampleError
        If there is neither such a name nor such a folder.
    edviz.errors.ModelFileError
        If the folder is not a whole emulator.
    """
    if str(name) in sample_names():
        folder = emulator_folder(str(name), density)
        if folder is None:
            raise UnknownSampleError(
                f"no bundled emulator {name!r} for the {density!r} density; there are density='valence' and 'total'."
            )
        return DensityEmulator.load(folder)
    if not Path(name).exists():
        raise UnknownSampleError(
            f"no bundled emulator and no folder {str(name)!r}. Bundled: {', '.join(sample_names())}."
        )
    return DensityEmulator.load(name)


def _numbers(trajectory: DensityTrajectory) -> np.ndarray | None:
    """Atomic numbers go along with a generated density; positions do not: the model has none."""
    return trajectory.ds["numbers"].values if "numbers" in trajectory.ds else None


def _check_numbers(n_frames: int, n_samples: int, save_every: int, stat_every: int, n_contexts: int) -> None:
    """Raise if a rollout's numbers make no sense."""
    if n_frames < 1 or n_samples < 1:
        raise MissingDataError(f"n_frames = {n_frames} and n_samples = {n_samples} must be at least 1.")
    for name, value in {"save_every": save_every, "stat_every": stat_every}.items():
        if value < 1 or value != int(value):
            raise ArgumentError(f"{name} is a whole number from 1 on; got {value}.")
    if n_frames < save_every:
        raise ArgumentError(f"{n_frames} frames end before the first one that save_every={save_every} keeps.")
    if n_contexts not in (1, n_samples):
        raise ArgumentError(
            f"{n_contexts} contexts and {n_samples} samples: give one context for all samples, or one for each."
        )


def _clock(starts: Sequence[DensityTrajectory]) -> float:
    """Time that a rollout counts from: the end of its contexts, or 0 if they end at different times."""
    ends = [float(one.time[-1]) for one in starts]
    if max(ends) - min(ends) < 1e-6:
        return ends[0]
    warnings.warn(
        "the contexts end at different times: the rollout counts from 0 at the end of each. Lead times against one "
        "AIMD run mean nothing for it.",
        stacklevel=3,
    )
    return 0.0


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _progress(items: Any, label: str, unit: str, show: bool = True, **options: Any) -> Any:
    """A bar with rate and time left that appears only when the work takes over two seconds."""
    return tqdm(items, desc=label, unit=unit, delay=2.0, disable=not show, **options)
