"""The default cut-off of each bundled pseudopotential, held against twice as much."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

import edviz
from edviz.aimd.gth import CUTOFFS, bundled_elements
from edviz.aimd.qepy_engine import QEpyEngine

DENSITIES = {"Li": 0.483, "Na": 0.925, "Mg": 1.58, "Al": 2.375, "Si": 2.57}  # g/cm3, of the liquids
BONDS = {"H": 0.9, "C": 1.45, "O": 1.4}  # angstrom


def test_every_bundled_element_has_one():
    assert set(CUTOFFS) == set(bundled_elements("PBE")) == set(bundled_elements("LDA"))
    mixed = QEpyEngine()
    mixed.prepare(Atoms("LiAl", [[0, 0, 0], [0, 0, 2.7]], cell=[5, 5, 5], pbc=True))
    assert mixed.describe()["cutoff_Ry"] == CUTOFFS["Al"] == mixed.cutoff


@pytest.mark.parametrize("element", CUTOFFS)
def test_forces_are_within_a_twentieth_of_an_electronvolt_an_angstrom(qepy, element):
    if element in DENSITIES:
        atoms = edviz.aimd.liquid(element, 2, DENSITIES[element], seed=3)
    else:
        bond = BONDS[element] * np.array([0.6, 0.6, 0.529])
        atoms = Atoms(f"{element}2", [np.zeros(3), bond], cell=[3.1, 3.1, 3.1], pbc=True)
    forces = []
    for cutoff in (None, 2 * CUTOFFS[element]):
        engine = QEpyEngine(cutoff=cutoff, electron_temperature=3000, tolerance=1e-8)
        engine.start(atoms)
        forces.append(engine.compute(atoms.positions).forces)
        engine.close()
    assert np.abs(forces[1]).max() > 0.3
    assert forces[0] == pytest.approx(forces[1], abs=0.05)
