"""Building blocks on periodic 3D grids.

Convolutions wrap around the cell (circular padding), so a translation of the input by whole grid steps
translates the output exactly; changes of resolution move voxels into channels and back (Shi et al., "Real-Time
Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network", CVPR 2016,
arXiv 1609.05158), which keeps every value and commutes with translations by whole strides.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["PeriodicConv3d", "ResidualBlock", "depth_to_space", "space_to_depth"]


def space_to_depth(x: Tensor, stride: int = 2) -> Tensor:
    """Move each ``stride**3`` block of voxels into channels: (B, C, A, B, C) -> (B, C s^3, A/s, B/s, C/s)."""
    batch, channels, a, b, c = x.shape
    s = stride
    x = x.reshape(batch, channels, a // s, s, b // s, s, c // s, s)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(batch, channels * s**3, a // s, b // s, c // s)


def depth_to_space(x: Tensor, stride: int = 2) -> Tensor:
    """Inverse of `space_to_depth`."""
    batch, channels, a, b, c = x.shape
    s = stride
    x = x.reshape(batch, channels // s**3, s, s, s, a, b, c)
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(batch, channels // s**3, a * s, b * s, c * s)


class PeriodicConv3d(nn.Conv3d):
    """A 3D convolution with circular padding that keeps the grid's shape.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels in and out.
    kernel_size : int
        Odd edge length of the kernel in voxels.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, padding_mode="circular")

    def forward(self, input: Tensor) -> Tensor:
        """(B, in, A, B, C) -> (B, out, A, B, C)."""
        if len(input) > 1 or not _onednn_fits(input, self.weight):
            return super().forward(input)
        # For one small item PyTorch chooses im2col (slow_conv3d); oneDNN, which it takes for two, needs a third of it.
        padded = nn.functional.pad(input, self._reversed_padding_repeated_twice, mode="circular")
        return torch.ops.aten.mkldnn_convolution(padded, self.weight, self.bias, (0,) * 3, (1,) * 3, (1,) * 3, 1)


def _onednn_fits(x: Tensor, weight: Tensor) -> bool:
    """Whether the convolution of x may be given to oneDNN by hand: inference in single precision on the CPU."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and weight.shape[-1] > 1
        and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
    )


class ResidualBlock(nn.Module):
    """Normalise over channels, convolve, activate, convolve, add (pre-activation residual block).

    The normalisation acts voxel by voxel (root mean square over channels), so the block commutes with
    translations. The last convolution starts at zero: a fresh block is the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1, 1))
        self.first = PeriodicConv3d(channels, channels)
        self.second = PeriodicConv3d(channels, channels)
        nn.init.zeros_(self.second.weight)
        if self.second.bias is not None:
            nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out, (B, C, A, B, C)."""
        h = x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-5) * self.scale
        return x + self.second(nn.functional.silu(self.first(h)))
