"""The stages of a run: what they train, on which batches, with which losses.

A stage is a model, a function from a step number to a batch, one from the batch to named losses (all randomness from
(seed, stage, step)), and a validation figure. The loop in loop.py knows nothing else about them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edviz.grid import PeriodicGrid
from edviz.models.augmentation import Augmentation
from edviz.models.autoencoder import Autoencoder
from edviz.models.diffusion import LatentDynamics
from edviz.models.divergence_loss import ScaledJensenShannon, jensen_shannon
from edviz.models.gradient_loss import GradientError
from edviz.models.latent_motion import motion_moments, relative_acceleration
from edviz.models.spectral_loss import SpectralError
from edviz.training.config import TrainingConfig
from edviz.training.data import FrameBlock, draw_frames, draw_triples, draw_windows, step_generators
from edviz.training.processes import Rows, sum_over_processes

__all__ = [
    "AutoencoderStage",
    "DecoderStage",
    "DiffusionStage",
    "Stage",
    "build_autoencoder",
    "build_dynamics",
    "encode_copies",
]

VALIDATION_FRAMES = 16
SAMPLE_FRAMES = 256
"""Frames that scales are measured on."""
SCALE_LATENTS = 4096
"""Latents that the diffusion's units are measured on, at most."""


class Stage(Protocol):
    """What the loop needs to know of a stage."""

    name: str
    model: Any  # an nn.Module, before or after Fabric has wrapped it
    batch: int
    steps: int
    minutes: float | None
    learning_rate: float
    fit: FrameBlock
    figure: str
    """The validation figure that is to fall."""
    extendable: bool
    """Whether it may go on after its end: nothing was made from its weights yet."""

    def draw(self, step: int, rows: Rows) -> dict[str, Tensor]:
        """Rows of the batch of a step, on the CPU; called ahead of time in another thread."""
        ...

    def losses(self, step: int, batch: dict[str, Tensor], rows: Rows) -> dict[str, Tensor]:
        """Named losses of some rows of one step; "loss" is the one to minimise."""
        ...

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Validation figures of the averaged model."""
        ...


def build_autoencoder(config: TrainingConfig, contrast: float) -> Autoencoder:
    """The autoencoder that a configuration describes."""
    return Autoencoder(
        latent_channels=config.latent_channels,
        fine_channels=config.fine_channels,
        coarse_channels=config.coarse_channels,
        contrast=contrast,
        logarithmic=config.logarithmic,
    )


def build_dynamics(config: TrainingConfig) -> LatentDynamics:
    """The latent diffusion that a configuration describes."""
    return LatentDynamics(
        latent_channels=config.latent_channels,
        n_context=config.n_context,
        channels=config.diffusion_channels,
        blocks=config.diffusion_blocks,
        max_context_noise=config.max_context_noise,
        context_dropout=config.context_dropout,
        least_context=config.least_context,
    )


def _divergence(term: ScaledJensenShannon, generated: Tensor, reference: Tensor, count: int) -> Tensor:
    """The scaled divergence of rows spread over processes, `count` in all; a process may have none."""
    if len(generated) > 0:
        own = len(generated) * term.histogram(generated)
    else:
        own = generated.sum() + torch.zeros(term.bins, device=generated.device)  # part of the graph all the same
    return jensen_shannon(sum_over_processes(own) / count, reference) / term.scale


def _log_error(output: Tensor, target: Tensor) -> Tensor:
    """Mean square of log(output / target) of each frame, (B,); values below 1e-4 of the mean count as that."""
    return (output.clamp_min(1e-4).log() - target.clamp_min(1e-4).log()).square().mean((-3, -2, -1))


class AutoencoderStage:
    """Reconstruct augmented frames: relative L1 + whitened spectral error + scaled Jensen-Shannon divergence.

    Where `smoothness_weight` asks for it, also the acceleration of the latents (`edviz.models.latent_motion`).
    """

    name = "autoencoder"
    number = 0
    figure = "validation_nmae"
    extendable = False  # its latents are cached
    fine = False  # whether the relative error and the gradient's are among the losses
    model: Any

    def __init__(
        self,
        config: TrainingConfig,
        grid: PeriodicGrid,
        fit: FrameBlock,
        validation: FrameBlock,
        start: Autoencoder | None = None,
        stride: int = 1,
    ) -> None:
        self.config, self.stride = config, stride
        self.smoothness = 0.0 if self.fine else config.smoothness_weight  # the decoder's stage leaves the latents
        self.batch = getattr(config, f"{self.name}_batch")
        self.steps, self.minutes = config.stage_steps(self.name, len(fit)), getattr(config, f"{self.name}_minutes")
        self.learning_rate = getattr(config, f"{self.name}_learning_rate")
        self.fit, self.validation = fit, validation.evenly(VALIDATION_FRAMES)
        self.moving = self._triples(validation) if self.smoothness else None
        self.augment = Augmentation(grid)
        sample = fit.evenly(SAMPLE_FRAMES)
        contrast = (sample.clamp_min(1e-4).log() if config.logarithmic else sample).std().item()
        torch.manual_seed(config.seed)
        self.model = build_autoencoder(config, contrast) if start is None else start
        _, noise = step_generators(config.seed, 10, 0)
        self.divergence = ScaledJensenShannon()
        self.divergence.fit(sample, self.batch, noise)
        half = (grid.shape[0], grid.shape[1], grid.shape[2] // 2 + 1)
        waves = torch.from_numpy(grid.k_norms(half=True)), torch.from_numpy(grid.half_weights())
        self.spectral, self.gradient = SpectralError(half), GradientError(half)
        self.spectral.fit(sample, *waves, config.spectral_cutoff, 2 * torch.pi / grid.volume ** (1 / 3))
        if self.fine:
            self.gradient.fit(sample, *waves)

    def _triples(self, block: FrameBlock) -> Tensor | None:
        """Some three consecutive frames of a block, (n, 3, A, B, C); none where it is too short."""
        last = len(block) - 1 - 2 * self.stride
        if last < 0:
            return None
        starts = torch.linspace(0, last, min(VALIDATION_FRAMES // 2, last + 1)).long().tolist()
        return torch.stack([block.take([i, i + self.stride, i + 2 * self.stride]) for i in starts])

    def draw(self, step: int, rows: Rows) -> dict[str, Tensor]:
        """Augmented frames of one batch; where latents are to move smoothly, with those before and after them."""
        random, _ = step_generators(self.config.seed, self.number, step)
        own = (rows.start, rows.stop)
        if self.smoothness:
            return {"target": draw_triples(self.fit, self.stride, self.augment, self.batch, random, own)}
        return {"target": draw_frames(self.fit, self.augment, self.batch, random, own)}

    def losses(self, step: int, batch: dict[str, Tensor], rows: Rows) -> dict[str, Tensor]:
        """Losses of some frames of a batch."""
        device = next(self.model.parameters()).device
        frames = batch["target"].to(device)
        target = frames[:, 1] if self.smoothness else frames
        output, latents = self.model(frames) if self.smoothness else (self.model(frames), None)
        reconstruction = (output - target).abs().mean()
        spectral = self.spectral.to(device)(output, target)
        term = self.divergence.to(device)
        count = rows.size * rows.world
        with torch.no_grad():
            reference = sum_over_processes(len(target) * term.histogram(target)) / count
        jsd = _divergence(term, output, reference, count)
        loss = reconstruction + self.config.spectral_weight * spectral + self.config.autoencoder_jsd_weight * jsd
        losses = {"loss": loss, "reconstruction": reconstruction, "spectral": spectral, "jsd": jsd}
        if latents is not None:
            moments = sum_over_processes(len(target) * motion_moments(latents)) / count
            losses["acceleration"] = relative_acceleration(moments)
            losses["loss"] = loss + self.smoothness * losses["acceleration"]
        if self.fine:
            # of the whole batch, however it is divided: a mean of roots is not the root of a mean
            gradient = self.gradient.to(device)(output, target)
            losses["relative"], losses["gradient"] = (
                (sum_over_processes(error.sum()) / count).clamp_min(1e-12).sqrt()
                for error in (_log_error(output, target), gradient)
            )
            losses["loss"] = loss + self._weigh(losses["relative"], losses["gradient"])
        return losses

    def _weigh(self, relative: Tensor, gradient: Tensor) -> Tensor:
        return self.config.relative_weight * relative + self.config.gradient_weight * gradient

    @torch.no_grad()
    def validate(self, model: nn.Module) -> dict[str, float]:
        """Relative L1 error (nmae) on validation frames, %; the latents' acceleration, where it is in the loss."""
        device = next(model.parameters()).device
        errors = [(model(x.to(device)) - x.to(device)).abs().mean() for x in self.validation.split(4)]
        figures = {"validation_nmae": 100 * torch.stack(errors).mean().item()}
        if self.moving is not None:
            latents = torch.stack([model.encode(x.to(device)) for x in self.moving])  # type: ignore[operator]
            figures["validation_acceleration"] = relative_acceleration(motion_moments(latents)).item()
        return figures


class DecoderStage(AutoencoderStage):
    """Train the decoder alone on, with a relative error and the gradient's: the encoder, and all latents, stay.

    The losses of the first stage are blind to where the density is low: in the holes of lithium's valence density (1 %
    of the mean) a decoder that is right to 0.25 % of the mean is wrong by a factor of three, and the distribution of
    log(rho) with it: a jsd of 6 noise floors, from the autoencoder alone. The root mean square of the error of
    log(rho) is mostly made there. They do not see either how one voxel's error differs from its neighbour's; the
    gradient's error does (`edviz.models.gradient_loss`). It comes last, and without the encoder, since the diffusion
    depends on the latents only. Ours.
    """

    name = "decoder"
    number = 2
    figure = "validation_decoder"
    extendable = True
    fine = True

    def __init__(
        self, config: TrainingConfig, grid: PeriodicGrid, fit: FrameBlock, validation: FrameBlock, start: Autoencoder
    ) -> None:
        super().__init__(config, grid, fit, validation, copy.deepcopy(start).train())
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name.startswith("decoder"))

    @torch.no_grad()
    def validate(self, model: nn.Module) -> dict[str, float]:
        """The two terms that this stage adds, weighted, each alone, and the first stage's figure; all in %.

        On validation frames: root mean square of d log(rho), and of grad(d rho) relative to grad(rho).
        """
        device = next(model.parameters()).device
        pairs = [(model(x), x) for x in (part.to(device) for part in self.validation.split(4))]
        term = self.gradient.to(device)
        relative, gradient = (
            100 * torch.cat([error(output, target) for output, target in pairs]).mean().sqrt()
            for error in (_log_error, term)
        )
        return {
            self.figure: self._weigh(relative, gradient).item(),
            "validation_relative": relative.item(),
            "validation_gradient": gradient.item(),
            **super().validate(model),
        }


class DiffusionStage:
    """Denoise the next latent: EDM loss + scaled Jensen-Shannon divergence of the decoded low-noise estimates."""

    name = "diffusion"
    number = 1
    figure = "validation_diffusion"
    extendable = True
    model: Any

    def __init__(
        self,
        config: TrainingConfig,
        grid: PeriodicGrid,
        autoencoder: Autoencoder,
        bank: NDArray[np.float16],
        validation: NDArray[np.float16],
        fit: FrameBlock,
        stride: int,
        start: LatentDynamics | None = None,
    ) -> None:
        self.config, self.stride = config, stride
        self.batch = config.diffusion_batch
        self.steps, self.minutes = config.stage_steps(self.name, len(fit)), config.diffusion_minutes
        self.learning_rate = config.diffusion_learning_rate
        self.bank, self.validation, self.fit = bank, validation, fit
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        torch.manual_seed(config.seed + 1)
        if start is None:
            self.model = build_dynamics(config)
        else:
            sizes = config.n_context, config.context_dropout, config.least_context
            same = sizes == tuple(start.arguments[name] for name in ("n_context", "context_dropout", "least_context"))
            self.model = start if same else start.extended(*sizes)
        if start is None or self.steps > 0:  # weights that stay as they are keep their units too
            self.model.fit_scales(torch.from_numpy(np.asarray(bank[0, ::stride][:SCALE_LATENTS], dtype=np.float32)))
        self.shape = grid.shape
        _, noise = step_generators(config.seed, 11, 0)
        self.divergence = ScaledJensenShannon()
        self.divergence.fit(fit.evenly(SAMPLE_FRAMES), config.diffusion_jsd_batch, noise)

    def draw(self, step: int, rows: Rows) -> dict[str, Tensor]:
        """Windows of one batch and, on steps with the Jensen-Shannon term, real frames to compare with."""
        config = self.config
        random, _ = step_generators(config.seed, self.number, step)
        own = (rows.start, rows.stop)
        windows = draw_windows(self.bank, self.stride, config.n_context + 1, self.batch, random, own)
        if config.diffusion_jsd_weight == 0 or step % config.diffusion_jsd_every:
            return {"windows": windows}
        # not the rows of one process: all compare with the same frames
        return {
            "windows": windows,
            "frames": self.fit.take(random.integers(len(self.fit), size=min(config.diffusion_jsd_batch, self.batch))),
        }

    def losses(self, step: int, batch: dict[str, Tensor], rows: Rows) -> dict[str, Tensor]:
        """Losses of some windows of a batch."""
        config = self.config
        _, noise = step_generators(config.seed, self.number, step)
        device = next(self.model.parameters()).device
        context = config.n_context
        windows = batch["windows"].to(device)
        result = self.model(windows[:, :context], windows[:, context], noise, rows=(rows.start, rows.batch))
        losses = {"loss": result.loss, "diffusion": result.loss}
        if "frames" in batch:
            members = rows.together()
            count = max(1, min(config.diffusion_jsd_batch, self.batch) // rows.parts)
            lowest = members[result.sigma.cpu()[members].argsort()[:count]]
            mine = lowest[(lowest >= rows.start) & (lowest < rows.stop)] - rows.start
            term = self.divergence.to(device)
            reference = term.histogram(batch["frames"].to(device))
            latent = result.latent[mine.to(device)]
            generated = self.autoencoder.to(device).decode(latent, self.shape) if len(mine) else latent
            losses["jsd"] = _divergence(term, generated, reference, count)
            losses["loss"] = losses["loss"] + config.diffusion_jsd_weight * losses["jsd"]
        return losses

    @torch.no_grad()
    def validate(self, model: nn.Module) -> dict[str, float]:
        """Diffusion loss on the validation windows, with the same noise every time."""
        random, noise = step_generators(self.config.seed, 12, 0)
        device = next(model.parameters()).device
        context = self.config.n_context
        windows = draw_windows(self.validation, self.stride, context + 1, 32, random).to(device)
        return {self.figure: model(windows[:, :context], windows[:, context], noise).loss.item()}


@torch.no_grad()
def encode_copies(
    autoencoder: Autoencoder,
    block: FrameBlock,
    augment: Augmentation,
    seed: int,
    out: NDArray[np.float16],
    report: Callable[[int], None],
) -> None:
    """Encode the block once a copy, the first as it is, the others each under one random symmetry and translation.

    Parameters
    ----------
    autoencoder : Autoencoder
        The trained one.
    block : FrameBlock
        T frames.
    augment : Augmentation
        Symmetries and translations.
    seed : int
        Seed of the operations.
    out : array
        (copies, T, C, a, b, c) float16, filled; may be a memory map.
    report : callable
        Called with the number of frames encoded so far, over all copies; may raise to end the work.
    """
    device = next(autoencoder.parameters()).device
    for number in range(len(out)):
        random, _ = step_generators(seed, 20, number)
        operation = augment.draw(random) if number else None
        for start in range(0, len(block), 16):
            stop = min(start + 16, len(block))
            fields = block.take(range(start, stop))
            if operation is not None:
                fields = augment.apply(fields, operation)
            out[number, start:stop] = autoencoder.encode(fields.to(device)).half().cpu().numpy()
            report(number * len(block) + stop)
