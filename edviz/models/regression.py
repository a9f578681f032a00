"""The diffusion's network as a plain regression of the next latent: what the noise is for, seen by leaving it out.

Same `StepDenoiser`, same context, same step as target, loss = mean squared error; the noisy input is zero. Its minimum
is the conditional mean, so single forecasts are the best and rollouts, where every mean is fed back, lose contrast.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edviz.models.diffusion import DiffusionLoss, LatentDynamics

__all__ = ["LatentRegression"]


class LatentRegression(LatentDynamics):
    """E(z[t+1] | z[t], z[t-1], ...); arguments, scales and uses of `LatentDynamics`."""

    def _step(self, context: Tensor, level: Tensor) -> Tensor:
        """Scaled mean step from a normalised context."""
        zero = torch.zeros_like(context[:, -1])
        return self.denoiser.backbone(zero, zero.new_zeros(()), **self._arguments(context, level))

    def forward(
        self,
        context: Tensor,
        target: Tensor,
        generator: torch.Generator,
        log_sigma: tuple[float, float] = (0.0, 0.0),
        rows: tuple[int, int] | None = None,
    ) -> DiffusionLoss:
        """Mean squared error of the scaled step; the context is clean and nothing is drawn."""
        context, target = self.normalise(context), self.normalise(target)
        std = self.step_std[:, None, None, None]
        level = context.new_zeros(len(context))
        estimate = self._step(context, level)
        loss = (estimate - (target - context[:, -1]) / std).square().mean()
        return DiffusionLoss(loss, self.denormalise(context[:, -1] + std * estimate), level)

    @torch.no_grad()
    def sample(
        self,
        context: Tensor,
        generator: torch.Generator,
        n_steps: int = 1,
        context_noise: float = 0.0,
        noise_gain: float = 1.0,
        known: int | None = None,
    ) -> Tensor:
        """The mean next latent, (B, C, a, b, c); all but the context is ignored."""
        context = self.normalise(context)
        step = self._step(context, context.new_zeros(len(context)))
        return self.denormalise(context[:, -1] + self.step_std[:, None, None, None] * step)
