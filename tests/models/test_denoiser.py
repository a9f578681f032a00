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


def test_a_network_with_more_past_frames_takes_over_what_one_with_fewer_has_learnt():
    torch.manual_seed(0)
    short, long = StepDenoiser(3, 2, channels=16, blocks=1, cut_contexts=True), StepDenoiser(3, 4, 16, 1, True)
    for parameter in short.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # fresh blocks are the identity
    long.copy_from(short)
    x, last, older, newer = torch.randn(2, 3, 6, 5, 4), *torch.randn(3, 2, 3, 6, 5, 4)
    levels = {"log_noise": torch.tensor([0.3, -1.0]), "log_context_noise": torch.tensor([-3.0, -2.0])}
    for known, told in ((2, 4), (1, 1), (0, 0)):  # all that each has, one, none
        expected = short(x, **levels, context=torch.cat((last, newer), 1), known=torch.full((2,), known))
        found = long(x, **levels, context=torch.cat((last, older, older, newer), 1), known=torch.full((2,), told))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())
