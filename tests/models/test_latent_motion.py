"""Limits with known answers: uniform motion, white noise in time, a travelling wave."""

import numpy as np
import pytest
import torch

from edviz.models.latent_motion import motion_moments, relative_acceleration


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_uniform_motion_costs_nothing_and_white_noise_six():
    start, step = noise(4, 1, 2, 6, 6, 6), noise(4, 1, 2, 6, 6, 6, seed=1)
    moving = start + torch.arange(3.0).reshape(1, 3, 1, 1, 1, 1) * step
    assert relative_acceleration(motion_moments(moving)).item() == pytest.approx(0, abs=1e-10)
    white = noise(64, 3, 2, 6, 6, 6)
    assert relative_acceleration(motion_moments(white)).item() == pytest.approx(6, rel=0.02)


def test_a_wave_that_turns_by_an_angle_a_frame():
    """cos(kx - wt): second difference -(2 sin(w/2))^2 times the wave itself, whatever its height, sign and mean."""
    x, w = 2 * np.pi * torch.arange(8) / 8, 0.7
    frames = torch.stack([torch.cos(x - w * t) for t in range(3)])
    field = frames.reshape(1, 3, 1, 8, 1, 1).expand(1, 3, 1, 8, 4, 4)
    latents = torch.cat((field, 3 - 5 * field), dim=2)
    expected = (2 * np.sin(w / 2)) ** 4
    assert relative_acceleration(motion_moments(latents)).item() == pytest.approx(expected, rel=1e-4)


def test_moments_of_parts_are_those_of_the_batch():
    latents = noise(6, 3, 2, 4, 4, 4)
    parts = 4 / 6 * motion_moments(latents[:4]) + 2 / 6 * motion_moments(latents[4:])
    torch.testing.assert_close(parts, motion_moments(latents))


def test_a_latent_that_does_not_vary_gives_no_infinity():
    assert torch.isfinite(relative_acceleration(motion_moments(torch.ones(2, 3, 1, 4, 4, 4))))
