"""Latent diffusion of the next frame, conditioned on the last few.

What is diffused is the *step* y = (z[t+1] - z[t]) / step_std, not the next latent itself: it has unit variance and the
context fixes most of it, so that a few deterministic sampling steps suffice. Preconditioning and loss weight are those
of Karras et al. 2022 (arXiv 2206.00364) with sigma_data = 1, through azula's `KarrasDenoiser`; so is the sampler, but
for its first step (see `LatentDynamics.sample`).

Stability of long rollouts comes from the context noise: in training, white noise of a random level is added to the
context and its level told to the network; the target is the step from the *noisy* last latent to the *clean* next
one. The network thus learns to pull a context that has left the data back to it, which is exactly what an
autoregressive rollout needs (compare Ho et al. 2021, arXiv 2106.15282, on conditioning augmentation, and Valevski
et al. 2024, arXiv 2408.14837, who met the same collapse). All numbers are ours; the source's are not public.

A start from nothing comes from cut contexts: in a share of the training windows the older past frames, or all of them,
are unknown (as the condition is in Ho and Salimans 2022, arXiv 2207.12598, for another end). Where there is no past at
all, what is diffused is the latent itself, in units of its own standard deviation. See `LatentDynamics.start`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from azula.denoise import KarrasDenoiser
from azula.noise import VESchedule
from azula.sample import xEABSampler
from torch import Tensor, nn

from edviz.models.denoiser import StepDenoiser

__all__ = ["DiffusionLoss", "LatentDynamics"]

SIGMA_MIN, SIGMA_MAX = 0.02, 8.0
"""Noise levels, in units of the step's standard deviation."""

SIGMA_FIRST, SIGMA_START = 4.0, 2.0
"""Noise levels of the first call and of the solver's start, same units."""

START_STEPS = 32
"""Network calls for each of the first frames of a start from nothing."""

GRID = (-3, -2, -1)
BANDS = 8
"""Bands of wave numbers, from 0 to the largest a grid carries: as wide as the waves of an 8^3 latent lie apart."""

CONTEXT_NOISE_MIN = 1e-3
"""Context noise below this counts as none (units of the latent's standard deviation)."""


class DiffusionLoss(NamedTuple):
    """What one evaluation of the training loss returns."""

    loss: Tensor
    """Weighted mean squared error, ()."""
    latent: Tensor
    """Estimate of the next latent (model units), (B, C, a, b, c)."""
    sigma: Tensor
    """Noise level of each sample, (B,); of the whole batch where only some of its rows were computed."""


def _time(sigma: float) -> float:
    """The schedule's time at which the noise level is sigma."""
    return math.log(sigma / SIGMA_MIN) / math.log(SIGMA_MAX / SIGMA_MIN)


def _column(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1, 1, 1)


class LatentDynamics(nn.Module):
    """p(z[t+1] | z[t], z[t-1], ...) as a conditional diffusion.

    Parameters
    ----------
    latent_channels, n_context, channels, blocks : int
        See `StepDenoiser`.
    max_context_noise : float
        Largest context noise seen in training, in units of the latent's standard deviation.
    context_dropout : float
        Share of the training windows whose context is cut to fewer frames.
    least_context : int
        Fewest frames that a cut leaves. With 0, and cut contexts, `start` works.
    """

    latent_mean: Tensor
    latent_std: Tensor
    step_std: Tensor
    band_power: Tensor

    def __init__(
        self,
        latent_channels: int = 4,
        n_context: int = 3,
        channels: int = 64,
        blocks: int = 3,
        max_context_noise: float = 0.4,
        context_dropout: float = 0.0,
        least_context: int = 0,
    ) -> None:
        super().__init__()
        self.arguments = {
            "latent_channels": latent_channels,
            "n_context": n_context,
            "channels": channels,
            "blocks": blocks,
            "max_context_noise": max_context_noise,
            "context_dropout": context_dropout,
            "least_context": least_context,
        }
        self.n_context = n_context
        self.latent_channels = latent_channels
        self.max_context_noise = max_context_noise
        self.context_dropout = context_dropout
        self.least_context = n_context if context_dropout == 0 else least_context
        network = StepDenoiser(latent_channels, n_context, channels, blocks, cut_contexts=context_dropout > 0)
        self.denoiser = KarrasDenoiser(network, VESchedule(SIGMA_MIN, SIGMA_MAX))
        for name in ("latent_mean", "latent_std", "step_std"):
            self.register_buffer(name, torch.ones(latent_channels))
        self.register_buffer("band_power", torch.ones(latent_channels, BANDS))

    def extended(self, n_context: int, context_dropout: float, least_context: int = 0) -> LatentDynamics:
        """A copy that is given more past frames, or cut contexts; before training it predicts what this one does.

        Parameters
        ----------
        n_context : int
            At least as many as here.
        context_dropout : float
            Above 0 where it is so here.
        least_context : int
            See `LatentDynamics`.
        """
        changes = {"n_context": n_context, "context_dropout": context_dropout, "least_context": least_context}
        arguments: dict[str, Any] = {**self.arguments, **changes}
        copy = LatentDynamics(**arguments)
        copy.denoiser.backbone.copy_from(self.denoiser.backbone)
        for name, values in self.named_buffers(recurse=False):
            copy.get_buffer(name).copy_(values)
        return copy

    @torch.no_grad()
    def fit_scales(self, latents: Tensor) -> None:
        """Set the channels' means, standard deviations and spectra from consecutive latents (T, C, a, b, c)."""
        channel = latents.transpose(0, 1).flatten(1)
        self.latent_mean.copy_(channel.mean(1))
        self.latent_std.copy_(channel.std(1))
        self.step_std.copy_(latents.diff(dim=0).transpose(0, 1).flatten(1).std(1) / channel.std(1))
        self.band_power.copy_(self.log_power(latents).exp())

    def log_power(self, latents: Tensor) -> Tensor:
        """Mean over latents (T, C, a, b, c) of the logarithm of the power in each band of wave numbers, (C, BANDS)."""
        power = torch.cat([self._waves(self.normalise(part))[2] for part in latents.split(256)])
        return power.clamp_min(1e-30).log().mean(0)

    def normalise(self, latent: Tensor) -> Tensor:
        """Model units to zero mean, unit standard deviation a channel; channels at axis -4."""
        return (latent - self.latent_mean[:, None, None, None]) / self.latent_std[:, None, None, None]

    def denormalise(self, latent: Tensor) -> Tensor:
        """Inverse of `normalise`."""
        return latent * self.latent_std[:, None, None, None] + self.latent_mean[:, None, None, None]

    def _waves(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Waves of a normalised latent, the band of each, and the mean power in each band (..., C, BANDS)."""
        waves = torch.fft.rfftn(latent, dim=GRID, norm="ortho")
        a, b, c = latent.shape[-3:]
        axes = torch.fft.fftfreq(a), torch.fft.fftfreq(b), torch.fft.rfftfreq(c)
        norm = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0).sqrt()
        band = (BANDS * norm).round().long().to(latent.device)
        count = torch.full(band.shape, 2.0, device=latent.device)  # each stands for itself and its conjugate
        count[..., 0] = 1
        if c % 2 == 0:
            count[..., -1] = 1
        power = (waves.abs().square() * count).flatten(-3)
        total = power.new_zeros(*power.shape[:-1], BANDS).index_add(-1, band.flatten(), power)
        modes = count.new_zeros(BANDS).index_add(0, band.flatten(), count.flatten())
        return waves, band, total / modes.clamp_min(1)

    def relax(self, latent: Tensor, rate: float) -> Tensor:
        """Pull the power of each latent's waves towards that of the training data: a weak thermostat of a rollout.

        A step's error in the variance adds to the next one's, and nothing but the network's own pull holds the sum. As
        with the velocities of a weakly coupled thermostat (Berendsen et al., J. Chem. Phys. 81, 3684 (1984)),
        amplitudes are scaled by (target / power)^(rate / 2), here in each band of wave numbers and channel by itself:
        the steps give the longest waves too much power and others too little. The target is the geometric mean over
        training frames, since it is the logarithm that relaxes.

        The mean is set to that of the training data. The decoder sets the number of electrons, so nothing in its output
        tells of a mean that creeps away, until the latent is none that the encoder makes (in 1,000 frames the contrast
        rose by 3 %). Commutes with translations. Ours; no paper on latent dynamics known to us does it.

        Parameters
        ----------
        latent : Tensor
            (B, C, a, b, c), model units.
        rate : float
            From 0, nothing, to 1, all of the excess of log(power) at once.

        Returns
        -------
        Tensor
            The same shape.
        """
        if rate == 0:
            return latent
        waves, band, power = self._waves(self.normalise(latent))
        known = (power > 0) & (self.band_power > 0)
        factor = torch.where(known, self.band_power / power.clamp_min(1e-30), 1.0).pow(rate / 2)
        factor[..., 0] = 0
        shape = latent.shape[-3:]
        return self.denormalise(torch.fft.irfftn(factor[..., band] * waves, s=shape, dim=GRID, norm="ortho"))

    def advance(self, context: Tensor, new: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        """A sampled next latent, relaxed at this rate, and the context of the one after it."""
        new = self.relax(new, rate)
        return new, torch.cat((context[:, 1:], new[:, None]), dim=1)

    def _features(self, context: Tensor) -> Tensor:
        """The last latent and the scaled steps that led to it, (B, n_context * C, a, b, c)."""
        steps = context.diff(dim=1) / self.step_std[:, None, None, None]
        return torch.cat((context[:, -1], steps.flatten(1, 2)), dim=1)

    def _arguments(self, context: Tensor, context_noise: Tensor, known: Tensor | None = None) -> dict[str, Any]:
        log_noise = context_noise.clamp_min(CONTEXT_NOISE_MIN).log()
        return {"context": self._features(context), "log_context_noise": log_noise, "known": known}

    def _cut(self, context: Tensor, known: Tensor) -> Tensor:
        """Only the newest `known` frames of each context: older ones repeat the oldest of them, none at all is zero."""
        place = torch.arange(self.n_context, device=context.device)
        oldest = (self.n_context - known).clamp(max=self.n_context - 1)
        rows = torch.arange(len(context), device=context.device)[:, None]
        cut = context[rows, torch.maximum(place[None], oldest[:, None])]
        return torch.where((known > 0).reshape(-1, 1, 1, 1, 1, 1), cut, 0.0)

    def _unit(self, known: Tensor | None) -> Tensor:
        """What a unit of the diffused step stands for: its own standard deviation, or the latent's without a past."""
        step_std = self.step_std[:, None, None, None]
        return step_std if known is None else torch.where(_column(known) > 0, step_std, 1.0)

    def _draw(
        self,
        shape: tuple[int, ...],
        like: Tensor,
        generator: torch.Generator,
        normal: bool = True,
        rows: slice = slice(None),
    ) -> Tensor:
        """Random numbers drawn on the CPU, so that a seed means the same on every device; some rows of them."""
        draw = torch.randn if normal else torch.rand
        return draw(shape, generator=generator)[rows].to(like)

    def forward(
        self,
        context: Tensor,
        target: Tensor,
        generator: torch.Generator,
        log_sigma: tuple[float, float] = (-0.7, 1.2),
        rows: tuple[int, int] | None = None,
    ) -> DiffusionLoss:
        """EDM loss of a batch; a module call, so that distributed wrappers see it.

        Parameters
        ----------
        context : Tensor
            Clean latents in model units, (B, n_context, C, a, b, c), oldest first.
        target : Tensor
            The next latents, (B, C, a, b, c).
        generator : torch.Generator
            Source of all noise.
        log_sigma : tuple of float
            Mean and standard deviation of log(sigma).
        rows : (int, int), optional
            (first row, rows of the whole batch) where context and target are only part of a batch: the noise is then
            that part of the whole batch's, so that a batch means the same however it is divided.

        Returns
        -------
        DiffusionLoss
        """
        context, target = self.normalise(context), self.normalise(target)
        first, batch = rows or (0, target.shape[0])
        own = slice(first, first + target.shape[0])
        uniform = self._draw((batch,), target, generator, normal=False, rows=own)
        level = self.max_context_noise * uniform.square()  # low levels, where rollouts work, seen most
        noise = self._draw((batch, *context.shape[1:]), target, generator, rows=own)
        context = context + level.reshape(-1, 1, 1, 1, 1, 1) * noise
        known = None
        if self.context_dropout > 0:
            chance, count = (self._draw((batch,), target, generator, normal=False, rows=own) for _ in range(2))
            least = self.least_context
            fewer = least + (count * (self.n_context - least)).long().clamp(max=self.n_context - least - 1)
            known = torch.where(chance < self.context_dropout, fewer, self.n_context)
            context = self._cut(context, known)
        unit = self._unit(known)
        step = (target - context[:, -1]) / unit
        log_noise = log_sigma[0] + log_sigma[1] * self._draw((batch,), target, generator)
        log_noise = log_noise.clamp(math.log(SIGMA_MIN), math.log(SIGMA_MAX))
        time = (log_noise - math.log(SIGMA_MIN)) / math.log(SIGMA_MAX / SIGMA_MIN)
        sigma = log_noise.exp()
        own_sigma = _column(sigma[own])
        noisy = step + own_sigma * self._draw((batch, *step.shape[1:]), target, generator, rows=own)
        estimate = self.denoiser(noisy, time[own], **self._arguments(context, level, known)).mean
        weight = 1 + own_sigma.pow(-2)
        loss = (weight * (estimate - step).square()).mean()
        return DiffusionLoss(loss, self.denormalise(context[:, -1] + unit * estimate), sigma)

    @torch.no_grad()
    def sample(
        self,
        context: Tensor,
        generator: torch.Generator,
        n_steps: int = 4,
        context_noise: float = 0.03,
        noise_gain: float = 1.0,
        known: int | None = None,
    ) -> Tensor:
        """Draw the next latent.

        Parameters
        ----------
        context : Tensor
            Latents in model units, (B, n_context, C, a, b, c), oldest first.
        generator : torch.Generator
            Source of all noise (on the CPU).
        n_steps : int
            Network calls. The solver is azula's xEAB, an exponential Adams-Bashforth method of the DPM-Solver++ family:
            on Gaussian steps up to 0.8 wide four calls give the standard deviation to 10 % or better (tested), where
            the same number of Euler or plain Adams-Bashforth steps lose about a quarter, and a rollout its contrast.
        context_noise : float
            Noise level that the network is told the context has, in units of the latent's standard deviation.
        noise_gain : float
            Noise really put on the context, over `context_noise`. Above 1 it gives back the variance that few sampling
            steps lose, as S_noise does in Karras et al. 2022 (section 4); a rollout keeps its contrast by it.
        known : int, optional
            How many of the context's frames, the newest, are known, from 1 on; all of them where it is not given. Fewer
            need a model trained with cut contexts.

        Returns
        -------
        Tensor
            (B, C, a, b, c), model units.
        """
        context = self.normalise(context)
        level = torch.full((context.shape[0],), context_noise).to(context)
        if context_noise > 0:
            context = context + noise_gain * context_noise * self._draw(tuple(context.shape), context, generator)
        count = None
        if known is not None and known < self.n_context:
            count = torch.full((context.shape[0],), known, device=context.device)
            context = self._cut(context, count)
        arguments = self._arguments(context, level, count)
        noise = self._draw(tuple(context[:, -1].shape), context, generator)
        # The first call says where the steps are centred: starting from N(0, sigma^2) instead would shrink every step
        # by (conditional standard deviation / sigma), which slows the dynamics down.
        first = context.new_tensor(_time(SIGMA_FIRST))
        step = self.denoiser(SIGMA_FIRST * noise, first, **arguments).mean
        if n_steps > 1:
            solve = xEABSampler(self.denoiser, steps=n_steps - 1, start=_time(SIGMA_START), silent=True)
            step = solve(step + SIGMA_START * noise, **arguments)
        return self.denormalise(context[:, -1] + self.step_std[:, None, None, None] * step)

    @torch.no_grad()
    def start(
        self, batch: int, shape: tuple[int, int, int], generator: torch.Generator, n_steps: int = START_STEPS
    ) -> Tensor:
        """Draw the first frames of a trajectory from nothing: one without a past, the next with it as its past, ...

        Parameters
        ----------
        batch : int
            Independent starts.
        shape : tuple of int
            (a, b, c) of the latent.
        generator : torch.Generator
            Source of all noise (on the CPU).
        n_steps : int
            Network calls a frame. Many more than in a rollout: they are few frames, and nothing fixes the first one.

        Returns
        -------
        Tensor
            (B, n_context, C, a, b, c), model units: what `sample` takes.

        Raises
        ------
        ValueError
            If the model never learnt to draw a latent without a past.
        """
        if self.least_context > 0:
            raise ValueError("never trained without a past: that takes context_dropout above 0 and least_context = 0")
        like = self.latent_mean
        context = torch.zeros((batch, self.n_context, self.latent_channels, *shape)).to(like)
        level = torch.zeros(batch).to(like)
        for count in range(self.n_context):
            known = torch.full((batch,), count, device=like.device)
            cut = self._cut(context, known)
            noise = self._draw((batch, self.latent_channels, *shape), like, generator)
            solve = xEABSampler(self.denoiser, steps=n_steps, start=1.0, silent=True)
            step = solve(SIGMA_MAX * noise, **self._arguments(cut, level, known))
            new = cut[:, -1] + self._unit(known) * step
            context = torch.cat((context[:, 1:], new[:, None]), dim=1)
        return self.denormalise(context)
