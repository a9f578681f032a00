"""The scaled Jensen-Shannon term against scipy and its own definition."""

import numpy as np
import torch
from scipy.spatial.distance import jensenshannon

from edviz.models.divergence_loss import ScaledJensenShannon, jensen_shannon, soft_histogram


def test_divergence_equals_scipys_distance_squared():
    random = np.random.default_rng(0)
    p, q = random.dirichlet(np.ones(50), size=2)
    p[3] = 0
    p /= p.sum()
    expected = jensenshannon(p, q, base=2) ** 2
    assert abs(jensen_shannon(torch.from_numpy(p), torch.from_numpy(q)).item() - expected) < 1e-12


def test_disjoint_histograms_are_one_bit_apart():
    p, q = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert jensen_shannon(p, q).item() == 1.0


def test_soft_histogram_counts_everything_and_shares_linearly():
    h = soft_histogram(torch.tensor([0.0, 0.25, 9.0, -9.0]), 0.0, 1.0, 3)
    torch.testing.assert_close(h, torch.tensor([(1 + 0.5 + 1) / 4, 0.5 / 4, 1 / 4]))


def test_gradient_equals_finite_differences():
    values = torch.rand(40, dtype=torch.float64, requires_grad=True)
    q = soft_histogram(torch.rand(500, dtype=torch.float64) ** 2, 0.0, 1.0, 12)
    torch.autograd.gradcheck(lambda v: jensen_shannon(soft_histogram(v, 0.0, 1.0, 12), q), values, eps=1e-7, atol=1e-5)


def test_two_reference_batches_are_one_apart_on_average():
    random = torch.Generator().manual_seed(0)
    frames = torch.exp(0.4 * torch.randn(40, 8, 8, 8, generator=random))
    term = ScaledJensenShannon(bins=40)
    term.fit(frames, 4, random)
    values = []
    for _ in range(100):
        pick = torch.randperm(40, generator=random)
        values.append(term(frames[pick[:4]], frames[pick[4:8]]).item())
    assert abs(np.mean(values) - 1) < 0.1
    assert term(frames[:4] ** 1.3, frames[4:8]).item() > 3  # a wrong contrast is seen
