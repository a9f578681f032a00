"""Positivity, electron number and resampling of densities as differentiable tensor operations.

The network works on rho / mean(rho): a pure number field with mean one, so that cells and electron numbers do not
enter. Positive output comes from a softplus; the number of electrons from dividing by the grid mean, which makes
it exact to rounding by construction rather than by a penalty.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["fourier_resample", "mean_to_one", "positive_density", "restore"]

GRID = (-3, -2, -1)


def mean_to_one(rho: Tensor) -> Tensor:
    """Divide each field by its mean over the last three axes; computed in float64 so that 1e-5 holds on any grid."""
    return rho / rho.mean(dim=GRID, keepdim=True, dtype=torch.float64).to(rho.dtype)


def positive_density(logits: Tensor) -> Tensor:
    """Map any real field to a positive field with mean one: softplus, then `mean_to_one`.

    Parameters
    ----------
    logits : Tensor
        Shape (..., A, B, C), no unit.

    Returns
    -------
    Tensor
        rho / mean(rho), same shape, positive, mean one over the grid.
    """
    return mean_to_one(torch.nn.functional.softplus(logits))


def restore(density: Tensor, floor: float = 1e-5) -> Tensor:
    """Make a resampled density positive again (values below `floor` times the mean are raised to it), mean one."""
    return mean_to_one(mean_to_one(density).clamp_min(floor))


def _resample_axis(coefficients: Tensor, dim: int, size: int) -> Tensor:
    """Crop or zero-pad the full Fourier axis `dim`, sharing an even grid's Nyquist term between +k and -k."""
    old = coefficients.shape[dim]
    if old == size:
        return coefficients
    low = min(old, size)
    half = (low - 1) // 2
    shape = list(coefficients.shape)
    shape[dim] = size
    out = coefficients.new_zeros(shape)
    out.narrow(dim, 0, half + 1).copy_(coefficients.narrow(dim, 0, half + 1))
    if half:
        out.narrow(dim, size - half, half).copy_(coefficients.narrow(dim, old - half, half))
    if low % 2 == 0:
        nyquist = low // 2
        if size > old:
            value = coefficients.narrow(dim, nyquist, 1) / 2
            out.narrow(dim, nyquist, 1).copy_(value)
            out.narrow(dim, size - nyquist, 1).copy_(value)
        else:
            both = coefficients.narrow(dim, nyquist, 1) + coefficients.narrow(dim, old - nyquist, 1)
            out.narrow(dim, nyquist, 1).copy_(both)
    return out


def fourier_resample(values: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Band-limited resampling of periodic fields to another grid; keeps the mean.

    The tensor twin of `edviz.grid.fourier_resample` (tested against it); differentiable, runs on any device.

    Parameters
    ----------
    values : Tensor
        Shape (..., A, B, C).
    shape : tuple of int
        The new (A', B', C').
    """
    old = tuple(values.shape[-3:])
    if old == tuple(shape):
        return values
    coefficients = torch.fft.fftn(values.float(), dim=GRID)
    for dim, size in zip(GRID, shape, strict=True):
        coefficients = _resample_axis(coefficients, dim, size)
    scale = (shape[0] * shape[1] * shape[2]) / (old[0] * old[1] * old[2])
    return (torch.fft.ifftn(coefficients, dim=GRID).real * scale).to(values.dtype)
