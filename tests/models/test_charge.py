"""Positivity, electrons and resampling as tensors."""

import numpy as np
import pytest
import torch

from edviz.grid import fourier_resample as grid_resample
from edviz.models.charge import fourier_resample, mean_to_one, positive_density, restore


def test_density_is_positive_with_mean_one_for_any_input():
    logits = 8 * torch.randn(3, 8, 9, 10) - 5
    density = positive_density(logits)
    assert density.min() > 0
    torch.testing.assert_close(density.double().mean((1, 2, 3)), torch.ones(3).double(), rtol=1e-6, atol=0)


def test_mean_to_one_is_exact_on_a_large_float32_grid():
    field = mean_to_one(torch.rand(1, 96, 96, 96) * 1e-3 + 100)
    assert abs(field.double().mean().item() - 1) < 1e-6


@pytest.mark.parametrize(
    ("old", "new"), [((8, 9, 10), (12, 12, 12)), ((12, 11, 10), (8, 7, 6)), ((8, 8, 8), (8, 9, 7))]
)
def test_resampling_equals_the_grid_module(old, new):
    values = np.random.default_rng(1).normal(size=(2, *old))
    ours = fourier_resample(torch.from_numpy(values).float(), new)
    np.testing.assert_allclose(ours.numpy(), grid_resample(values, new), atol=2e-6)


def test_restore_raises_negative_values_only():
    field = torch.tensor([[[[-0.2, 1.0], [1.0, 2.0]]]])
    fixed = restore(field)
    assert fixed.min() > 0
    torch.testing.assert_close(fixed.mean(), torch.tensor(1.0))
    torch.testing.assert_close(fixed[0, 0, 1, 1] / fixed[0, 0, 0, 1], torch.tensor(2.0))
