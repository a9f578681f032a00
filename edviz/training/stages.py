"""The two stages of a run: what they train, on which batches, with which losses.

A stage is a model, a function from a step number to named losses (all randomness from (seed, stage, step)), and
a validation figure. The loop in loop.py knows nothing else about them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from edviz.grid import PeriodicGrid
from edviz.models.autoencoder import Autoencoder
from edviz.models.diffusion import LatentDynamics
from edviz.models.divergence_loss import ScaledJensenShannon
from edviz.models.spectral_loss import SpectralError
from edviz.training.config import TrainingConfig
from edviz.training.data import Augmentation, draw_frames, draw_windows, step_generators

__all__ = [
    "AutoencoderStage",
    "DiffusionStage",
    "Stage",
    "build_autoencoder",
    "build_dynamics",
    "encode_copies",
]

VALIDATION_FRAMES = 16


class Stage(Protocol):
    """What the loop needs to know of a stage."""

    name: str
    model: Any  # an nn.Module, before or after Fabric has wrapped it
    steps: int
    minutes: float | None
    learning_rate: float

    def losses(self, step: int) -> dict[str, Tensor]:
        """Named losses of one step; "loss" is the one to minimise."""
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
    )


def _evenly(block: Tensor, count: int) -> Tensor:
    return block[torch.linspace(0, len(block) - 1, min(count, len(block))).long()]


class AutoencoderStage:
    """Reconstruct augmented frames: relative L1 + whitened spectral error + scaled Jensen-Shannon divergence."""

    name = "autoencoder"
    number = 0
    model: Any

    def __init__(self, config: TrainingConfig, grid: PeriodicGrid, fit: Tensor, validation: Tensor) -> None:
        self.config = config
        self.steps, self.minutes = config.autoencoder_steps, config.autoencoder_minutes
        self.learning_rate = config.autoencoder_learning_rate
        self.fit, self.validation = fit, _evenly(validation, VALIDATION_FRAMES)
        self.augment = Augmentation(grid)
        sample = _evenly(fit, 256)
        contrast = (sample.clamp_min(1e-4).log() if config.logarithmic else sample).std().item()
        torch.manual_seed(config.seed)
        self.model = build_autoencoder(config, contrast)
        _, noise = step_generators(config.seed, 10, 0)
        self.divergence = ScaledJensenShannon()
        self.divergence.fit(sample, config.autoencoder_batch, noise)
        self.spectral = SpectralError((grid.shape[0], grid.shape[1], grid.shape[2] // 2 + 1))
        self.spectral.fit(
            sample,
            torch.from_numpy(grid.k_norms(half=True)),
            torch.from_numpy(grid.half_weights()),
            config.spectral_cutoff,
            2 * torch.pi / grid.volume ** (1 / 3),
        )

    def losses(self, step: int) -> dict[str, Tensor]:
        """Losses of one batch of frames."""
        random, _ = step_generators(self.config.seed, self.number, step)
        device = next(self.model.parameters()).device
        target = draw_frames(self.fit, self.augment, self.config.autoencoder_batch, random).to(device)
        output = self.model(target)
        reconstruction = (output - target).abs().mean()
        spectral = self.spectral.to(device)(output, target)
        jsd = self.divergence.to(device)(output, target)
        loss = reconstruction + self.config.spectral_weight * spectral + self.config.autoencoder_jsd_weight * jsd
        return {"loss": loss, "reconstruction": reconstruction, "spectral": spectral, "jsd": jsd}

    @torch.no_grad()
    def validate(self, model: nn.Module) -> dict[str, float]:
        """Relative L1 error (nmae) on validation frames, %."""
        device = next(model.parameters()).device
        errors = [(model(x.to(device)) - x.to(device)).abs().mean() for x in self.validation.split(4)]
        return {"validation_nmae": 100 * torch.stack(errors).mean().item()}


class DiffusionStage:
    """Denoise the next latent: EDM loss + scaled Jensen-Shannon divergence of the decoded low-noise estimates."""

    name = "diffusion"
    number = 1
    model: Any

    def __init__(
        self,
        config: TrainingConfig,
        grid: PeriodicGrid,
        autoencoder: Autoencoder,
        bank: Tensor,
        validation: Tensor,
        fit: Tensor,
        stride: int,
    ) -> None:
        self.config, self.stride = config, stride
        self.steps, self.minutes = config.diffusion_steps, config.diffusion_minutes
        self.learning_rate = config.diffusion_learning_rate
        self.bank, self.validation, self.fit = bank, validation, fit
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        torch.manual_seed(config.seed + 1)
        self.model = build_dynamics(config)
        self.model.fit_scales(bank[0, ::stride].float())
        self.shape = grid.shape
        _, noise = step_generators(config.seed, 11, 0)
        self.divergence = ScaledJensenShannon()
        self.divergence.fit(_evenly(fit, 256), config.diffusion_jsd_batch, noise)

    def losses(self, step: int) -> dict[str, Tensor]:
        """Losses of one batch of windows."""
        config = self.config
        random, noise = step_generators(config.seed, self.number, step)
        device = next(self.model.parameters()).device
        context = config.n_context
        windows = draw_windows(self.bank, self.stride, context + 1, config.diffusion_batch, random).to(device)
        result = self.model(windows[:, :context], windows[:, context], noise)
        losses = {"loss": result.loss, "diffusion": result.loss}
        if config.diffusion_jsd_weight > 0 and step % config.diffusion_jsd_every == 0:
            lowest = result.sigma.argsort()[: config.diffusion_jsd_batch]
            generated = self.autoencoder.to(device).decode(result.latent[lowest], self.shape)
            reference = self.fit[torch.from_numpy(random.integers(len(self.fit), size=len(lowest)))].to(device)
            losses["jsd"] = self.divergence.to(device)(generated, reference)
            losses["loss"] = losses["loss"] + config.diffusion_jsd_weight * losses["jsd"]
        return losses

    @torch.no_grad()
    def validate(self, model: nn.Module) -> dict[str, float]:
        """Diffusion loss on the validation windows, with the same noise every time."""
        random, noise = step_generators(self.config.seed, 12, 0)
        device = next(model.parameters()).device
        context = self.config.n_context
        windows = draw_windows(self.validation, self.stride, context + 1, 32, random).to(device)
        return {"validation_diffusion": model(windows[:, :context], windows[:, context], noise).loss.item()}


@torch.no_grad()
def encode_copies(
    autoencoder: Autoencoder, block: Tensor, augment: Augmentation, copies: int, seed: int
) -> Iterator[Tensor]:
    """Encode the block `copies` times, the first as it is, the others each under one random symmetry and translation.

    Yields
    ------
    Tensor
        (T, C, a, b, c) float16, one a copy.
    """
    device = next(autoencoder.parameters()).device
    for copy in range(copies):
        random, _ = step_generators(seed, 20, copy)
        fields = augment(block, random) if copy else block
        yield torch.cat([autoencoder.encode(x.to(device)).half().cpu() for x in fields.split(16)])
