"""A linear autoregression of the latent, one small matrix a wave vector: the linear rival of the diffusion.

Dynamic mode decomposition (Schmid, J. Fluid Mech. 656, 5 (2010)) with memory, made to commute with translations: on a
periodic latent grid such a linear map is diagonal in Fourier space, so that each wave q has its own

    z[t+1](q) = sum_l A_l(q) z[t-l](q) + e(q),

fitted by least squares; e(q) has the residual's covariance S(q), and a rollout draws it (without it everything decays
to the mean). Linear and Gaussian: it can have the right power and decay of every wave and no other statistics.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edviz.errors import MissingDataError

__all__ = ["LinearLatentDynamics"]

AXES = (-3, -2, -1)


class LinearLatentDynamics(nn.Module):
    """Stands where `LatentDynamics` stands in a `DensityEmulator` (rollouts and forecasts; not saved).

    Parameters
    ----------
    n_context
        Past latents that it looks at.
    stochastic
        Whether `sample` draws the innovation; without, it returns the conditional mean.
    """

    mean: Tensor
    transition: Tensor
    noise: Tensor

    def __init__(self, n_context: int = 3, stochastic: bool = True) -> None:
        super().__init__()
        self.n_context = self.least_context = n_context
        self.stochastic = stochastic

    @torch.no_grad()
    def fit(self, latents: Tensor) -> float:
        """Least squares on consecutive latents (T, C, a, b, c).

        Returns
        -------
        float
            The largest modulus among the eigenvalues of all waves. One that is 1 or more would blow up: those waves'
            matrices are shrunk to 0.999.

        Raises
        ------
        MissingDataError
            If there are fewer windows than unknowns.
        """
        frames, channels = latents.shape[:2]
        k, unknowns = self.n_context, self.n_context * channels
        if frames - k <= unknowns:
            raise MissingDataError(f"{unknowns} unknowns a wave need more than {unknowns + k} latents; got {frames}.")
        self.register_buffer("mean", latents.double().mean((0, 2, 3, 4))[:, None, None, None])
        waves = torch.fft.fftn(latents.double() - self.mean, dim=AXES, norm="ortho")
        waves = waves.flatten(2).permute(2, 0, 1)  # (q, T, C)
        past = torch.cat([waves[:, k - 1 - lag : frames - 1 - lag] for lag in range(k)], dim=-1)
        target = waves[:, k:]
        matrix = torch.linalg.lstsq(past, target).solution  # (q, kC, C): target = past @ matrix
        companion = torch.zeros(len(waves), unknowns, unknowns, dtype=matrix.dtype)
        companion[:, :, :channels] = matrix
        companion[:, : unknowns - channels, channels:] = torch.eye(unknowns - channels)
        radius = torch.linalg.eigvals(companion).abs().amax(-1)
        # A_l -> A_l s^(l+1) scales every eigenvalue of the companion matrix by s.
        shrink = (0.999 / radius).clamp(max=1.0)
        powers = torch.arange(1, k + 1).repeat_interleave(channels)
        matrix = matrix * (shrink[:, None] ** powers)[:, :, None]
        residual = target - past @ matrix
        covariance = residual.mT @ residual.conj() / (frames - k - unknowns)  # E[e e^H], unbiased
        self.register_buffer("transition", matrix)
        tiny = 1e-12 * torch.eye(channels) * covariance.diagonal(dim1=-2, dim2=-1).real.mean()
        self.register_buffer("noise", torch.linalg.cholesky(covariance + tiny))
        return float(radius.max())

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
        """The next latent of contexts (B, n_context, C, a, b, c), oldest first; only `generator` matters besides."""
        batch, _, channels = context.shape[:3]
        waves = torch.fft.fftn(context.double() - self.mean, dim=AXES, norm="ortho")
        past = waves.flip(1).flatten(3).permute(3, 0, 1, 2).flatten(2)  # (q, B, kC), latest first
        new = past @ self.transition
        if self.stochastic:
            # White real noise has waves of unit variance with the symmetry that makes the result real.
            white = torch.randn((batch, *context.shape[2:]), generator=generator, dtype=torch.float64)
            white = torch.fft.fftn(white, dim=AXES, norm="ortho").flatten(2).permute(2, 0, 1)
            new = new + white @ self.noise.mT
        field = new.permute(1, 2, 0).reshape(batch, channels, *context.shape[3:])
        return (torch.fft.ifftn(field, dim=AXES, norm="ortho").real + self.mean).to(context.dtype)

    def relax(self, latent: Tensor, rate: float) -> Tensor:
        """Nothing: a stable linear process needs no thermostat."""
        return latent
