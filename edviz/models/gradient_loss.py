"""Error of the density's gradient, relative to how steep the density is.

The error |rho' - rho| of one voxel says nothing of its neighbours': a decoder right to 0.23 % of the mean density
everywhere had gradients that were 4 % off (lithium, 32^3 points), and a classifier that sees the histogram of
abs(grad rho) told every one of its frames. In Fourier space a gradient weighs each mode's error by k^2. Ours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edviz.models.mode_error import ModeError

__all__ = ["GradientError"]


class GradientError(ModeError):
    """Mean square of grad(output - target), relative to that of grad(rho) in the reference.

    Parameters
    ----------
    shape : tuple of int
        Half-spectrum shape (A, B, C // 2 + 1).
    """

    @torch.no_grad()
    def fit(self, density: Tensor, k_norms: Tensor, multiplicity: Tensor) -> None:
        """Measure how steep the reference is.

        Parameters
        ----------
        density : Tensor
            Reference rho / mean, (T, A, B, C).
        k_norms : Tensor
            Lengths of the half spectrum's wave vectors, (A, B, C // 2 + 1), 1/A.
        multiplicity : Tensor
            How many modes of the full spectrum each plane of the half spectrum stands for, (C // 2 + 1,).
        """
        power = self.power(density).mean(0).double()
        weight = multiplicity * k_norms.double().square()
        # a uniform density has no gradient to compare with
        self.weight.copy_(weight / (weight * power).sum().clamp_min(1e-12))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """(B,), no unit; 1 = an error as large as the gradients themselves. Inputs (B, A, B, C)."""
        return self.weighted(output, target)
