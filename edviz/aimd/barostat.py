"""Constant pressure by stochastic cell rescaling of the volume.

M. Bernetti, G. Bussi, J. Chem. Phys. 153, 114107 (2020). With eps = log V, kT the thermostat's, P the instantaneous and
P0 the wanted pressure::

    d eps = (beta / tau) (P - P0) dt + sqrt(2 kT beta / (V tau)) dW

Positions and cell are scaled by exp(d eps / 3), momenta by its inverse. The volumes are those of the
isothermal-isobaric ensemble; beta, an estimate of the compressibility, and tau set only how fast. The equation is of
first order: there is no barostat momentum to keep, and between moves the cell rests, so that a plane-wave engine keeps
its basis.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

__all__ = ["EVERY", "pressure_of", "volume_step"]

EVERY = 10
"""Steps from one move of the cell to the next."""
COMPRESSIBILITY = 0.1
"""1/GPa, that of a soft metal."""


def pressure_of(atoms: Atoms, stress: NDArray[np.float64]) -> float:
    """Instantaneous pressure, GPa: that of the stress (eV/angstrom^3, positive under tension) and of the motion."""
    motion = 2 * atoms.get_kinetic_energy() / (3 * atoms.get_volume())
    return float((motion - np.trace(stress) / 3) / units.GPa)


def volume_step(volume: float, pressure: float, wanted: float, temperature: float, share: float, noise: float) -> float:
    """Change of log V in one move.

    Parameters
    ----------
    volume
        angstrom^3.
    pressure, wanted
        GPa.
    temperature
        K.
    share
        Time since the last move over the barostat's time, dt / tau.
    noise
        A normal random number.
    """
    kt = units.kB * temperature / units.GPa  # GPa angstrom^3
    drift = COMPRESSIBILITY * share * (pressure - wanted)
    return float(drift + np.sqrt(2 * kt * COMPRESSIBILITY * share / volume) * noise)
