"""The deterministic latent model: it learns the conditional mean, and nothing is drawn."""

import torch

from edviz.models.diffusion import LatentDynamics
from edviz.models.regression import LatentRegression


def test_learns_the_mean_of_two_futures() -> None:
    """From the same past the next step is +1 or -1, evenly: the least-squares answer is 0, not either."""
    torch.manual_seed(0)
    model = LatentRegression(latent_channels=1, n_context=2, channels=8, blocks=1)
    past = torch.zeros(8, 2, 1, 4, 4, 4)
    target = torch.ones(8, 1, 4, 4, 4)
    target[::2] = -1
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    generator = torch.Generator()
    for _ in range(150):
        optimiser.zero_grad()
        found = model(past, target, generator)
        found.loss.backward()
        optimiser.step()
    assert abs(float(found.loss.detach()) - 1) < 0.1
    assert model.sample(past[:1], generator).abs().max() < 0.3


def test_same_size_and_no_randomness() -> None:
    model, other = LatentRegression(), LatentDynamics()
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in other.parameters())
    context = torch.randn(2, 3, 4, 4, 4, 4)
    first = model.sample(context, torch.Generator().manual_seed(0))
    torch.testing.assert_close(first, model.sample(context, torch.Generator().manual_seed(1)))
    rolled = model.sample(torch.roll(context, 1, -1), torch.Generator())
    torch.testing.assert_close(rolled, torch.roll(first, 1, -1), atol=1e-5, rtol=1e-4)
