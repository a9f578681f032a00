"""The barostat against an ideal gas, whose volumes are known: a gamma distribution of N and kT / P."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units

from edviz.aimd.barostat import pressure_of, volume_step


def test_an_ideal_gas_has_the_volumes_of_its_ensemble():
    random = np.random.default_rng(1)
    n, temperature, wanted = 8, 800.0, 2.0
    kt = units.kB * temperature / units.GPa
    ideal = n * kt / wanted
    volume, found = ideal, []
    for _ in range(60_000):
        kinetic = random.gamma(1.5 * (n - 1)) * kt  # the centre of mass rests
        step = volume_step(volume, 2 * kinetic / (3 * volume), wanted, temperature, 0.1, random.standard_normal())
        volume *= np.exp(step)
        found.append(volume)
    volumes = np.array(found)
    # Berendsen's barostat, without the noise, would have a small part of this variance.
    assert volumes.mean() == pytest.approx(ideal, rel=0.03)
    assert volumes.var() == pytest.approx(n * (kt / wanted) ** 2, rel=0.15)


def test_pressure_of_motion_and_stress():
    atoms = Atoms("Ar2", [[0, 0, 0], [0, 0, 5]], cell=10 * np.eye(3), momenta=[[3.0, 0, 0], [-3.0, 0, 0]])
    motion = 2 * atoms.get_kinetic_energy() / 3 / 1000
    assert pressure_of(atoms, np.zeros((3, 3))) == pytest.approx(motion / units.GPa)
    pushing = -np.diag([0.01, 0.02, 0.03])  # compressed: negative in ASE's convention
    assert pressure_of(atoms, pushing) == pytest.approx((motion + 0.02) / units.GPa)
