"""The linear autoregression: a linear process gives back its matrices, its power and its symmetry."""

import pytest
import torch

from edviz.errors import MissingDataError
from edviz.models.linear_dynamics import LinearLatentDynamics


def _process(frames: int, size: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """z[t+1] = M z[t] + noise at each point alone, so A_0(q) = M for every wave."""
    matrix = torch.tensor([[0.8, 0.3], [-0.3, 0.7]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    z = torch.zeros(frames, 2, size, size, size, dtype=torch.float64)
    for t in range(1, frames):
        noise = 0.5 * torch.randn(2, size, size, size, generator=generator, dtype=torch.float64)
        z[t] = torch.einsum("ij,jabc->iabc", matrix, z[t - 1]) + noise
    return z, matrix


def test_recovers_matrix_and_noise() -> None:
    z, matrix = _process(3000)
    model = LinearLatentDynamics(n_context=1)
    radius = model.fit(z)
    assert 0.75 < radius < 0.95
    mean = model.transition.mean(0)
    torch.testing.assert_close(mean.real, matrix.T, atol=0.01, rtol=0)
    assert model.transition.sub(matrix.T).abs().max() < 0.1
    covariance = (model.noise @ model.noise.mH).mean(0)
    torch.testing.assert_close(covariance.real, 0.25 * torch.eye(2, dtype=torch.float64), atol=0.01, rtol=0)


def test_exact_without_noise() -> None:
    """A damped travelling pattern is linear: forecasts are exact, whatever the shift."""
    start = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z = torch.stack([0.97**t * torch.roll(start, t % 4, 1) for t in range(60)])
    model = LinearLatentDynamics(n_context=1, stochastic=False)
    model.fit(z)
    context = z[10:11][None]
    found = model.sample(context, torch.Generator())
    torch.testing.assert_close(found[0], z[11], atol=2e-3, rtol=0)


def test_stationary_variance_and_translation() -> None:
    z, _ = _process(3000)
    model = LinearLatentDynamics(n_context=2)
    model.fit(z)
    state, generator, kept = z[None, :2], torch.Generator().manual_seed(2), []
    for _ in range(600):
        new = model.sample(state, generator)
        state = torch.cat((state[:, 1:], new[:, None]), dim=1)
        kept.append(new)
    assert torch.stack(kept[50:]).std() == pytest.approx(float(z[50:].std()), rel=0.05)
    model.stochastic = False
    moved, still = (model.sample(s, generator) for s in (torch.roll(state, (1, 2), (-3, -1)), state))
    torch.testing.assert_close(moved, torch.roll(still, (1, 2), (-3, -1)))


def test_growth_is_held_and_short_data_refused() -> None:
    z = torch.stack([torch.full((1, 2, 2, 2), 1.02**t, dtype=torch.float64) for t in range(40)])
    z += 1e-3 * torch.randn(z.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    model = LinearLatentDynamics(n_context=1)
    assert model.fit(z) > 1
    assert model.transition.abs().max() < 1
    with pytest.raises(MissingDataError, match="unknowns"):
        LinearLatentDynamics(n_context=3).fit(z[:5])
