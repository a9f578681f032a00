"""The denoiser commutes with every translation of the latent grid and listens to both noise levels."""

import torch

from edviz.models.denoiser import StepDenoiser


def test_translation_and_noise_levels():
    torch.manual_seed(0)
    network = StepDenoiser(3, 2, channels=16, blocks=1)
    x, context = torch.randn(2, 3, 6, 5, 4), torch.randn(2, 6, 6, 5, 4)
    level, context_level = torch.tensor([0.3, -1.0]), torch.tensor([-3.0, -2.0])
    out = network(x, level, context=context, log_context_noise=context_level)
    assert out.shape == x.shape
    shift, dims = (1, 3, 2), (2, 3, 4)
    moved = network(x.roll(shift, dims), level, context=context.roll(shift, dims), log_context_noise=context_level)
    torch.testing.assert_close(moved, out.roll(shift, dims), rtol=0, atol=1e-5)
    assert not torch.allclose(out, network(x, level + 1, context=context, log_context_noise=context_level))
    assert not torch.allclose(out, network(x, level, context=context, log_context_noise=context_level + 1))
