"""What the thermostat of a rollout pulls to, corrected by what rollouts do.

`LatentDynamics.relax` pulls the power in each band of wave numbers weakly towards that of the training data; where the
network pushes all the time, the two forces balance beside the target. In rollouts of lithium's valence density the
longest waves of the latent had 10 % too much power, by which a classifier told them from AIMD (AUC 0.77 in the mean of
three rollouts; 0.64 after). As in integral control, the target is moved by what is missing, in the logarithm, and
`_GAIN` times as far, since it gives way by about half. Training frames alone are looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from edviz.models.seeding import torch_generator

if TYPE_CHECKING:
    from edviz.emulator import DensityEmulator

__all__ = ["tune_thermostat"]

_STARTS = 4
"""Rollouts side by side, from evenly spaced training frames."""
_BURN_IN = 0.2
"""Share of the frames that is not looked at."""
_GAIN = 2.0
_LARGEST = 0.3
"""No band's missing power, in the logarithm, is taken for more."""
_TUNING_KEY = 2**41
"""Noise is drawn under this and the following numbers, far from those of any rollout's frames."""


@torch.no_grad()
def tune_thermostat(
    emulator: DensityEmulator,
    latents: Tensor,
    n_frames: int,
    seed: int = 0,
    report: Callable[[int], None] = lambda done: None,
) -> None:
    """Correct `emulator.dynamics.band_power` in place; unchanged where a rollout is not finite.

    Parameters
    ----------
    emulator : DensityEmulator
        With the sampling settings that its rollouts will have.
    latents : Tensor
        (T, C, a, b, c) of consecutive training frames, one step apart.
    n_frames : int
        Length of each of the rollouts; tens of frames at least to say something.
    seed : int
        Of the sampler.
    report
        Told how many frames are made.
    """
    dynamics, k = emulator.dynamics, emulator.n_context
    latents = latents.to(emulator.device)
    starts = torch.linspace(0, len(latents) - k, min(_STARTS, len(latents) - k + 1)).long().tolist()
    state = torch.stack([latents[i : i + k] for i in starts])
    kept = []
    for frame in range(n_frames):
        report(frame)
        generator = torch_generator(seed, _TUNING_KEY + frame)
        new = dynamics.sample(
            state, generator, n_steps=emulator.sampling_steps, context_noise=emulator.context_noise,
            noise_gain=emulator.noise_gain,
        )  # fmt: skip
        new, state = dynamics.advance(state, new, emulator.variance_relaxation)
        if frame >= int(_BURN_IN * n_frames):
            kept.append(new)
    missing = dynamics.log_power(latents) - dynamics.log_power(torch.cat(kept))
    if not torch.isfinite(missing).all():
        return
    missing[:, 0] = 0  # the mean, which `relax` sets
    dynamics.band_power.mul_((_GAIN * missing.clamp(-_LARGEST, _LARGEST)).exp())
