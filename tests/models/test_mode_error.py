"""The weighted sum over a half spectrum: Parseval's theorem."""

import numpy as np
import torch

from edviz.grid import PeriodicGrid
from edviz.models.mode_error import ModeError


def test_with_each_modes_multiplicity_for_weight_it_is_the_mean_square():
    grid = PeriodicGrid(6 * np.eye(3), (6, 7, 8))
    one, other = torch.randn(2, 3, *grid.shape, generator=torch.Generator().manual_seed(0))
    term = ModeError((6, 7, 5))
    term.weight.copy_(torch.from_numpy(grid.half_weights()).expand(6, 7, 5))
    torch.testing.assert_close(term.weighted(one, other), (one - other).square().mean((1, 2, 3)))
