"""The scaled Jensen-Shannon term: a differentiable distance between distributions of density values.

The idea of the term is the source's (arXiv 2509.00169, abstract); its form here is ours. The histogram of
log10(rho / mean) is made soft by sharing each value between its two nearest bin centres (linear "tent" kernel: exact
in total count, differentiable almost everywhere). The base-2 Jensen-Shannon divergence between the generated and
the reference batch's histograms is divided by the divergence expected between two reference batches of the same
size, so that 1 means "as different as two draws of the truth" and the term's weight has no unit.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["ScaledJensenShannon", "jensen_shannon", "soft_histogram"]


def soft_histogram(values: Tensor, low: float, high: float, bins: int) -> Tensor:
    """Normalised histogram with linear sharing between neighbouring bin centres.

    Parameters
    ----------
    values : Tensor
        Any shape; values beyond the outer centres count in the outer bins.
    low, high : float
        Outer bin centres.
    bins : int
        Number of bins, at least 2.

    Returns
    -------
    Tensor
        Shape (bins,), sums to one; differentiable in `values`.
    """
    position = ((values.flatten() - low) / (high - low) * (bins - 1)).clamp(0, bins - 1)
    left = position.detach().floor().clamp(max=bins - 2)
    share = position - left
    index = left.long()
    histogram = values.new_zeros(bins).index_add(0, index, 1 - share).index_add(0, index + 1, share)
    return histogram / position.numel()


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Base-2 Jensen-Shannon divergence of two normalised histograms, in bits (0 to 1)."""
    mean = (p + q) / 2
    tiny = torch.finfo(p.dtype).tiny

    def entropy(x: Tensor) -> Tensor:
        return -(x * x.clamp_min(tiny).log2()).sum()

    return entropy(mean) - (entropy(p) + entropy(q)) / 2


class ScaledJensenShannon(nn.Module):
    """JSD(generated batch, reference batch) / E[JSD(reference batch, reference batch)].

    Parameters
    ----------
    bins : int
        Bins of log10(rho / mean).
    """

    edges: Tensor
    scale: Tensor

    def __init__(self, bins: int = 100) -> None:
        super().__init__()
        self.bins = bins
        self.register_buffer("edges", torch.tensor([-3.0, 1.0]))
        self.register_buffer("scale", torch.tensor(1.0))

    @torch.no_grad()
    def fit(self, density: Tensor, batch_size: int, generator: torch.Generator, draws: int = 64) -> None:
        """Measure the range of values and the divergence between two reference batches.

        Parameters
        ----------
        density : Tensor
            Reference rho / mean, (T, A, B, C).
        batch_size : int
            Frames a histogram holds in training.
        generator : torch.Generator
            Source of the random batches.
        draws : int
            Pairs of batches averaged over.
        """
        sample = density[torch.randperm(len(density), generator=generator)[:64]].log10().flatten()
        low, high = (
            torch.kthvalue(sample, max(1, math.ceil(q * sample.numel()))).values.item() for q in (1e-4, 1 - 1e-4)
        )
        self.edges.copy_(torch.tensor([low, high]))
        total = 0.0
        for _ in range(draws):
            pick = torch.randperm(len(density), generator=generator)
            first, second = (self.histogram(density[pick[i * batch_size : (i + 1) * batch_size]]) for i in (0, 1))
            total += jensen_shannon(first, second).item()
        self.scale.fill_(max(total / draws, 1e-9))

    def histogram(self, density: Tensor) -> Tensor:
        """Soft histogram of log10(rho / mean), (bins,)."""
        low, high = self.edges.tolist()
        return soft_histogram(density.clamp_min(1e-8).log10(), low, high, self.bins)

    def forward(self, generated: Tensor, reference: Tensor) -> Tensor:
        """Scaled divergence of two batches of rho / mean with the same number of frames; no unit, 1 = noise floor."""
        return jensen_shannon(self.histogram(generated), self.histogram(reference)) / self.scale
