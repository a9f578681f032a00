"""The slope of an engine's energy with strain, by central differences: what its stress has to be."""

from __future__ import annotations

import numpy as np
from ase import Atoms

STRAIN = 5e-4


def energy_slope(engine, atoms: Atoms, i: int, j: int) -> float:
    """dE / d epsilon_ij over the volume, eV/angstrom^3, of a symmetric strain; leaves the engine at the last cell."""
    energies = []
    for h in (STRAIN, -STRAIN):
        strain = np.eye(3)
        strain[i, j] += h / 2
        strain[j, i] += h / 2
        strained = atoms.copy()
        strained.set_cell(atoms.cell @ strain, scale_atoms=True)
        engine.start(strained)
        energies.append(engine.compute(strained.positions).energy)
    return (energies[0] - energies[1]) / (2 * STRAIN * atoms.get_volume())
