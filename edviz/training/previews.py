"""Small pictures of how a run fares, for whoever watches it: written as JSON beside each checkpoint.

The autoencoder shows a plane of a validation frame beside its reconstruction; the diffusion the histogram of a short
rollout beside that of AIMD. All random numbers are the preview's own, so that looking changes nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edviz.models.autoencoder import Autoencoder
from edviz.models.diffusion import LatentDynamics
from edviz.models.seeding import torch_generator
from edviz.training.config import TrainingConfig

__all__ = ["reconstruction_preview", "rollout_preview"]

WIDEST = 96
"""Points along an edge of a plane, at most."""
ROLLOUT_FRAMES, ROLLOUT_SAMPLES = 12, 2
BINS = 60


def _plane(frame: Tensor) -> list[list[float]]:
    """The plane c = 0 of (A, B, C), thinned where it is large."""
    a, b = (math.ceil(n / WIDEST) for n in frame.shape[:2])
    return [[round(float(x), 4) for x in row] for row in frame[::a, ::b, 0].cpu()]


@torch.no_grad()
def reconstruction_preview(autoencoder: torch.nn.Module, frame: Tensor, cell: NDArray[np.float64]) -> dict[str, Any]:
    """A plane of a frame and of its reconstruction.

    Parameters
    ----------
    autoencoder : Autoencoder
        Its state now.
    frame : Tensor
        rho / mean(rho), (A, B, C).
    cell : array
        Lattice vectors, A: the plane is spanned by a and b.

    Returns
    -------
    dict
        "truth" and "reconstruction" (rho / mean(rho), rows along a), "vectors" (a and b in the plane, A), "nmae" (%).
    """
    device = next(autoencoder.parameters()).device
    made = autoencoder(frame[None].to(device))[0].float().cpu()
    a, b = cell[0], cell[1]
    along = a / np.linalg.norm(a)
    in_plane = [float(b @ along), float(np.linalg.norm(b - (b @ along) * along))]
    return {
        "truth": _plane(frame),
        "reconstruction": _plane(made),
        "vectors": [[float(np.linalg.norm(a)), 0.0], in_plane],
        "nmae": 100 * (made - frame).abs().mean().item(),
    }


@torch.no_grad()
def rollout_preview(
    autoencoder: Autoencoder,
    dynamics: LatentDynamics,
    held: NDArray[np.float16],
    truth: Tensor,
    config: TrainingConfig,
    stride: int,
) -> dict[str, Any]:
    """Histograms of log10(rho / mean) of a short rollout and of AIMD.

    Parameters
    ----------
    autoencoder, dynamics
        Their states now.
    held : array
        Latents of the validation frames, (1, T, C, a, b, c).
    truth : Tensor
        Validation frames as rho / mean(rho), (n, A, B, C).
    config : TrainingConfig
        Sampling settings.
    stride : int
        Stored frames per model step.

    Returns
    -------
    dict
        "centres" (of the bins), "aimd" and "rollout" (probability densities), "frames" (length of the rollout),
        "contrast" (standard deviation of rho, last frame of the rollout over AIMD).
    """
    device = next(dynamics.parameters()).device
    span = stride * (config.n_context - 1) + 1
    starts = np.linspace(0, held.shape[1] - span, ROLLOUT_SAMPLES).astype(int)
    context = np.stack([held[0, start : start + span : stride] for start in starts])
    state = torch.from_numpy(context.astype(np.float32)).to(device)
    shape = (truth.shape[-3], truth.shape[-2], truth.shape[-1])
    frames = []
    for number in range(ROLLOUT_FRAMES):
        new = dynamics.sample(
            state, torch_generator(config.seed, 30, number), config.sampling_steps, config.context_noise,
            config.noise_gain,
        )  # fmt: skip
        new, state = dynamics.advance(state, new, config.variance_relaxation)
        frames.append(autoencoder.decode(new, shape).float().cpu())
    made = torch.cat(frames)
    low, high = (float(x) for x in np.quantile(truth.clamp_min(1e-6).log10().numpy(), (1e-4, 1 - 1e-4)))
    margin = 0.15 * (high - low)
    edges = np.linspace(low - margin, high + margin, BINS + 1)

    def histogram(values: Tensor) -> list[float]:
        counts = np.histogram(values.clamp_min(1e-6).log10().numpy(), edges)[0] / values.numel()
        return [round(float(x), 6) for x in counts / np.diff(edges)]

    return {
        "centres": [round(float(x), 5) for x in (edges[1:] + edges[:-1]) / 2],
        "aimd": histogram(truth),
        "rollout": histogram(made),
        "frames": ROLLOUT_FRAMES,
        "contrast": float(frames[-1].std() / truth.std()),
    }
