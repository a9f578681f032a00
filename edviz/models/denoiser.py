"""The network of the latent diffusion: noisy step + past latents -> clean step.

A single-resolution residual network with circular padding (azula's modulated U-Net blocks, one level), so that it
commutes with every translation of the latent grid; noise levels enter through adaptive normalisation (Peebles and
Xie, "Scalable Diffusion Models with Transformers", 2022, arXiv 2212.09748).
"""

from __future__ import annotations

import math

import torch
from azula.nn.unet import UNet
from torch import Tensor, nn

from edviz.models.layers import PeriodicConv3d

__all__ = ["NoiseEmbedding", "StepDenoiser"]


class NoiseEmbedding(nn.Module):
    """Embed the log of two noise levels (diffusion, context) as one feature vector.

    Parameters
    ----------
    features : int
        Length of the embedding; even.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        frequencies = torch.exp(torch.linspace(math.log(0.25), math.log(8.0), features // 2))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.mix = nn.Sequential(nn.Linear(2 * features, features), nn.SiLU(), nn.Linear(features, features))

    def forward(self, log_noise: Tensor, log_context_noise: Tensor) -> Tensor:
        """(B,), (B,) -> (B, features)."""
        levels = torch.stack((log_noise, log_context_noise), dim=-1).unsqueeze(-1)
        phase = levels * self.get_buffer("frequencies").to(levels)
        return self.mix(torch.cat((phase.sin(), phase.cos()), dim=-1).flatten(1))


class StepDenoiser(nn.Module):
    """Predict the clean step from a noisy one and the context.

    Parameters
    ----------
    latent_channels : int
        Channels of one latent.
    n_context : int
        Past latents given.
    channels, blocks : int
        Width, and half the number of residual blocks.
    cut_contexts : bool
        Whether some of the past latents, or all, may be unknown: the network is then told how many it has.
    """

    def __init__(
        self, latent_channels: int, n_context: int, channels: int = 64, blocks: int = 3, cut_contexts: bool = False
    ) -> None:
        super().__init__()
        features = 64
        self.latent_channels, self.n_context = latent_channels, n_context
        self.known: nn.Embedding | None = None
        if cut_contexts:
            self.known = nn.Embedding(n_context, features)
            nn.init.zeros_(self.known.weight)
        self.embedding = NoiseEmbedding(features)
        self.network = UNet(
            in_channels=latent_channels,
            out_channels=latent_channels,
            cond_channels=n_context * latent_channels,
            hid_channels=(channels,),
            hid_blocks=(blocks,),
            spatial=3,
            periodic=True,
            norm="rms",
            mod_features=features,
        )
        for module in self.network.modules():
            if isinstance(module, nn.Conv3d) and module.padding_mode == "circular":
                module.__class__ = PeriodicConv3d  # same numbers and parameters, fast for a single sample

    @torch.no_grad()
    def copy_from(self, other: StepDenoiser) -> None:
        """Take over the weights of a network with no more past frames: what it did not know of starts at zero.

        The result is the same function of the frames that the other one sees.
        """
        state = other.state_dict()
        latent = self.latent_channels
        first, older = "network.descent.0.0.weight", latent * (self.n_context - other.n_context)
        weight = state[first]
        # inputs: the noisy step, the last latent, the steps that led to it, oldest first
        gap = weight.new_zeros(len(weight), older, *weight.shape[2:])
        state[first] = torch.cat((weight[:, : 2 * latent], gap, weight[:, 2 * latent :]), dim=1)
        if self.known is not None:
            known = torch.zeros_like(self.known.weight)
            if other.known is not None:
                known[: other.n_context] = state["known.weight"]
            state["known.weight"] = known
        self.load_state_dict(state)

    def forward(
        self, x: Tensor, log_noise: Tensor, *, context: Tensor, log_context_noise: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """The network's raw output.

        Parameters
        ----------
        x : Tensor
            Scaled noisy step, (B, C, a, b, c).
        log_noise : Tensor
            log(sigma), (B,) or ().
        context : Tensor
            Stacked features of the past latents, (B, n_context * C, a, b, c).
        log_context_noise : Tensor
            log of the noise on the context, (B,).
        known : Tensor, optional
            How many of the past latents are known, (B,) int; all where it is not given.
        """
        modulation = self.embedding(log_noise.expand(x.shape[0]), log_context_noise.expand(x.shape[0]))
        if self.known is not None and known is not None:
            fewer = self.known(known.clamp(max=self.n_context - 1))
            modulation = modulation + torch.where((known < self.n_context)[:, None], fewer, 0.0)
        return self.network(x, modulation, context)
