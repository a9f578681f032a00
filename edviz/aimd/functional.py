"""Exchange and correlation of a spin-unpolarised density: LDA and PBE, in Hartree atomic units.

LDA: Slater exchange and Perdew-Wang 1992 (J. P. Perdew, Y. Wang, Phys. Rev. B 45, 13244). PBE: J. P. Perdew, K. Burke,
M. Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996), eqs. 7, 8 and 14. Derivatives are taken by a complex step, exact to
rounding (W. Squire, G. Trapp, SIAM Rev. 40, 110 (1998)).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["derivatives", "energy_density"]

_KAPPA, _MU = 0.804, 0.2195149727645171
_BETA, _GAMMA = 0.06672455060314922, (1 - np.log(2)) / np.pi**2
_STEP = 1e-30


def energy_density(density: Any, sigma: Any, xc: str) -> Any:
    """Energy a volume (Ha/bohr^3) for densities (1/bohr^3) and squared gradients; "LDA" ignores the latter."""
    rs = (3 / (4 * np.pi * density)) ** (1 / 3)
    k_f = (3 * np.pi**2 * density) ** (1 / 3)
    exchange = -3 / (4 * np.pi) * k_f
    root = np.sqrt(rs)
    q = 2 * 0.0310907 * (7.5957 * root + 3.5876 * rs + 1.6382 * rs * root + 0.49294 * rs**2)
    correlation = -2 * 0.0310907 * (1 + 0.21370 * rs) * np.log(1 + 1 / q)
    if xc == "PBE":
        s2 = sigma / (2 * k_f * density) ** 2
        t2 = sigma / (4 * (4 * k_f / np.pi) * density**2)
        exchange = exchange * (1 + _KAPPA - _KAPPA / (1 + _MU * s2 / _KAPPA))
        a = _BETA / _GAMMA / (np.exp(-correlation / _GAMMA) - 1)
        ratio = (1 + a * t2) / (1 + a * t2 + (a * t2) ** 2)
        correlation = correlation + _GAMMA * np.log(1 + _BETA / _GAMMA * t2 * ratio)
    return density * (exchange + correlation)


def derivatives(
    density: NDArray[np.float64], sigma: NDArray[np.float64], xc: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Derivatives of `energy_density` by the density (Ha) and by the squared gradient."""
    step = 1j * _STEP
    by_density = energy_density(density * (1 + step), sigma, xc).imag / (density * _STEP)
    by_sigma = energy_density(density + 0j, sigma + 1j * _STEP, xc).imag / _STEP
    return by_density, by_sigma
