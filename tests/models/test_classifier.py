"""The critic does not care where the origin lies, nor for the scale, and learns."""

import torch

from edviz.models.classifier import DensityCritic


def test_translations_by_the_stride_and_scale_change_nothing():
    torch.manual_seed(0)
    critic = DensityCritic(channels=16)
    density = torch.rand(2, 16, 16, 16) + 0.5
    logits = critic(density)
    assert logits.shape == (2,)
    torch.testing.assert_close(critic(3 * density.roll((4, 8, -4), (1, 2, 3))), logits, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(critic(density.roll(1, 1)), logits, atol=1e-7)


def test_grids_that_the_strides_do_not_divide():
    assert torch.isfinite(DensityCritic(channels=16)(torch.rand(1, 15, 18, 10) + 0.5)).all()
