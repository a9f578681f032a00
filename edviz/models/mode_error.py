"""What the losses in Fourier space share: squared errors of the modes of a half spectrum, weighted and summed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ModeError"]

GRID = (-3, -2, -1)


class ModeError(nn.Module):
    """Weighted sum of the modes' squared errors; a loss says in its `fit` what the weights are.

    Parameters
    ----------
    shape : tuple of int
        Half-spectrum shape (A, B, C // 2 + 1).
    """

    weight: Tensor

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(shape))

    @staticmethod
    def power(density: Tensor) -> Tensor:
        """Each mode's squared size, (T, A, B, C) -> (T, A, B, C // 2 + 1)."""
        return torch.fft.rfftn(density, dim=GRID, norm="forward").abs().square()

    def weighted(self, output: Tensor, target: Tensor) -> Tensor:
        """(B,), from (B, A, B, C)."""
        return (self.power((output - target).float()) * self.weight).sum(GRID)
