"""The corrected target of a rollout's thermostat: the power comes out right where the network pushes."""

from types import SimpleNamespace

import pytest
import torch

from edviz.models.diffusion import LatentDynamics
from edviz.training.thermostat import tune_thermostat


class Pushing(LatentDynamics):
    """An autoregression whose waves have 21 % more power than the latents it was made for."""

    def sample(self, context, generator, **settings):
        noise = torch.randn(context[:, -1].shape, generator=generator)
        return 0.8 * context[:, -1] + 0.6 * 1.1 * noise


def emulator_of(dynamics):
    return SimpleNamespace(
        dynamics=dynamics, n_context=2, device="cpu", sampling_steps=4, context_noise=0.03, noise_gain=1.0,
        variance_relaxation=0.15,
    )  # fmt: skip


@pytest.fixture
def latents():
    return torch.randn((300, 2, 8, 8, 8), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def dynamics(latents):
    made = Pushing(latent_channels=2, n_context=2, channels=16, blocks=1)
    made.fit_scales(latents)
    return made


def excess(dynamics, latents):
    """Of a rollout's logarithm of the power, over that of the latents, by bands."""
    state, made = latents[None, :2], []
    for frame in range(1000):
        new = dynamics.sample(state, torch.Generator().manual_seed(10_000 + frame))
        new = dynamics.relax(new, 0.15)
        state = torch.cat((state[:, 1:], new[:, None]), dim=1)
        made.append(new)
    return (dynamics.log_power(torch.cat(made[100:])) - dynamics.log_power(latents))[:, 1:]


def test_the_power_of_rollouts_comes_out_right(dynamics, latents):
    mean, told = dynamics.band_power[:, 0].clone(), []
    found = [excess(dynamics, latents).mean()]
    for seed in range(3):
        tune_thermostat(emulator_of(dynamics), latents, 300, seed, told.append)
        found.append(excess(dynamics, latents).mean())
    assert found[0] > 0.06
    assert abs(found[1]) < 0.6 * found[0]  # how far the target gives way depends on the network
    assert abs(found[3]) < 0.15 * found[0]
    assert told == 3 * list(range(300))
    assert torch.equal(dynamics.band_power[:, 0], mean)  # which `relax` sets


def test_a_rollout_that_is_not_finite_corrects_nothing(dynamics, latents, monkeypatch):
    monkeypatch.setattr(Pushing, "sample", lambda self, context, generator, **_: context[:, -1] * torch.nan)
    before = dynamics.band_power.clone()
    tune_thermostat(emulator_of(dynamics), latents, 5)
    assert torch.equal(dynamics.band_power, before)


def test_it_ends_when_asked_to(dynamics, latents):
    def stop(done):
        if done == 3:
            raise KeyboardInterrupt

    before = dynamics.band_power.clone()
    with pytest.raises(KeyboardInterrupt):
        tune_thermostat(emulator_of(dynamics), latents, 10, report=stop)
    assert torch.equal(dynamics.band_power, before)
