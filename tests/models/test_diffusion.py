"""The latent diffusion against a case with a known answer, and its seeds."""

import pytest
import torch
from azula.denoise import DiracPosterior
from torch import nn

from edviz.models.diffusion import LatentDynamics


class GaussianStep(nn.Module):
    """The exact denoiser of steps drawn from N(mean, std^2), whatever the context."""

    def __init__(self, schedule, mean, std):
        super().__init__()
        self.schedule, self.mean, self.std = schedule, mean, std

    def forward(self, x, t, **context):
        _, sigma = self.schedule(t)
        sigma = sigma.reshape(-1, 1, 1, 1, 1)
        gain = self.std**2 / (self.std**2 + sigma**2)
        return DiracPosterior(self.mean + gain * (x - self.mean))


@pytest.mark.parametrize("width", [0.05, 0.1, 0.2, 0.35, 0.55, 0.8])
def test_four_calls_draw_the_right_gaussian_of_any_width(width):
    model = LatentDynamics(latent_channels=1, n_context=2, channels=8, blocks=1)
    model.latent_mean.fill_(0.7)
    model.latent_std.fill_(2.0)
    model.step_std.fill_(0.5)
    model.denoiser = GaussianStep(model.denoiser.schedule, mean=0.4, std=width)
    context = torch.full((4, 2, 1, 16, 16, 16), 0.7)  # normalised: zero
    z = model.sample(context, torch.Generator().manual_seed(1), n_steps=4, context_noise=0.0)
    step = (z - 0.7) / 2.0 / 0.5
    # the first call takes pure noise for a noisy step, which costs (width / 4)^2 of the mean
    assert abs(step.mean().item() - 0.4) < 0.02 + 0.4 * (width / 4) ** 2
    assert abs(step.std().item() / width - 1) < 0.1


@pytest.mark.parametrize("gain", [1.0, 1.8])
def test_noise_gain_scales_the_noise_put_on_the_context(gain):
    model = LatentDynamics(latent_channels=1, n_context=2, channels=8, blocks=1)
    model.denoiser = GaussianStep(model.denoiser.schedule, mean=0.0, std=0.1)  # whatever the context
    context = torch.zeros(4, 2, 1, 16, 16, 16)
    with_noise, without = (
        model.sample(context, torch.Generator().manual_seed(1), context_noise=0.1, noise_gain=g) for g in (gain, 0.0)
    )
    assert abs((with_noise - without).std().item() - 0.1 * gain) < 0.002 * gain


def with_spectrum(*shape):
    """A model that knows the spectrum of smooth random latents, and some latents."""
    model = LatentDynamics(latent_channels=2, n_context=2, channels=8, blocks=1)
    noise = torch.randn(64, 2, *shape, generator=torch.Generator().manual_seed(0))
    latents = 0.7 + noise + noise.roll(1, -1) + 0.5 * noise.roll((1, 1), (-3, -2))
    model.fit_scales(latents)
    return model, latents


@pytest.mark.parametrize("shape", [(8, 8, 8), (8, 6, 5)])
@pytest.mark.parametrize("rate", [0.0, 0.1, 1.0])
def test_relaxation_takes_off_its_share_of_the_excess_power_of_each_band(rate, shape):
    model, latents = with_spectrum(*shape)
    wrong = model.denormalise(torch.tensor([0.8, 1.3])[:, None, None, None] * model.normalise(latents[:4]))
    before, after = (model._waves(model.normalise(z))[2][..., 1:] for z in (wrong, model.relax(wrong, rate)))
    known = before > 1e-9
    assert known.sum() >= 4 * 2 * 5
    excess, left = ((power / model.band_power[:, 1:]).clamp_min(1e-9).log()[known] for power in (before, after))
    torch.testing.assert_close(left, (1 - rate) * excess, atol=1e-4, rtol=1e-4)


def test_relaxation_sets_the_mean_leaves_phases_and_commutes_with_translations():
    model, latents = with_spectrum(8, 8, 8)
    wrong = latents[:3] + 0.2
    relaxed = model.relax(wrong, 0.3)
    torch.testing.assert_close(model.normalise(relaxed).mean((-3, -2, -1)), torch.zeros(3, 2), atol=1e-5, rtol=0)
    share = (model._waves(model.normalise(relaxed))[0] / model._waves(model.normalise(wrong))[0])[..., 1:]
    assert share.real.min() > 0
    assert share.imag.abs().max() < 1e-3
    shifted = model.relax(wrong.roll((3, 1, 5), (-3, -2, -1)), 0.3)
    torch.testing.assert_close(shifted, relaxed.roll((3, 1, 5), (-3, -2, -1)), atol=1e-5, rtol=1e-5)


def test_the_training_data_relax_to_themselves_on_average():
    model, latents = with_spectrum(8, 8, 8)
    before, after = (model.normalise(z).var().item() for z in (latents, model.relax(latents, 0.1)))
    assert abs(after / before - 1) < 0.01


def test_power_of_all_waves_is_the_variance():
    model, latents = with_spectrum(8, 6, 5)
    normal = model.normalise(latents[:1])
    full = torch.fft.fftn(normal, dim=(-3, -2, -1), norm="ortho").abs().square()
    norm = torch.stack(torch.meshgrid(*(torch.fft.fftfreq(n) for n in (8, 6, 5)), indexing="ij")).square().sum(0).sqrt()
    for number in range(8):
        chosen = (8 * norm).round() == number
        if chosen.any():
            torch.testing.assert_close(model._waves(normal)[2][..., number], full[..., chosen].mean(-1))


def test_loss_of_the_exact_denoiser_is_its_posterior_variance():
    # EDM weight x posterior variance = (1 + 1/s^2) * v s^2 / (v + s^2): known for every noise level
    model = LatentDynamics(latent_channels=1, n_context=2, channels=8, blocks=1, max_context_noise=0.0)
    model.denoiser = GaussianStep(model.denoiser.schedule, mean=0.0, std=1.0)
    random = torch.Generator().manual_seed(0)
    context = torch.zeros(64, 2, 1, 8, 8, 8)
    target = torch.randn(64, 1, 8, 8, 8, generator=random)
    result = model(context, target, random)
    assert abs(result.loss.item() - 1) < 0.02  # with v = 1 it is one at every noise level


def test_same_generator_same_sample_and_normalisation_round_trip():
    torch.manual_seed(0)
    model = LatentDynamics(latent_channels=2, n_context=3, channels=8, blocks=1)
    latents = torch.randn(30, 2, 4, 4, 4).cumsum(0)
    model.fit_scales(latents)
    torch.testing.assert_close(model.denormalise(model.normalise(latents)), latents, rtol=1e-4, atol=1e-5)
    assert model.normalise(latents).std() == pytest.approx(1, abs=0.02)
    context = latents[:3].unsqueeze(0)
    one, two, other = (model.sample(context, torch.Generator().manual_seed(s), n_steps=2) for s in (5, 5, 6))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_sample_commutes_with_translations_without_noise_differences():
    torch.manual_seed(0)
    model = LatentDynamics(latent_channels=2, n_context=2, channels=8, blocks=1).eval()
    context = torch.randn(1, 2, 2, 4, 5, 6)

    draw = model._draw
    shift = (1, 2, 3)
    plain = model.sample(context, torch.Generator().manual_seed(1), n_steps=3, context_noise=0.1)
    model._draw = lambda *a, **k: draw(*a, **k).roll(shift, (-3, -2, -1))
    moved = model.sample(context.roll(shift, (3, 4, 5)), torch.Generator().manual_seed(1), n_steps=3, context_noise=0.1)
    torch.testing.assert_close(moved, plain.roll(shift, (2, 3, 4)), rtol=0, atol=1e-5)


def trained_with_cut_contexts(seed=0):
    torch.manual_seed(seed)
    model = LatentDynamics(latent_channels=1, n_context=3, channels=8, blocks=1, context_dropout=0.5).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)  # fresh blocks are the identity: nothing would depend on anything
    return model


def test_a_start_from_nothing_draws_the_first_frame_in_the_latents_own_units_and_goes_on_by_steps():
    model = LatentDynamics(latent_channels=1, n_context=3, channels=8, blocks=1, context_dropout=0.1)
    model.latent_mean.fill_(0.7)
    model.latent_std.fill_(2.0)
    model.step_std.fill_(0.5)
    model.denoiser = GaussianStep(model.denoiser.schedule, mean=0.1, std=0.9)
    latents = (model.start(8, (8, 8, 8), torch.Generator().manual_seed(0)) - 0.7) / 2.0
    assert latents.shape == (8, 3, 1, 8, 8, 8)
    assert abs(latents[:, 0].mean().item() - 0.1) < 0.05
    assert abs(latents[:, 0].std().item() - 0.9) < 0.05
    steps = latents.diff(dim=1)
    assert abs(steps.mean().item() - 0.5 * 0.1) < 0.02
    assert abs(steps.std().item() - 0.5 * 0.9) < 0.03
    assert latents.equal((model.start(8, (8, 8, 8), torch.Generator().manual_seed(0)) - 0.7) / 2.0)


@pytest.mark.parametrize("known", [0, 1, 2])
def test_a_cut_context_tells_the_network_nothing_of_the_frames_that_it_lacks(known):
    model = trained_with_cut_contexts()
    generator = torch.Generator().manual_seed(1)
    context, other = (torch.randn(2, 3, 1, 4, 4, 4, generator=generator) for _ in range(2))
    if known:
        other[:, -known:] = context[:, -known:]
    count = torch.full((2,), known)

    def estimate(past, known):
        noisy = torch.ones(2, 1, 4, 4, 4)
        return model.denoiser(noisy, torch.tensor(0.5), **model._arguments(past, torch.zeros(2), known)).mean

    with torch.no_grad():
        cut = estimate(model._cut(context, count), count)
        assert cut.equal(estimate(model._cut(other, count), count))
        assert not torch.allclose(cut, estimate(context, torch.full((2,), 3)), atol=1e-4)
        # a repeated frame is not the same as an unknown one: the network is told
        assert not torch.allclose(cut, estimate(model._cut(context, count), torch.full((2,), 3)), atol=1e-4)


def test_a_model_of_whole_contexts_cannot_start_from_nothing():
    for arguments in ({}, {"context_dropout": 0.1, "least_context": 1}):
        with pytest.raises(ValueError, match="context_dropout"):
            LatentDynamics(channels=8, blocks=1, **arguments).start(1, (4, 4, 4), torch.Generator())


def test_a_cut_leaves_no_fewer_frames_than_it_may():
    model = LatentDynamics(latent_channels=1, n_context=4, channels=8, blocks=1, context_dropout=0.5, least_context=2)
    assert (model.least_context, LatentDynamics(n_context=4, channels=8, blocks=1).least_context) == (2, 4)
    seen = []
    cut = model._cut
    model._cut = lambda context, known: (seen.append(known), cut(context, known))[1]
    model(torch.randn(400, 4, 1, 4, 4, 4), torch.randn(400, 1, 4, 4, 4), torch.Generator().manual_seed(0))
    assert set(seen[0].tolist()) == {2, 3, 4}
    assert 0.4 < (seen[0] < 4).float().mean() < 0.6


def test_training_on_cut_contexts_learns_the_mean_of_the_latent_without_a_past():
    """Targets of N(0, 1) after contexts that say nothing: without a past, the loss is that of the latent itself."""
    model = LatentDynamics(latent_channels=1, n_context=2, channels=8, blocks=1, context_dropout=0.9)
    model.latent_mean.fill_(0.0)
    model.step_std.fill_(0.1)
    generator = torch.Generator().manual_seed(0)
    context, target = torch.zeros(64, 2, 1, 4, 4, 4), torch.randn(64, 1, 4, 4, 4, generator=generator)
    loss = model(context, target, torch.Generator().manual_seed(1))
    assert torch.isfinite(loss.loss)
    whole = LatentDynamics(latent_channels=1, n_context=2, channels=8, blocks=1)
    whole.load_state_dict({k: v for k, v in model.state_dict().items() if "known" not in k})
    # in units of the step these targets are ten wide: only where the past is known does the loss see that
    assert loss.loss < whole(context, target, torch.Generator().manual_seed(1)).loss


def test_an_extended_model_predicts_what_the_one_it_comes_from_does():
    model = trained_with_cut_contexts()
    model.fit_scales(torch.randn(30, 1, 4, 4, 4).cumsum(0))
    longer = model.extended(5, 0.2).eval()
    assert (longer.n_context, longer.context_dropout, longer.arguments["channels"]) == (5, 0.2, 8)
    context = torch.randn(2, 5, 1, 4, 4, 4).cumsum(1)
    new, expected = (
        one.sample(past, torch.Generator().manual_seed(0), context_noise=0.0)
        for one, past in ((longer, context), (model, context[:, 2:]))
    )
    torch.testing.assert_close(new, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("known", [1, 2])
def test_a_sample_from_fewer_known_frames_does_not_see_the_others(known):
    model = trained_with_cut_contexts()
    context, other = torch.randn(2, 2, 3, 1, 4, 4, 4)
    other[:, -known:] = context[:, -known:]
    one, two, whole = (
        model.sample(past, torch.Generator().manual_seed(0), context_noise=0.1, known=count)
        for past, count in ((context, known), (other, known), (context, 3))
    )
    assert one.equal(two)
    assert not torch.allclose(one, whole, atol=1e-4)
    assert whole.equal(model.sample(context, torch.Generator().manual_seed(0), context_noise=0.1))
