"""The periodic 3D convolutional autoencoder: density -> small latent grid -> density.

Ours where the source (arXiv 2509.00169, known to us by its abstract) is silent: two changes of resolution by
moving voxels into channels (stride 4 in all), residual blocks with circular padding, a softly bounded latent
(x / sqrt(1 + (x/b)^2), as in LoLA, Rozet et al. 2025, arXiv 2507.02608) that needs no KL or adversarial term, and
an output that is positive and integrates to the electron number by construction (`charge.py`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edviz.models.charge import fourier_resample, mean_to_one, positive_density, restore
from edviz.models.layers import PeriodicConv3d, ResidualBlock, depth_to_space, space_to_depth

__all__ = ["STRIDE", "Autoencoder", "working_shape"]

STRIDE = 4
"""Grid steps per latent voxel along each axis: translations by multiples of it commute with the model."""


def working_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The smallest grid the strides divide that holds every Fourier component of `shape` (3 voxels at least)."""
    a, b, c = (STRIDE * max(3, math.ceil(n / STRIDE)) for n in shape)
    return a, b, c


def _in_full_precision(layers: nn.Sequential, x: Tensor) -> Tensor:
    """Apply the layers, the last in float32 even under autocast: bf16 would round what comes out to eight bits."""
    *first, last = layers
    for layer in first:
        x = layer(x)
    with torch.autocast(x.device.type, enabled=False):
        return last(x.float())


class Autoencoder(nn.Module):
    """Encode rho / mean(rho) to a latent with `latent_channels` on a grid four times coarser, and back.

    Parameters
    ----------
    latent_channels : int
        Channels of the latent; 4 compress 16-fold.
    fine_channels, coarse_channels : int
        Width at half and at a quarter of the input's resolution.
    encoder_blocks, decoder_blocks : tuple of int
        Residual blocks at (half, quarter) resolution.
    contrast : float
        Standard deviation of rho / mean(rho) over the training data: scales the input to unit variance.
    latent_bound : float
        The latent never leaves (-bound, bound).
    logarithmic : bool
        Feed (and emit) log density instead of density: for densities that span decades (total density).
    """

    def __init__(
        self,
        latent_channels: int = 4,
        fine_channels: int = 32,
        coarse_channels: int = 96,
        encoder_blocks: tuple[int, int] = (1, 1),
        decoder_blocks: tuple[int, int] = (1, 2),
        contrast: float = 0.25,
        latent_bound: float = 5.0,
        logarithmic: bool = False,
    ) -> None:
        super().__init__()
        self.arguments = {
            "latent_channels": latent_channels,
            "fine_channels": fine_channels,
            "coarse_channels": coarse_channels,
            "encoder_blocks": list(encoder_blocks),
            "decoder_blocks": list(decoder_blocks),
            "contrast": contrast,
            "latent_bound": latent_bound,
            "logarithmic": logarithmic,
        }
        self.latent_channels = latent_channels
        self.contrast = contrast
        self.latent_bound = latent_bound
        self.logarithmic = logarithmic
        self.encoder_fine = nn.Sequential(
            PeriodicConv3d(8, fine_channels),
            *(ResidualBlock(fine_channels) for _ in range(encoder_blocks[0])),
        )
        self.encoder_coarse = nn.Sequential(
            PeriodicConv3d(8 * fine_channels, coarse_channels, 1),
            *(ResidualBlock(coarse_channels) for _ in range(encoder_blocks[1])),
            PeriodicConv3d(coarse_channels, latent_channels, 1),
        )
        self.decoder_coarse = nn.Sequential(
            PeriodicConv3d(latent_channels, coarse_channels),
            *(ResidualBlock(coarse_channels) for _ in range(decoder_blocks[1])),
            PeriodicConv3d(coarse_channels, 8 * fine_channels, 1),
        )
        self.decoder_fine = nn.Sequential(
            *(ResidualBlock(fine_channels) for _ in range(decoder_blocks[0])),
            PeriodicConv3d(fine_channels, 8),
        )

    def encode(self, density: Tensor) -> Tensor:
        """Latents of densities.

        Parameters
        ----------
        density : Tensor
            Shape (B, A, B, C), any positive scale: each field is divided by its mean.

        Returns
        -------
        Tensor
            Shape (B, latent_channels, A/4, B/4, C/4), each value within the latent bound.
        """
        x = mean_to_one(density)
        x = fourier_resample(x, working_shape(tuple(x.shape[-3:])))  # type: ignore[arg-type]
        x = (x.clamp_min(1e-4).log() if self.logarithmic else x - 1) / self.contrast
        h = self.encoder_fine(space_to_depth(x.unsqueeze(1)))
        z = _in_full_precision(self.encoder_coarse, space_to_depth(h))
        return z * torch.rsqrt(1 + (z / self.latent_bound).square())

    def decode(self, latent: Tensor, shape: tuple[int, int, int] | None = None) -> Tensor:
        """Densities from latents.

        Parameters
        ----------
        latent : Tensor
            Shape (B, latent_channels, A/4, B/4, C/4).
        shape : tuple of int, optional
            The user's grid, where it is not four times the latent's: resampled to it, then made positive and of
            mean one again.

        Returns
        -------
        Tensor
            rho / mean(rho), shape (B, A, B, C), positive, mean one.
        """
        h = depth_to_space(self.decoder_coarse(latent))
        y = depth_to_space(_in_full_precision(self.decoder_fine, h)).squeeze(1) * self.contrast
        # softplus(1/2 + y) is close to 1 + y in slope and never negative; exp for densities that span decades
        density = mean_to_one(torch.exp(y.clamp(-20, 20))) if self.logarithmic else positive_density(0.5 + 1.6 * y)
        if shape is not None and tuple(shape) != tuple(density.shape[-3:]):
            density = restore(fourier_resample(density, shape))
        return density

    def forward(self, density: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Reconstruct: decode(encode(density)) on the input's grid.

        Of three consecutive frames, (B, 3, A, B, C), the middle one, and beside it the latents of all three,
        (B, 3, C, a, b, c): in one call, which is what wrappers for precision and several processes see.
        """
        a, b, c = density.shape[-3:]
        if density.ndim == 4:
            return self.decode(self.encode(density), (a, b, c))
        latents = self.encode(density.flatten(0, 1)).unflatten(0, density.shape[:2])
        return self.decode(latents[:, 1], (a, b, c)), latents
