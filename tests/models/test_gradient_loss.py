"""The gradient's error: a plane wave's, in a skewed cell, and agreement with the gradients that the scorecard sees."""

import numpy as np
import torch

from edviz.analysis.gradients import gradient_magnitude
from edviz.grid import PeriodicGrid
from edviz.models.gradient_loss import GradientError

GRID = PeriodicGrid(np.array([[6.0, 0, 0], [1, 7, 0], [0, 1, 8]]), (11, 13, 15))


def fitted(frames, grid=GRID):
    term = GradientError((grid.shape[0], grid.shape[1], grid.shape[2] // 2 + 1))
    term.fit(frames, torch.from_numpy(grid.k_norms(half=True)), torch.from_numpy(grid.half_weights()))
    return term


def test_it_is_the_mean_square_of_the_gradient_of_the_error_over_that_of_the_density():
    generator = torch.Generator().manual_seed(0)
    frames = 1 + 0.1 * torch.randn(4, *GRID.shape, generator=generator)
    error = 0.01 * torch.randn(4, *GRID.shape, generator=generator)
    steep, off = (np.square(gradient_magnitude(x.numpy(), GRID)).mean((1, 2, 3)) for x in (frames, error))
    found = fitted(frames)(frames + error, frames)
    np.testing.assert_allclose(found.numpy(), off / steep.mean(), rtol=1e-4)


def test_a_short_wave_weighs_by_its_wave_number_squared_and_a_constant_nothing():
    grid = PeriodicGrid(6 * np.eye(3), (12, 12, 12))
    x = torch.arange(12) / 12 * 2 * torch.pi
    one, three = (torch.cos(n * x).expand(1, 12, 12, 12) for n in (1, 3))
    term = fitted(1 + one, grid)
    torch.testing.assert_close(term(1.1 * one, one), torch.tensor([0.01]))
    torch.testing.assert_close(term(one + 0.1 * three, one), torch.tensor([0.09]))
    torch.testing.assert_close(term(one + 1, one), torch.tensor([0.0]), atol=1e-10, rtol=0)


def test_a_uniform_reference_gives_no_infinity():
    frames = torch.ones(2, *GRID.shape)
    assert torch.isfinite(fitted(frames)(frames + 0.1, frames)).all()
