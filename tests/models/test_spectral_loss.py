"""The whitened spectral error: known values, and blindness to nothing below the cutoff."""

import numpy as np
import torch

from edviz.grid import PeriodicGrid
from edviz.models.spectral_loss import SpectralError


def fitted(frames, grid, cutoff):
    term = SpectralError((grid.shape[0], grid.shape[1], grid.shape[2] // 2 + 1))
    k, multiplicity = torch.from_numpy(grid.k_norms(half=True)), torch.from_numpy(grid.half_weights())
    term.fit(frames, k, multiplicity, cutoff, 2 * np.pi / grid.volume ** (1 / 3))
    return term


def test_an_error_as_large_as_the_signal_is_one():
    grid = PeriodicGrid(np.array([[6.0, 0, 0], [1, 7, 0], [0, 1, 8]]), (10, 12, 14))
    frames = torch.randn(64, *grid.shape, generator=torch.Generator().manual_seed(0))
    frames = frames - frames.mean((1, 2, 3), keepdim=True)
    term = fitted(frames, grid, 4.0)
    assert abs(term(torch.zeros_like(frames), frames).item() - 1) < 0.02
    assert term(frames, frames).item() < 1e-5


def test_plane_waves_of_unequal_power_weigh_alike_and_those_beyond_the_cutoff_nothing():
    grid = PeriodicGrid(6 * np.eye(3), (12, 12, 12))
    x = torch.arange(12) / 12 * 2 * torch.pi
    waves = [torch.cos(n * x)[:, None, None].expand(12, 12, 12) for n in (1, 3, 5)]
    frame = (waves[0] + 1e-2 * waves[1] + 1e-2 * waves[2]).unsqueeze(0)
    term = fitted(frame, grid, cutoff=3.5)  # n = 3 is at 3.14 1/A, n = 5 at 5.2
    one = term(frame + 1e-1 * waves[0], frame).item()
    three = term(frame + 1e-3 * waves[1], frame).item()
    five = term(frame + 1e-3 * waves[2], frame).item()
    # the same relative error; the shells hold 6+12 and more modes, so compare with each shell's own power
    shells = grid.k_norms() / (2 * np.pi / 6)
    population = [np.sum(np.round(shells) == n) for n in (1, 3)]
    np.testing.assert_allclose(one / three, np.sqrt(population[0] / population[1]), rtol=1e-3)
    assert five < 1e-5
