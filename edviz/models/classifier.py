"""A small periodic 3D convolutional network that says whether a density is generated or real.

The critic of the classifier two-sample test (`edviz.analysis.classifier`): space-to-depth, circular convolutions and a
mean over the grid, so that its answer does not depend on where the cell's origin lies, up to the strides.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edviz.models.autoencoder import working_shape
from edviz.models.charge import fourier_resample, mean_to_one
from edviz.models.layers import PeriodicConv3d, ResidualBlock, space_to_depth

__all__ = ["DensityCritic"]


class DensityCritic(nn.Module):
    """Density to one logit: positive for "generated".

    Parameters
    ----------
    channels : int
        Width at a quarter of the input's resolution; a quarter of it at half resolution.
    contrast : float
        Standard deviation of rho / mean(rho) in the data: scales the input to unit variance.
    """

    def __init__(self, channels: int = 48, contrast: float = 0.25) -> None:
        super().__init__()
        fine = max(8, channels // 4)
        self.contrast = contrast
        self.fine = nn.Sequential(PeriodicConv3d(8, fine), ResidualBlock(fine))
        self.coarse = nn.Sequential(PeriodicConv3d(8 * fine, channels, 1), ResidualBlock(channels))
        self.head = nn.Linear(2 * channels, 1)

    def forward(self, density: Tensor) -> Tensor:
        """(B, A, B, C) of any positive scale -> (B,) logits."""
        x = mean_to_one(density)
        x = fourier_resample(x, working_shape(tuple(x.shape[-3:])))  # type: ignore[arg-type]
        x = (x - 1) / self.contrast
        h = self.coarse(space_to_depth(self.fine(space_to_depth(x.unsqueeze(1)))))
        pooled = torch.cat((h.mean((-3, -2, -1)), h.square().mean((-3, -2, -1)).add(1e-6).sqrt()), dim=-1)
        return self.head(pooled).squeeze(-1)
