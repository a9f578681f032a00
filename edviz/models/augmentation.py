"""What an equilibrium fluid in a periodic cell is invariant to, on its grid: symmetries of the cell and translations.

Networks see frames under random ones in training, and forecasts are averaged over them afterwards (a sample of the
group average; Puny et al., "Frame Averaging for Invariant and Equivariant Network Design", ICLR 2022, arXiv
2110.03336): what a network has not learnt to treat alike averages out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from edviz.grid import PeriodicGrid, symmetry_index

__all__ = ["Augmentation", "Operation"]


class Operation(NamedTuple):
    """A symmetry of the cell and a translation by whole grid steps."""

    symmetry: int
    """Which of the cell's symmetries."""
    shift: tuple[int, ...]
    """Grid steps along a, b, c."""


class Augmentation:
    """Random translations and cell symmetries of fields on a periodic grid.

    Parameters
    ----------
    grid : PeriodicGrid
        Decides which symmetries there are.
    """

    def __init__(self, grid: PeriodicGrid) -> None:
        self.shape = grid.shape
        self.symmetries = grid.symmetries()
        self.identity = Operation(0, (0, 0, 0))

    def draw(self, random: np.random.Generator) -> Operation:
        """A random operation."""
        symmetry = int(random.integers(len(self.symmetries)))
        return Operation(symmetry, tuple(int(random.integers(n)) for n in self.shape))

    def apply(self, fields: Tensor, operation: Operation) -> Tensor:
        """Apply an operation to all of (..., A, B, C): a permutation of the voxels."""
        turned = fields.flatten(-3)[..., self._index(operation)].reshape(fields.shape)
        return turned.roll(operation.shift, (-3, -2, -1))

    def undo(self, fields: Tensor, operation: Operation) -> Tensor:
        """The inverse of `apply`."""
        moved = fields.roll([-n for n in operation.shift], (-3, -2, -1))
        return moved.flatten(-3)[..., self._index(operation).argsort()].reshape(fields.shape)

    def _index(self, operation: Operation) -> Tensor:
        return torch.from_numpy(symmetry_index(self.symmetries[operation.symmetry], self.shape).copy())

    def __call__(self, fields: Tensor, random: np.random.Generator) -> Tensor:
        """Apply one random operation to all of (..., A, B, C)."""
        return self.apply(fields, self.draw(random))
